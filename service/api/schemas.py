"""The shapes of JSON answers, for clients and for OpenAPI."""

from typing import Any

from pydantic import BaseModel


class ProblemDetails(BaseModel):
    """RFC 9457, with the request's ID added."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class Health(BaseModel):
    """Answer of /livez and /readyz."""

    ok: bool
    reason: str | None = None
    """Why not, where not."""


class BackboneStatus(BaseModel):
    """One value of the parameter `backbone`, available or not."""

    name: str
    available: bool
    default: bool
    reason: str | None = None
    """Why it is not available and how to get it."""
    blend_of: list[str] | None = None
    """The backbones that a blend runs; it has no weights of its own."""
    version: str | None = None
    digest: str | None = None
    device: str | None = None
    precision: str | None = None
    """What the network computes in on this very machine."""
    path: str | None = None
    """Which code runs it."""
    batch_size: int | None = None
    """How many photographs it is given at once while they queue: what takes the least time for each on this machine."""
    batch_seconds: dict[int, float] | None = None
    """What batches take on this machine by their size, as measured by now; on a CPU on one core."""
    cores_alone: int | None = None
    """On a CPU: how many cores a photograph gets that is alone."""
    quality: dict[str, Any] | None = None
    """What `python -m training evaluate` measured for these weights."""


class Backbones(BaseModel):
    """Answer of /backbones."""

    backbones: list[BackboneStatus]
