"""Reading the image out of a request, never more bytes than allowed."""

import asyncio
from collections.abc import AsyncGenerator
from io import BytesIO

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.engine.memory import Lease

IMAGE_FIELD = "image"


class EmptyBodyError(Exception):
    """There is no image in the request."""


class MalformedBodyError(Exception):
    """The body is not the multipart form it says it is, or not one that is understood."""


class TooLargeError(Exception):
    """The body has more bytes than the service accepts."""


class UploadTimeoutError(Exception):
    """The body did not arrive in time."""


async def read_image(request: Request, max_bytes: int, timeout_s: float, lease: Lease) -> bytes:
    """The image's bytes: the raw body, or the file of the multipart field `image`; `lease` holds what has arrived.

    Raises:
        UploadTimeoutError: It did not arrive within `timeout_s`.
        MemoryFullError: See `Lease.hold`.
        TooLargeError: Announced or found to be over `max_bytes`; told as early as it is known.
        EmptyBodyError: No bytes, or no such field.
        MalformedBodyError: A multipart body that cannot be parsed, or with fields that would be ignored.
    """
    try:
        async with asyncio.timeout(timeout_s):
            data = await _read(request, _bounded(request, max_bytes, lease), max_bytes)
    except TimeoutError:
        raise UploadTimeoutError(f"the body did not arrive within {timeout_s:g} s") from None
    if not data:
        raise EmptyBodyError(f"send the image as the body, or as the multipart file field `{IMAGE_FIELD}`")
    return data


async def _read(request: Request, chunks: AsyncGenerator[bytes, None], max_bytes: int) -> bytes:
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await _read_field(request, chunks, max_bytes)
    buffer = BytesIO()  # grows in place, and hands its bytes out without another copy: that would stop the loop
    async for chunk in chunks:
        buffer.write(chunk)
    return buffer.getvalue()


async def _bounded(request: Request, max_bytes: int, lease: Lease) -> AsyncGenerator[bytes, None]:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise TooLargeError(f"{announced} bytes announced; at most {max_bytes} are accepted")
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise TooLargeError(f"at most {max_bytes} bytes are accepted")
        lease.hold(received)
        yield chunk


async def _read_field(request: Request, chunks: AsyncGenerator[bytes, None], max_bytes: int) -> bytes:
    parser = MultiPartParser(request.headers, chunks, max_files=1, max_fields=16)
    # The body is bounded already; kept in memory, as the root file system may be read-only.
    parser.spool_max_size = max_bytes
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBodyError(f"not a multipart form: {error}") from error
    try:
        if others := sorted(set(form) - {IMAGE_FIELD}):
            raise MalformedBodyError(
                f"found the fields {others}: send the file as `{IMAGE_FIELD}`, and parameters in the query string"
            )
        image = form.get(IMAGE_FIELD)
        return await image.read() if isinstance(image, UploadFile) else b""
    finally:
        await form.close()
