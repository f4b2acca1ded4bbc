"""Posts a black-and-white photograph to every backbone of an Autochrome service and looks at what comes back.

    AUTOCHROME_URL=http://127.0.0.1:8000 python colour_a_photo.py [photo.jpg]

`helm test` runs it in the service's own image: the standard library, Pillow and NumPy are all it needs.
"""

import json
import os
import sys
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

PATIENCE_S = 100
"""Longer than the service's own two deadlines together."""
LEAST_CHROMA = 3.0
"""Of 127, on average. A grey answer has 0; the chart's own photograph comes back with about 38."""


class CheckError(Exception):
    """The service does not do what it should; the message says how."""


def fetch(request: Request) -> tuple[bytes, str]:
    """Body and media type of an answer with status 200."""
    if key := os.environ.get("AUTOCHROME_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urlopen(request, timeout=PATIENCE_S) as answer:
            if answer.status != 200:
                raise CheckError(f"status {answer.status} instead of 200")
            return answer.read(), answer.headers.get_content_type()
    except HTTPError as error:
        raise CheckError(f"status {error.code}: {error.read(500).decode(errors='replace')}") from None
    except (URLError, TimeoutError) as error:
        raise CheckError(f"no answer from {request.full_url}: {error}") from None


def mean_chroma(image: Image.Image) -> float:
    """How far Cb and Cr are from grey, on average."""
    chroma = np.asarray(image.convert("YCbCr"), np.float32)[..., 1:] - 128
    return float(np.hypot(chroma[..., 0], chroma[..., 1]).mean())


def check(url: str, backbone: str, photo: bytes) -> str:
    """Colours the photograph with one backbone and says what came back."""
    data, media_type = fetch(Request(f"{url}/colorize?backbone={backbone}", photo, {"Content-Type": "image/jpeg"}))
    if media_type != "image/jpeg":
        raise CheckError(f"{media_type} instead of image/jpeg")
    sent, colored = Image.open(BytesIO(photo)), Image.open(BytesIO(data))
    if colored.size != sent.size:
        raise CheckError(f"{colored.size} instead of the {sent.size} pixels that were sent")
    if (chroma := mean_chroma(colored)) < LEAST_CHROMA:
        raise CheckError(f"the answer is grey: mean chroma {chroma:.1f}, at least {LEAST_CHROMA} expected")
    return f"{colored.width}x{colored.height} {media_type}, mean chroma {chroma:.1f}"


def main() -> int:
    url = os.environ.get("AUTOCHROME_URL", "http://127.0.0.1:8000").rstrip("/")
    photo = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("photo.jpg")).read_bytes()
    try:
        statuses = json.loads(fetch(Request(f"{url}/backbones"))[0])["backbones"]
    except (CheckError, ValueError, KeyError) as error:
        print(f"failed: GET /backbones: {error}", file=sys.stderr)
        return 1
    available = [status["name"] for status in statuses if status["available"]]
    if not available:
        print("failed: no backbone is available", file=sys.stderr)
        return 1
    failures = 0
    for backbone in available:
        try:
            print(f"ok: {backbone}: {check(url, backbone, photo)}", flush=True)
        except (CheckError, OSError) as error:  # OSError: not an image
            print(f"failed: {backbone}: {error}", file=sys.stderr, flush=True)
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
