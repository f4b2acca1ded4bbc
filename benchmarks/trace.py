"""A picture of who works on what: `python -m benchmarks.trace --out trace.png`.

Sixteen requests come at the same moment, over HTTP, to a service in this process. Time goes to the right, there is a
row for each thread that works for photographs, a colour for each request, and a shade for each stage: decoding, the
network, painting and encoding.
"""

import argparse
import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import matplotlib.pyplot as plt
from matplotlib.patches import Patch
from PIL import Image, ImageEnhance
from torch import Tensor

from benchmarks.serving import make_photograph
from service.__main__ import Server
from service.app import create_app
from service.engine.job import Job
from service.imaging.recompose import Painting
from service.network.compiled import CompiledColorizer
from service.settings import Settings

REQUESTS = 16
SHADES = {"decode": 0.55, "network": 1.0, "paint": 0.75, "encode": 0.35}


@dataclass(frozen=True)
class Span:
    """What a thread did for one request; seconds."""

    thread: int
    stage: str
    request: int
    begin: float
    end: float


class Recorder:
    """Puts itself before the functions that a request goes through, and tells requests apart by their pictures."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.spans: list[Span] = []
        self._requests: dict[object, int] = {len(body): number for number, body in enumerate(bodies)}
        job: Any = Job
        job.__init__ = self._timed("decode", job.__init__, self._remember_job)
        job.read = self._timed("decode", job.read, self._remember_canvases)
        job.prepare = self._timed("paint", job.prepare, self._remember_painting)
        job.finish = self._timed("encode", job.finish, self._request)
        painting: Any = Painting
        painting.paint = self._timed("paint", painting.paint, self._request)
        compiled: Any = CompiledColorizer
        self._predict = compiled.predict_with_error
        compiled.predict_with_error = lambda *args: self._timed_batch(*args)

    def _timed(
        self, stage: str, function: Callable[..., Any], request: Callable[[tuple[Any, ...], Any], int]
    ) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            begin = time.monotonic()
            result = function(*args)
            end = time.monotonic()
            self.spans.append(Span(threading.get_ident(), stage, request(args, result), begin, end))
            return result

        return timed

    def _request(self, args: tuple[Any, ...], _: object) -> int:
        return self._requests[id(args[0])]

    def _remember_job(self, args: tuple[Any, ...], _: object) -> int:
        job, data, *_others = args
        self._requests[id(job)] = self._requests[len(data)]
        return self._requests[id(job)]

    def _remember_canvases(self, args: tuple[Any, ...], canvases: list[Tensor]) -> int:
        request = self._requests[id(args[0])]
        self._requests |= {float(canvas.sum()): request for canvas in canvases}
        return request

    def _remember_painting(self, args: tuple[Any, ...], painting: Painting) -> int:
        self._requests[id(painting)] = self._requests[id(args[0])]
        return self._requests[id(painting)]

    def _timed_batch(self, colorizer: CompiledColorizer, lightness: Tensor, *args: Any) -> Tensor:
        begin = time.monotonic()
        answers: Tensor = self._predict(colorizer, lightness, *args)
        share = (time.monotonic() - begin) / len(lightness)  # each gets its part of the batch's time
        for i, canvas in enumerate(lightness):
            request = self._requests[float(canvas.sum())]
            span = begin + i * share, begin + (i + 1) * share
            self.spans.append(Span(threading.get_ident(), "network", request, *span))
        return answers


def draw(spans: list[Span], title: str, out: Path) -> None:
    """The picture."""
    first = min(span.begin for span in spans)
    threads = sorted(
        {span.thread for span in spans}, key=lambda thread: min(s.begin for s in spans if s.thread == thread)
    )
    figure, axes = plt.subplots(figsize=(11, 0.7 + 0.5 * len(threads)))
    colors = plt.get_cmap("tab20")
    for span in spans:
        axes.barh(
            threads.index(span.thread),
            1000 * (span.end - span.begin),
            left=1000 * (span.begin - first),
            height=0.8,
            color=colors(span.request % 20),
            alpha=SHADES[span.stage],
            edgecolor="black",
            linewidth=0.3,
        )
    axes.set_yticks(range(len(threads)), [f"thread {i + 1}" for i in range(len(threads))])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    axes.set_title(title, fontsize=10)
    shades = [Patch(color="grey", alpha=alpha, label=stage) for stage, alpha in SHADES.items()]
    axes.legend(handles=shades, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def main() -> int:
    """Serves, asks and draws."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trace", description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--title", default="")
    arguments = parser.parse_args()
    with Image.open(io.BytesIO(make_photograph(512))) as picture:
        bodies = [_encoded(ImageEnhance.Brightness(picture).enhance(0.6 + 0.02 * i), i) for i in range(REQUESTS)]
    settings = Settings.model_validate({"port": 0, "backbones": [arguments.backbone], "drain_s": 0})
    server = Server(create_app(settings), settings)
    serving = threading.Thread(target=server.run)
    serving.start()
    while not server.started:
        time.sleep(0.05)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/colorize?backbone={arguments.backbone}"
    recorder = Recorder(bodies)
    limits = httpx2.Limits(max_connections=REQUESTS)
    with httpx2.Client(limits=limits, timeout=60) as client, ThreadPoolExecutor(REQUESTS) as pool:
        for _ in range(2):  # the first round opens the connections
            recorder.spans.clear()
            for answer in list(pool.map(lambda body: client.post(url, content=body), bodies)):
                answer.raise_for_status()
    server.should_exit = True
    serving.join()
    draw(recorder.spans, arguments.title, arguments.out)
    last = max(span.end for span in recorder.spans) - min(span.begin for span in recorder.spans)
    print(f"{REQUESTS} requests in {1000 * last:.0f} ms")
    return 0


def _encoded(picture: Image.Image, number: int) -> bytes:
    """A file of a length of its own."""
    output = io.BytesIO()
    picture.save(output, "JPEG", quality=90)
    return output.getvalue() + bytes(number)


if __name__ == "__main__":
    raise SystemExit(main())
