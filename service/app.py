"""The application: the lifespan builds every object and wires them, here and nowhere else."""

import asyncio
import ctypes
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from starlette.exceptions import HTTPException

from service.api.context import RequestContext
from service.api.problems import PROBLEMS, ProblemHandler
from service.api.routes import build_router
from service.api.schemas import BackboneStatus
from service.engine.admission import Admission
from service.engine.batcher import MicroBatcher
from service.engine.choice import BackboneChoice
from service.engine.colorize import Engine
from service.engine.costs import BatchCosts
from service.engine.cpu import CpuDevice
from service.engine.cuda import CudaDevice
from service.engine.lanes import Lanes
from service.engine.lifecycle import Lifecycle, Phase
from service.engine.memory import MemoryBudget
from service.engine.worker import DeviceWorker, LaneWorker
from service.imaging.compilation import compile_all
from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint, CheckpointConfig, CheckpointError, MissingCheckpointError
from service.network.colorizer import Colorizer
from service.settings import Settings
from service.telemetry.loop_lag import watch_loop
from service.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)


class NoBackboneError(Exception):
    """None of the backbones that were asked for has weights."""


class NoDeviceError(Exception):
    """The device that was asked for is not there."""


START_UP_ERRORS = (NoBackboneError, NoDeviceError, CheckpointError)
"""What may be wrong with an installation; the messages say what to do."""


@dataclass(frozen=True, slots=True)
class Model:
    """What clients and operators are told of a backbone's weights."""

    config: CheckpointConfig
    quality: dict[str, Any] | None


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application; models are loaded when its lifespan begins."""
    metrics = Metrics(CollectorRegistry())
    ProcessCollector(registry=metrics.registry)
    PlatformCollector(registry=metrics.registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # Beside the networks' compilation, and done before anything is timed.
        compiling = asyncio.create_task(run_sync(compile_all))
        try:
            models, missing, device = await run_sync(_open_models, settings)
        finally:
            await compiling
        unavailable = _why_unavailable(missing)
        # One thread of torch's own in each lane: these are one for each core already.
        lanes = Lanes(settings.lanes, partial(torch.set_num_threads, 1))
        # Half of a request's time is for its own work, and for what the prediction of its wait is wrong by.
        max_wait_s = min(settings.max_queue_wait_s, settings.request_timeout_s / 2)
        batcher: MicroBatcher[Any, Any] = MicroBatcher(models, settings.max_batch_size, settings.max_wait_ms / 1000)
        worker: LaneWorker[Any, Any] | DeviceWorker[Any, Any]
        if isinstance(device, CpuDevice):
            costs, costs_alone = await run_sync(device.warm_up, settings.max_batch_size)
            worker = LaneWorker(batcher, lanes, device, costs, costs_alone, metrics)
        else:
            costs = BatchCosts(await run_sync(device.warm_up, settings.max_batch_size))
            worker = DeviceWorker(batcher, device, costs, metrics)
        for name in models:
            batcher.limit_batch(name, costs.largest(name))  # larger ones did not fit, or do not pay
        admission = Admission(max_wait_s, costs, lanes.count, isinstance(device, CpuDevice))
        memory = MemoryBudget(settings.max_bytes_held)
        lifecycle = Lifecycle(batcher, worker, lanes, settings.stall_s)
        _observe(metrics, batcher, admission, memory, lanes, lifecycle, device, models, costs)
        # What start-up made is there to stay: the garbage collector need not walk through all of torch in mid-request.
        gc.collect()
        gc.freeze()
        _return_freed_memory()
        lanes.start()
        worker.start()
        engine = Engine(
            batcher,
            admission,
            memory,
            lanes,
            metrics,
            unavailable=unavailable,
            max_pixels=settings.max_pixels,
            request_timeout_s=settings.request_timeout_s,
        )
        await run_sync(engine.warm_up)
        lifecycle.phase = Phase.READY
        # The server's signal handler reaches the lifecycle through here.
        app.state.lifecycle = lifecycle
        logger.info("ready", extra={"backbones": list(models), "device": device.name})
        watch = asyncio.create_task(watch_loop(metrics.loop_lag_seconds))
        yield {
            "engine": engine,
            "lifecycle": lifecycle,
            "models": {name: model.config.tag for name, model in models.items()},
            "backbones": partial(_statuses, settings, models, unavailable, device, costs),
        }
        lifecycle.phase = Phase.CLOSED
        watch.cancel()
        batcher.close()
        # The server has waited for every request; a thread that hangs shall not keep the process.
        await run_sync(worker.join, settings.request_timeout_s)
        await run_sync(lanes.close, settings.request_timeout_s)

    app = FastAPI(
        title="Autochrome",
        summary="Colours black-and-white photographs",
        version=version("autochrome"),
        lifespan=lifespan,
        redoc_url=None,
    )
    app.add_middleware(RequestContext, metrics=metrics)
    handler = ProblemHandler(metrics)
    for error in (HTTPException, RequestValidationError, *PROBLEMS):
        app.add_exception_handler(error, handler)
    app.include_router(build_router(settings, metrics))
    return app


def _open_models(settings: Settings) -> tuple[dict[str, Model], dict[str, str], CpuDevice | CudaDevice]:
    """What is known of the models, by backbone; why each of the other backbones has none; the device that runs them."""
    checkpoints: dict[str, Checkpoint] = {}
    missing = {name.value: f"{name} is not among the service's backbones" for name in BackboneName}
    for name in settings.backbones:
        try:
            checkpoints[name] = Checkpoint.load(settings.model_store / name, BackboneName(name))
            del missing[name]
        except MissingCheckpointError as error:
            logger.warning("backbone unavailable", extra={"backbone": name, "reason": str(error)})
            missing[name] = str(error)
    if not checkpoints:
        raise NoBackboneError("; ".join(missing[name] for name in settings.backbones))
    colorizers = {name: checkpoint.colorizer for name, checkpoint in checkpoints.items()}
    # The weights are the device's from here on, in a form of its own; the checkpoints' copy is not kept.
    models = {name: Model(checkpoint.config, checkpoint.metrics) for name, checkpoint in checkpoints.items()}
    return models, missing, _open_device(settings, colorizers)


def _open_device(settings: Settings, colorizers: dict[str, Colorizer]) -> CpuDevice | CudaDevice:
    if settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available()):
        return CpuDevice(colorizers, settings.precision, settings.lanes)
    if not torch.cuda.is_available():
        raise NoDeviceError("AUTOCHROME_DEVICE is cuda, but torch finds no GPU; use auto or cpu")
    return CudaDevice(colorizers, settings.precision)


def _return_freed_memory() -> None:
    """Gives the operating system what compiling the networks has freed: the allocator would keep it."""
    if (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc's alone
        malloc_trim(0)


def _why_unavailable(missing: dict[str, str]) -> dict[BackboneChoice, str]:
    """Of every choice that lacks weights, all that it lacks."""
    lacks = {choice: [missing[name] for name in choice.backbones if name in missing] for choice in BackboneChoice}
    return {choice: "; ".join(reasons) for choice, reasons in lacks.items() if reasons}


def _observe(
    metrics: Metrics,
    batcher: MicroBatcher[Any, Any],
    admission: Admission,
    memory: MemoryBudget,
    lanes: Lanes,
    lifecycle: Lifecycle,
    device: CpuDevice | CudaDevice,
    models: dict[str, Model],
    costs: BatchCosts,
) -> None:
    """Metrics that are read at the time of the scrape."""
    metrics.build_info.labels(version("autochrome")).set(1)
    metrics.ready.set_function(lambda: lifecycle.why_not_ready() is None)
    if device.memory_bytes() is not None:
        metrics.device_memory_bytes.labels(device.name).set_function(lambda: device.memory_bytes() or 0)
    metrics.predicted_wait_seconds.set_function(admission.predicted_wait_s)
    metrics.bytes_held.set_function(lambda: memory.held)
    for name, model in models.items():
        metrics.chosen_batch_size.labels(name).set_function(partial(costs.cheapest, name))
        metrics.queue_depth.labels(name).set_function(partial(_depth, batcher, lanes, name))
        metrics.queue_oldest_seconds.labels(name).set_function(partial(_oldest_wait_s, batcher, admission, name))
        # Autoscalers and alerts ask for these before the first batch, too.
        metrics.batch_seconds.labels(name)
        metrics.batches.labels(name, "ok")
        config = model.config
        metrics.model_info.labels(name, config.version, config.short_digest, device.name, device.precision(name)).set(1)


def _depth(batcher: MicroBatcher[Any, Any], lanes: Lanes, name: str) -> int:
    return batcher.depth(name) + lanes.newcomers(name)


def _oldest_wait_s(batcher: MicroBatcher[Any, Any], admission: Admission, name: str) -> float:
    arrived = admission.oldest_arrival(name)
    return max(batcher.oldest_wait_s(name), 0.0 if arrived is None else batcher.clock() - arrived)


def _statuses(
    settings: Settings,
    models: dict[str, Model],
    unavailable: dict[BackboneChoice, str],
    device: CpuDevice | CudaDevice,
    costs: BatchCosts,
) -> list[BackboneStatus]:
    """Of every choice that the settings allow."""
    statuses: list[BackboneStatus] = []
    for choice in BackboneChoice:
        if not set(choice.backbones) <= set(settings.backbones):
            continue
        status = BackboneStatus(
            name=choice.value,
            available=choice not in unavailable,
            default=choice == settings.default_backbone,
            reason=unavailable.get(choice),
        )
        if choice is BackboneChoice.BLEND:
            status.blend_of = [name.value for name in choice.backbones]
        if status.available:
            status.device = device.name
        if (model := models.get(choice)) is not None:
            status.precision, status.path = device.precision(choice), device.path(choice)
            status.version, status.digest, status.quality = model.config.version, model.config.digest, model.quality
            status.batch_size, status.batch_seconds = costs.cheapest(choice), costs.measured(choice)
            if isinstance(device, CpuDevice):
                status.cores_alone = device.cores_alone(choice)
        statuses.append(status)
    return statuses
