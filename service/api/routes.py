"""The HTTP surface: what is asked for, in and out; the work is the engine's."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field
from starlette.requests import ClientDisconnect

from service.api.accept import accepted_formats
from service.api.answer import LeasedResponse
from service.api.body import IMAGE_FIELD, read_image
from service.api.context import CLIENT_LEFT, COLORIZE_PATH
from service.api.parameters import Parameters
from service.api.problems import MEDIA_TYPE
from service.api.schemas import Backbones, BackboneStatus, Health, ProblemDetails
from service.api.security import ApiKey
from service.engine.choice import BackboneChoice
from service.engine.colorize import Engine
from service.engine.lifecycle import Lifecycle
from service.imaging.formats import ImageFormat
from service.settings import Settings
from service.telemetry.metrics import Metrics

T = TypeVar("T")

PAGE = files("service.api").joinpath("page/index.html").read_text(encoding="utf-8")

_IMAGE_SCHEMA = {"type": "string", "format": "binary"}
_IMAGE_TYPES = tuple(f"image/{name}" for name in ("jpeg", "png", "tiff", "webp", "avif", "heic", "jp2", "bmp", "gif"))
_REQUEST_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": [IMAGE_FIELD], "properties": {IMAGE_FIELD: _IMAGE_SCHEMA}}
        },
        **{media_type: {"schema": _IMAGE_SCHEMA} for media_type in _IMAGE_TYPES},
    },
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The coloured image",
        "content": {format.media_type: {"schema": _IMAGE_SCHEMA} for format in ImageFormat},
    },
    **{
        status: {"model": ProblemDetails, "content": {MEDIA_TYPE: {}}}
        for status in (401, 404, 408, 413, 415, 422, 429, 500, 503, 504)
    },
}


def build_router(settings: Settings, metrics: Metrics) -> APIRouter:
    """The routes; what only exists while the service runs comes from the lifespan's state."""
    router = APIRouter()
    default_backbone = BackboneChoice(settings.default_backbone)
    api_key = ApiKey(settings.api_key)

    class Choices(Parameters):
        backbone: Annotated[
            BackboneChoice,
            Field(description="The network's trunk; blend: both networks, and the mean of their colours"),
        ] = default_backbone

    @router.post(
        COLORIZE_PATH,
        dependencies=[Depends(api_key)],
        response_class=Response,
        responses=_RESPONSES,
        openapi_extra={"requestBody": _REQUEST_BODY},
        summary="Colour a photograph",
    )
    async def colorize(request: Request, parameters: Annotated[Choices, Query()]) -> Response:
        """Send the image as the raw body or as the multipart field `image`.

        JPEG, PNG, TIFF, WebP, AVIF, HEIC, JPEG 2000, BMP and GIF are read; of those with several pictures the first, or
        a TIFF's `page`. Without `format`, the answer has the format and the depth of what was sent, as far as they are
        written here, or the one that the header Accept prefers.
        """
        fields: dict[str, Any] = request.state.fields
        backbone = parameters.backbone
        fields["backbone"] = backbone.value
        engine: Engine = request.state.engine
        lifecycle: Lifecycle = request.state.lifecycle
        lifecycle.admit()
        engine.admit(backbone)
        models: Mapping[str, str] = request.state.models
        model = ", ".join(models[name] for name in backbone.backbones)
        order = parameters.order(backbone, accepted_formats(", ".join(request.headers.getlist("accept"))), model)
        with engine.memory.lease() as lease:
            try:
                data = await read_image(request, settings.max_upload_bytes, settings.upload_timeout_s, lease)
                colored = await _while_connected(request, engine.colorize(data, order, lease))
            except ClientDisconnect:
                return Response(status_code=CLIENT_LEFT)
            answer = LeasedResponse(colored.data, colored.format.media_type, lease)
        fields |= {"bytes_in": len(data), "bytes_out": len(colored.data), "size": f"{colored.width}x{colored.height}"}
        fields |= {f"{stage}_s": round(seconds, 4) for stage, seconds in colored.seconds.items()}
        timing = ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in colored.seconds.items())
        answer.headers["X-Autochrome-Backbone"] = backbone
        answer.headers["X-Autochrome-Model"] = model
        if colored.notes:
            answer.headers["X-Autochrome-Notes"] = "; ".join(colored.notes)
        answer.headers["Server-Timing"] = timing
        return answer

    @router.get("/", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(PAGE)

    @router.get("/backbones", summary="What is loaded, and how good it is")
    async def backbones(request: Request) -> Backbones:
        statuses: Callable[[], list[BackboneStatus]] = request.state.backbones
        return Backbones(backbones=statuses())

    @router.get("/livez", summary="Whether the process works; 503: restart it", response_model=Health)
    async def livez(request: Request) -> Response:
        return _health(request.state.lifecycle.why_not_live())

    @router.get("/readyz", summary="Whether to send requests here", response_model=Health)
    async def readyz(request: Request) -> Response:
        return _health(request.state.lifecycle.why_not_ready())

    @router.get("/metrics", summary="For Prometheus", response_class=Response)
    async def scrape() -> Response:
        return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _health(reason: str | None) -> Response:
    return JSONResponse({"ok": reason is None, "reason": reason}, 200 if reason is None else 503)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Awaits the work, but not for a client that has left.

    Raises:
        ClientDisconnect: The client left; the work was cancelled.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        del working, leaving  # an error's traceback knows this frame, and the task the error: a circle around the body


async def _left(request: Request) -> None:
    # The body has been read, so whatever comes is the end; a stray empty chunk is passed over.
    while (await request.receive())["type"] != "http.disconnect":
        pass
