"""Photographs as scans show them: in black film, on paper, pages and cards, beside wedges and targets; 40 kinds."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.scans import (
    Gray,
    Scan,
    around,
    beside,
    checker,
    even,
    four,
    ground,
    hairline,
    nested,
    ragged,
    rounded,
    share,
    sprockets,
    steps,
    write,
)
from service.imaging.borders.boxes import Box


def film(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.005, 0.12), share(rng, 2, 22), 2.5)


def film_rounded(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.01, 0.06), share(rng, 2, 22), 2.5, cover=rounded(picture, 0.06))


def film_ragged(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.01, 0.06), share(rng, 2, 22), 2.5, cover=ragged(picture, rng, 0.012, 40))


def film_one_side(picture: Gray, rng: np.random.Generator) -> Scan:
    widths = np.roll([share(rng, 0.01, 0.1), 0, 0, 0], rng.integers(4)).tolist()
    return around(picture, rng, tuple(widths), share(rng, 2, 15), 2)


def film_two_sides(picture: Gray, rng: np.random.Generator) -> Scan:
    widths = np.roll([share(rng, 0.01, 0.1), share(rng, 0.01, 0.1), 0, 0], rng.integers(4)).tolist()
    return around(picture, rng, tuple(widths), share(rng, 2, 22), 2)


def film_three_sides(picture: Gray, rng: np.random.Generator) -> Scan:
    widths = np.roll([*four(rng, 0.01, 0.1)[:3], 0], rng.integers(4)).tolist()
    return around(picture, rng, tuple(widths), share(rng, 2, 22), 2)


def film_turned(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.01, 0.06), share(rng, 2, 22), 2, degrees=share(rng, -1.5, 1.5))


def film_hairline(picture: Gray, rng: np.random.Generator) -> Scan:
    return hairline(picture, rng, share(rng, 0, 12))


def film_sprockets(picture: Gray, rng: np.random.Generator) -> Scan:
    scan = around(picture, rng, (0.16, 0.03, 0.16, 0.03), share(rng, 2, 22), 2.5)
    side = max(picture.shape)
    for top in (0.04 * side, scan.gray.shape[0] - 0.12 * side):
        scan = sprockets(scan, top, 0.08 * side, 250)
    return scan


def film_strip(picture: Gray, rng: np.random.Generator) -> Scan:
    """Three frames of one photograph's parts."""
    height, width = picture.shape
    gap, margin = round(0.03 * width), round(0.1 * height)
    scan = Scan(rng, ground(rng, height + 2 * margin, 3 * width + 4 * gap, share(rng, 2, 22), 2.5))
    for i, frame in enumerate((picture, picture[:, ::-1], picture[::-1])):
        scan.lay(np.ascontiguousarray(frame), margin, gap + i * (width + gap))
    return scan


def paper(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, even(share(rng, 0.015, 0.08)), share(rng, 240, 254), 0.7)


def paper_grainy(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.02, 0.08), share(rng, 232, 248), 4)


def paper_yellowed(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.02, 0.08), share(rng, 200, 232), 2, 2)


def paper_deckled(picture: Gray, rng: np.random.Generator) -> Scan:
    """A deckled print on a dark lid."""
    scan = paper(picture, rng)
    box = scan.boxes[0]
    cover = ragged(scan.gray, rng, 0.012, 60)
    lid = around(scan.gray, rng, even(0.04), share(rng, 4, 30), 1.5, cover=cover)
    edge = round(0.04 * max(scan.gray.shape))
    lid.boxes = [Box(box.top + edge, box.left + edge, box.bottom + edge, box.right + edge)]
    lid.shown = np.pad(scan.shown, edge)
    return lid


def paper_captioned(picture: Gray, rng: np.random.Generator) -> Scan:
    scan = around(picture, rng, (0.03, 0.03, 0.14, 0.03), share(rng, 225, 252), 1.5)
    height, width = scan.gray.shape
    side = max(picture.shape)
    return write(scan, "Main Street, looking east, June 1913", width / 2, height - 0.1 * side, 0.045 * side, 60)


def polaroid(picture: Gray, rng: np.random.Generator) -> Scan:
    side = min(picture.shape)
    return around(picture[:side, :side].copy(), rng, (0.06, 0.06, 0.22, 0.06), share(rng, 228, 250), 1.2)


def paper_hairline(picture: Gray, rng: np.random.Generator) -> Scan:
    return hairline(picture, rng, share(rng, 245, 255))


def paper_turned(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.02, 0.06), share(rng, 225, 252), 1.5, degrees=share(rng, -3, 3))


def album_cream(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.05, 0.2), share(rng, 195, 230), 2, 3)


def album_gray(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.05, 0.2), share(rng, 90, 170), 2, 3)


def album_black(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, four(rng, 0.05, 0.2), share(rng, 18, 45), 2, 3)


def album_turned(picture: Gray, rng: np.random.Generator) -> Scan:
    level = share(rng, 25, 225)
    return around(picture, rng, four(rng, 0.05, 0.15), level, 2, 3, degrees=share(rng, -2, 2))


def album_page(picture: Gray, rng: np.random.Generator, rows: int) -> Scan:
    """Two columns of prints with white edges, on a page."""
    height, width = picture.shape
    gap = round(share(rng, 0.05, 0.12) * max(height, width))
    level = share(rng, 30, 120)
    scan = Scan(rng, ground(rng, rows * (height + gap) + gap, 2 * (width + gap) + gap, level, 2, 2))
    turned = [picture, picture[:, ::-1], picture[::-1], picture[::-1, ::-1]]
    for i in range(2 * rows):
        scan.lay(np.ascontiguousarray(turned[i]), gap + i // 2 * (height + gap), gap + i % 2 * (width + gap))
    return scan


def album_two(picture: Gray, rng: np.random.Generator) -> Scan:
    return album_page(picture, rng, 1)


def album_four(picture: Gray, rng: np.random.Generator) -> Scan:
    return album_page(picture, rng, 2)


def lid_white(picture: Gray, rng: np.random.Generator) -> Scan:
    """A print without borders under a white lid; it casts a shadow to the right and below."""
    scan = around(picture, rng, four(rng, 0.03, 0.12), share(rng, 225, 245), 1)
    box = scan.boxes[0]
    shadow = Image.new("L", scan.gray.shape[::-1])
    reach = 0.006 * max(picture.shape)
    ImageDraw.Draw(shadow).rectangle(
        (box.left + reach, box.top + reach, box.right + reach, box.bottom + reach), fill=255
    )
    depth = np.asarray(shadow.filter(ImageFilter.GaussianBlur(reach)), np.float32) / 255
    scan.gray = np.where(scan.shown, scan.gray, scan.gray * (1 - 0.3 * depth))
    return scan


def lid_black(picture: Gray, rng: np.random.Generator) -> Scan:
    """A print with white borders under a black lid, a little turned."""
    return nested(around(picture, rng, even(0.03), share(rng, 232, 250), 1.2), share(rng, 4, 30), share(rng, -0.3, 0.3))


def mat(picture: Gray, rng: np.random.Generator) -> Scan:
    """A passe-partout with a bevel."""
    scan = around(picture, rng, even(max(0.004, 2 / max(picture.shape))), 252, 1)
    sheet = around(scan.gray, rng, four(rng, 0.1, 0.16), share(rng, 150, 235), 2, 2)
    inset = sheet.boxes[0]
    box = scan.boxes[0]
    sheet.boxes = [Box(inset.top + box.top, inset.left + box.left, inset.top + box.bottom, inset.left + box.right)]
    sheet.shown[:] = False
    sheet.shown[inset.top + box.top : inset.top + box.bottom, inset.left + box.left : inset.left + box.right] = True
    return sheet


def stereo_card(picture: Gray, rng: np.random.Generator) -> Scan:
    side = min(picture.shape)
    eye = rounded(picture[:side, :side], 0.04)
    gap, margin = round(share(rng, 0.015, 0.05) * side), round(0.08 * side)
    scan = Scan(rng, ground(rng, side + 2 * margin, 2 * side + gap + 2 * margin, share(rng, 90, 215), 2, 2))
    shift = picture.shape[1] - side
    scan.lay(picture[:side, :side].copy(), margin, margin, eye)
    scan.lay(picture[:side, shift : shift + side].copy(), margin, margin + side + gap, eye)
    return scan


def cabinet_card(picture: Gray, rng: np.random.Generator) -> Scan:
    level = share(rng, 60, 210)
    scan = around(picture, rng, (0.04, 0.04, 0.15, 0.04), level, 2, 2)
    height, width = scan.gray.shape
    side = max(picture.shape)
    ink = level - 55 if level > 120 else level + 70
    return write(scan, "J. WILLIAMS  ·  BROADWAY", width / 2, height - 0.1 * side, 0.04 * side, ink)


def slide_mount(picture: Gray, rng: np.random.Generator) -> Scan:
    return around(picture, rng, (0.2, 0.18, 0.2, 0.18), share(rng, 205, 245), 1.5, cover=rounded(picture, 0.05))


def letterbox(picture: Gray, rng: np.random.Generator) -> Scan:
    bar = share(rng, 0.03, 0.2)
    return around(picture, rng, (bar, 0, bar, 0), share(rng, 0, 4), 0)


def pillarbox(picture: Gray, rng: np.random.Generator) -> Scan:
    bar = share(rng, 0.03, 0.2)
    return around(picture, rng, (0, bar, 0, bar), share(rng, 0, 4), 0)


def wedge_touching(picture: Gray, rng: np.random.Generator) -> Scan:
    width = round(share(rng, 0.04, 0.1) * max(picture.shape))
    scan = Scan(rng, np.pad(picture, ((0, 0), (width, 0))))
    scan.lay(picture, 0, width)
    return beside(scan, steps(picture.shape[0], width, int(rng.integers(8, 22))), 0, 0)


def wedge_apart(picture: Gray, rng: np.random.Generator) -> Scan:
    side = max(picture.shape)
    scan = around(picture, rng, (0.03, 0.03, 0.14, 0.03), share(rng, 3, 240), 1.5)
    height, width = scan.gray.shape
    wedge = steps(round(0.06 * side), width - round(0.1 * side), int(rng.integers(8, 22)))
    return beside(scan, wedge, height - round(0.1 * side), round(0.05 * side))


def target_beside(picture: Gray, rng: np.random.Generator) -> Scan:
    side = max(picture.shape)
    scan = around(picture, rng, (0.03, 0.03, 0.03, 0.2), share(rng, 3, 240), 1.5)
    width = scan.gray.shape[1]
    target = checker(rng, round(0.85 * picture.shape[0]), round(0.13 * side), max(8, round(0.06 * side)))
    return beside(scan, target, round(0.06 * side), width - round(0.16 * side))


def target_below(picture: Gray, rng: np.random.Generator) -> Scan:
    side = max(picture.shape)
    scan = around(picture, rng, (0.03, 0.03, 0.2, 0.03), share(rng, 3, 240), 1.5)
    height = scan.gray.shape[0]
    target = checker(rng, round(0.13 * side), round(0.9 * picture.shape[1]), max(8, round(0.06 * side)))
    return beside(scan, target, height - round(0.16 * side), round(0.05 * side))


def ruler(picture: Gray, rng: np.random.Generator) -> Scan:
    """A white ruler below, on a dark lid."""
    side = max(picture.shape)
    scan = around(picture, rng, (0.03, 0.03, 0.12, 0.03), share(rng, 4, 40), 1.5)
    height, width = scan.gray.shape
    rule = np.full((round(0.05 * side), round(0.8 * width)), 225, np.float32)
    for i, left in enumerate(range(0, rule.shape[1], max(3, round(0.01 * side)))):
        rule[: rule.shape[0] * (3 if i % 5 == 0 else 2) // 6, left : left + max(1, round(0.002 * side))] = 20
    return beside(scan, rule, height - round(0.08 * side), round(0.05 * width))


def lamp(picture: Gray, rng: np.random.Generator) -> Scan:
    """An uneven lamp over a page."""
    scan = around(picture, rng, four(rng, 0.04, 0.15), share(rng, 60, 200), 2, 1)
    height, width = scan.gray.shape
    across, down = rng.uniform(-20, 20, 2)
    scan.gray += np.where(
        scan.shown, 0, down * np.linspace(-1, 1, height)[:, None] + across * np.linspace(-1, 1, width)
    )
    return scan


def squeezed(picture: Gray, rng: np.random.Generator) -> Scan:
    """Borders with JPEG's noise."""
    scan = around(picture, rng, four(rng, 0.01, 0.08), share(rng, 5, 250), 3)
    scan.quality = 30
    return scan


def oval(picture: Gray, rng: np.random.Generator) -> Scan:
    """An oval vignette on paper; what is right is its box, or nothing."""
    height, width = picture.shape
    cover = Image.new("L", (width, height))
    ImageDraw.Draw(cover).ellipse((0, 0, width - 1, height - 1), fill=255)
    cover = cover.filter(ImageFilter.GaussianBlur(0.02 * min(height, width)))
    alpha = np.asarray(cover, np.float32) / np.float32(255)
    return around(picture, rng, even(0.06), share(rng, 235, 252), 1, cover=alpha)


KINDS: dict[str, Callable[[Gray, np.random.Generator], Scan]] = {
    "black film": film,
    "black film, rounded": film_rounded,
    "black film, ragged": film_ragged,
    "black film, one side": film_one_side,
    "black film, two sides": film_two_sides,
    "black film, three sides": film_three_sides,
    "black film, turned": film_turned,
    "black hairline": film_hairline,
    "film with sprocket holes": film_sprockets,
    "strip of three frames": film_strip,
    "white paper": paper,
    "white paper, grainy": paper_grainy,
    "yellowed paper": paper_yellowed,
    "deckled print on a dark lid": paper_deckled,
    "paper with a caption": paper_captioned,
    "Polaroid": polaroid,
    "white hairline": paper_hairline,
    "white paper, turned": paper_turned,
    "cream album page": album_cream,
    "grey album page": album_gray,
    "black album page": album_black,
    "album page, turned": album_turned,
    "two on an album page": album_two,
    "four on an album page": album_four,
    "white lid with a shadow": lid_white,
    "white borders on a black lid": lid_black,
    "passe-partout": mat,
    "stereo card": stereo_card,
    "cabinet card": cabinet_card,
    "slide mount": slide_mount,
    "letterbox": letterbox,
    "pillarbox": pillarbox,
    "grey wedge, touching": wedge_touching,
    "grey wedge below": wedge_apart,
    "colour target beside": target_beside,
    "colour target below": target_below,
    "ruler below": ruler,
    "uneven lamp": lamp,
    "JPEG's noise": squeezed,
    "oval vignette": oval,
}
"""Of a picture and random numbers, each makes a scan."""
