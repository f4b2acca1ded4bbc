"""Kinds of file that people send, told from their first bytes; those that are not read here, too: an error that says
"a PDF document" helps more than one that shows bytes."""

import re

_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
    "a Canon camera file (CR3)": {b"crx "},
    "a QuickTime film": {b"qt  "},
    "an MP4 film": {b"isom", b"iso2", b"mp41", b"mp42", b"M4V ", b"3gp4", b"3gp5"},
}
"""Of ISO/IEC 14496-12's file type box, where many kinds look alike but for that; the first that is there says it."""

_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WebP": rb"RIFF.{4}WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": rb"BM",
    "GIF": rb"GIF8[79]a",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "a PDF document": rb"%PDF",
    "a Photoshop file": rb"8BPS|8BPB",
    "an HTML page": rb"(?i:\s*<(!DOCTYPE html|html|head|body)\b)",
    "an SVG drawing, or other XML": rb"(?i:\s*<(\?xml|!--|svg|!DOCTYPE svg))",
    "JSON": rb"\s*[\[{]\s*[\"{\[]",
    "a ZIP archive": rb"PK\x03\x04",
    "a gzip archive": rb"\x1f\x8b",
    "a DICOM file": rb".{128}DICM",
    "a FITS file": rb"SIMPLE  =",
    "OpenEXR": rb"\x76\x2f\x31\x01",
    "Radiance HDR": rb"#\?RADIANCE|#\?RGBE",
    "a Netpbm file": rb"P[1-7]\s",
    "an icon": rb"\0\0[\1\2]\0",
    "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
    "a Fujifilm camera file": rb"FUJIFILMCCD-RAW",
    "a Matroska film": rb"\x1a\x45\xdf\xa3",
    "an AVI film": rb"RIFF.{4}AVI ",
}
_PATTERNS = {kind: re.compile(signature, re.DOTALL) for kind, signature in _SIGNATURES.items()}

_LONGEST = 1024
"""Bytes that are looked at."""


def kind_of(data: bytes) -> str | None:
    """What a file is, in words that fit behind "This is"; None: not known."""
    head = data[:_LONGEST]
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4]), len(head))
        brands = {head[8:12], *(head[begin : begin + 4] for begin in range(16, end, 4))}
        return next((kind for kind, known in _BRANDS.items() if known & brands), None)
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.match(head)), None)
