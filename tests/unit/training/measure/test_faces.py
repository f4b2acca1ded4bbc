import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from service.imaging import color
from training.measure.faces import FaceBoard, FaceScores
from training.measure.pictures import ContactSheets
from training.photos.faces import Box

WHOLE = (0.0, 0.0, 1.0, 1.0)
TONES = {"light": (75, 12, 15), "intermediate": (65, 14, 19), "tan": (57, 16, 22), "dark": (40, 14, 18)}


def plain(lightness: float, a: float, b: float) -> Tensor:
    """A picture of one colour, uint8 sRGB (3, 100, 100)."""
    lab = torch.tensor([lightness, a, b]).view(3, 1, 1)
    return (color.lab_to_rgb(lab) * 255).round().to(torch.uint8).expand(3, 100, 100).contiguous()


def pictures(lightness: float, a: float, b: float, gain: float = 1.0, turn: float = 0.0) -> dict[str, Tensor]:
    """The truth, the grey answer, and one of so many times its chroma, its hue so many degrees on."""
    chroma, hue = gain * math.hypot(a, b), math.atan2(b, a) + math.radians(turn)
    answer = plain(lightness, chroma * math.cos(hue), chroma * math.sin(hue))
    return {"truth": plain(lightness, a, b), "grey": plain(lightness, 0, 0), "model": answer}


def measured(*faces: tuple[dict[str, Tensor], Box]) -> FaceScores:
    board = FaceBoard(["model"], None, len(faces))
    for shown, box in faces:
        board.add(shown, [box])
    return board.scores()


@pytest.mark.parametrize("tone", TONES)
def test_skin_is_grouped_by_its_typology_angle(tone: str) -> None:
    scores = measured((pictures(*TONES[tone]), WHOLE))
    assert list(scores) == ["all", tone, "large"]
    assert scores[tone]["faces"] == 1


def test_the_right_answer_leaves_nothing_to_wish() -> None:
    scores = measured(*((pictures(*lab), WHOLE) for lab in TONES.values()))["all"]["scores"]["model"]
    assert scores["ciede2000_ratio_to_grey"]["value"] == 0
    for figure in ("chroma_ratio", "chroma_ratio_p10", "chroma_ratio_p50", "chroma_ratio_p90"):
        assert scores[figure]["value"] == pytest.approx(1)
    assert scores["hue_error"]["value"] == pytest.approx(0, abs=1e-3)


def test_chroma_and_hue_are_measured_apart() -> None:
    gains = [0.2 + 0.1 * number for number in range(11)]
    faces = measured(*((pictures(*TONES["tan"], gain, turn=10), WHOLE) for gain in gains))
    scores = faces["tan"]["scores"]["model"]
    assert scores["chroma_ratio"]["value"] == pytest.approx(0.7, abs=0.03)
    deciles = [scores[f"chroma_ratio_p{share}"]["value"] for share in (10, 50, 90)]
    assert deciles == pytest.approx([0.3, 0.7, 1.1], abs=0.06)
    assert scores["hue_error"]["value"] == pytest.approx(10, abs=2)
    for estimate in scores.values():
        assert estimate["low"] <= estimate["value"] <= estimate["high"]


def test_only_skin_in_the_middle_of_the_box_counts() -> None:
    shown = pictures(*TONES["light"])
    shown["truth"] = shown["truth"].clone()
    shown["truth"][:, :50] = torch.tensor([0, 0, 255]).view(3, 1, 1)  # half of it is no skin
    shown["model"] = shown["truth"].clone()
    shown["model"][:, :50] = 0  # and answered wrongly, which does not matter
    shown["model"][:, :, :20] = 0  # nor does this, at the edge
    assert measured((shown, WHOLE))["all"]["scores"]["model"]["ciede2000_ratio_to_grey"]["value"] == 0


def test_a_box_with_little_skin_is_not_counted() -> None:
    blue = pictures(40, 10, -40)
    assert measured((blue, WHOLE)) == {}
    assert measured((blue, WHOLE), (pictures(*TONES["tan"]), WHOLE))["all"]["faces"] == 1


def test_small_faces_are_measured_apart() -> None:
    right, grey = pictures(*TONES["tan"]), pictures(*TONES["tan"], gain=0)
    scores = measured((right, (0.3, 0.3, 0.5, 0.45)), (grey, (0.3, 0.3, 0.48, 0.49)))
    assert [scores[size]["scores"]["model"]["chroma_ratio"]["value"] for size in ("large", "small")] == pytest.approx(
        [1, 0], abs=0.02
    )


def test_sheets_show_faces_at_their_own_size(tmp_path: Path) -> None:
    ramp = torch.arange(200, dtype=torch.uint8).expand(3, 200, 200).contiguous()
    sheets = ContactSheets(tmp_path, ["truth"])
    board = FaceBoard([], sheets, 1)
    board.add({"truth": ramp, "grey": ramp}, [(0.4, 0.4, 0.6, 0.6)])
    sheets.finish()
    with Image.open(tmp_path / "sheet-01.jpg") as sheet:
        line = [sheet.convert("L").getpixel((x, sheet.height - 72)) for x in range(144)]
    assert line == pytest.approx(list(range(28, 172)), abs=3)
