"""The networks on an NVIDIA GPU: one CUDA graph for each bucket, copies overlapped with computing.

Three streams, and two slots that batches take in turn, each with two buffers on the device and two on the host:

    host_input ─ copy_in ─► arrived_input ─ compute: input, graph, output ─► computed_output ─ copy_out ─► host_output

A graph reads and writes the same memory at each replay: `input` and `output`, which all graphs share. Only the compute
stream touches them, and a stream runs in order, so replays cannot disturb each other. The others belong to a slot,
and a slot is given to the next batch only after the host has waited for the last thing that happens in it. So three
waits are enough: compute for the slot's input, copy_out for its output, and the host for `done`.

All calls of CUDA are in `Cuda`, below; the tests put a simulation in its place.
"""

import copy
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from service.engine.device import as_memory_error, buckets
from service.network.backbones import trunk_maps
from service.network.chroma import with_error
from service.network.colorizer import Colorizer, scale_hints
from service.network.preprocessing import HINT_CHANNELS, INPUT_SIZE

logger = logging.getLogger(__name__)

_SLOTS = 2  # one batch computes while the next one is copied; the worker never launches a third
_CAPTURE_WARM_UPS = 3  # runs before a capture, as torch's documentation does: libraries set themselves up in the first

Stream = Any
Event = Any
Graph = Any


class Cuda:
    """The current CUDA device: every call of CUDA that there is, each of them one or two of torch's.

    Work put on a stream is done in its order there, and at some later time.
    """

    def __init__(self) -> None:
        # Replays never overlap and leave nothing in the pool that is read later, so all graphs may share one, whatever
        # the order they are replayed in ("Graph memory management" in torch's notes on CUDA semantics).
        self._pool = torch.cuda.graph_pool_handle()

    def place(self, network: nn.Module) -> nn.Module:
        """Moves a network to the device, channels last."""
        return network.to("cuda").to(memory_format=torch.channels_last)

    def device_buffer(self, *shape: int) -> Tensor:
        """Zeros on the device, float32."""
        return torch.zeros(*shape, device="cuda")

    def host_buffer(self, *shape: int) -> Tensor:
        """Zeros on the host, float32, pinned: only from and to such memory are copies asynchronous."""
        return torch.zeros(*shape, pin_memory=True)

    def new_stream(self) -> Stream:
        """A stream, empty."""
        return torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def new_event(self) -> Event:
        """An event; a thread that waits for it sleeps, instead of taking a core from those that decode and encode."""
        return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def copy(self, stream: Stream, target: Tensor, source: Tensor) -> None:
        """Puts a copy on the stream; both are contiguous float32 of one shape, or it would not be asynchronous."""
        with torch.cuda.stream(stream):
            target.copy_(source, non_blocking=True)

    def replay(self, stream: Stream, graph: Graph) -> None:
        """Puts a captured graph on the stream."""
        with torch.cuda.stream(stream):
            graph.replay()

    def record(self, stream: Stream, event: Event) -> None:
        """The event will happen when the stream has done all that is on it by now."""
        event.record(stream)

    def wait(self, stream: Stream, event: Event) -> None:
        """What is put on the stream from now on starts after the event's latest `record`."""
        stream.wait_event(event)

    def wait_on_host(self, event: Event) -> None:
        """Blocks until the event's latest `record` has happened."""
        event.synchronize()

    def synchronize(self) -> None:
        """Blocks until all streams are empty."""
        torch.cuda.synchronize()

    def capture(self, stream: Stream, function: Callable[[], object]) -> Graph:
        """Runs the function a few times, then captures what it computes on the device, to be replayed in place."""
        # Shapes are fixed, so cuDNN may try its algorithms (in the runs before the capture: it remembers them by
        # thread); and what is float32 here is meant to be, not TF32's 10 bits.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            with torch.cuda.stream(stream):
                for _ in range(_CAPTURE_WARM_UPS):
                    function()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=stream):  # waits for all streams first
                function()
        return graph

    def memory_bytes(self) -> int:
        """What is held of the device's memory, in use or not."""
        return torch.cuda.memory_reserved()


class MixedColorizer(nn.Module):
    """A copy of a colorizer that computes in half precision what can be, its weights converted once.

    Under autocast the same arithmetic would convert them at each replay: its cache of converted weights must be off in
    a captured graph. Batch norms keep float32 parameters, as under autocast: they are a few numbers, and a variance
    below 6e-8 would be 0 in float16. Preprocessing and calibration are float32.
    """

    def __init__(self, colorizer: Colorizer, dtype: torch.dtype) -> None:
        super().__init__()
        colorizer = copy.deepcopy(colorizer).eval()
        self._config = colorizer.config
        # Those layers need 11 bits, not 24: float16 has them.
        stem_layers = colorizer.config.backbone.float32_layers if dtype is torch.bfloat16 else 0
        self._dtype, self._stem_dtype = dtype, torch.float32 if stem_layers else dtype
        self.preprocessing = colorizer.preprocessing
        self.encoder = colorizer.encoder
        self.stem = colorizer.backbone[:stem_layers]
        self.trunk = colorizer.backbone[stem_layers:]
        self.fusion = colorizer.fusion
        self.decoder = colorizer.decoder
        self.calibration = colorizer.calibration
        for part in (self.encoder, self.trunk, self.fusion, self.decoder):
            for module in part.modules():
                if not isinstance(module, nn.BatchNorm2d):
                    for parameter in module.parameters(recurse=False):
                        parameter.data = parameter.data.to(dtype)

    @property
    def takes_hints(self) -> bool:
        """Whether hints change its answer."""
        return self._config.hints

    @torch.inference_mode()
    def forward(self, canvases: Tensor) -> Tensor:
        """L* in [0, 100] and the hints of `Colorizer.predict_with_error`, (B, 4, 224, 224) → its answer.

        Where the network takes no hints, they are not looked at.
        """
        lightness, hints = canvases[:, :1], canvases[:, 1:]
        encoder_input, backbone_input = self.preprocessing(
            lightness, scale_hints(hints) if self._config.hints else None
        )
        features = self.stem(backbone_input.to(self._stem_dtype)).to(self._dtype)
        maps = trunk_maps(self._config.backbone, list(self.trunk), features)
        prediction = self.decoder(self.fusion(self.encoder(encoder_input.to(self._dtype)), maps))
        ab: Tensor = self.calibration(prediction.raw, prediction.expected_error, lightness)
        return with_error(ab, prediction.expected_error)


@dataclass(frozen=True, slots=True)
class _Slot:
    """The buffers of one batch on its way, and the events of its stages; inputs (N, 4, …), outputs (N, 3, …)."""

    host_input: Tensor
    arrived_input: Tensor
    computed_output: Tensor
    host_output: Tensor
    arrived: Event
    computed: Event
    done: Event


class CudaDevice:
    """A `Device` that copies one batch while it computes another.

    It launches for one thread at a time. At most two batches are launched and not yet collected, and they are collected
    in the order of their launch.
    """

    name = "cuda"
    # Eight photographs are there within a millisecond of the launch; but before it the worker's thread must wake up and
    # get the interpreter, which a lane may hold for 5 ms (sys.getswitchinterval).
    lead_s: float | None = 0.005
    """So long before the running batch's predicted end the next one is launched; None: only when it has ended."""

    def __init__(
        self,
        colorizers: Mapping[str, Colorizer],
        precision: Literal["auto", "float32", "float16", "bfloat16"],
        cuda: Cuda | None = None,
    ) -> None:
        """`precision` "auto" is float16: no activation comes near its limits, and its 11 bits are enough everywhere."""
        self._precision: str = "float16" if precision == "auto" else precision
        self._cuda = cuda or Cuda()
        dtype = getattr(torch, self._precision)
        self._networks = {
            name: self._cuda.place(MixedColorizer(colorizer, dtype)) for name, colorizer in colorizers.items()
        }
        self._copy_in, self._compute, self._copy_out = (self._cuda.new_stream() for _ in range(3))
        self._graphs: dict[str, dict[int, Graph]] = {name: {} for name in colorizers}
        self._free: list[_Slot] = []

    def precision(self, backbone: str) -> str:  # noqa: ARG002 - one for all
        """See `Device`."""
        return self._precision

    def path(self, backbone: str) -> str:
        """See `Device`; after warm-up it names the buckets that fitted into memory."""
        return f"channels_last, CUDA graphs of {', '.join(str(size) for size in reversed(self._graphs[backbone]))}"

    def memory_bytes(self) -> int | None:
        """See `Device`."""
        return self._cuda.memory_bytes()

    def launch(self, backbone: str, canvases: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        """See `Launcher`; a batch larger than any that fitted into memory at warm-up is a MemoryError."""
        if max(map(len, canvases)) > 1 and not self._networks[backbone].takes_hints:
            raise ValueError("this network takes no hints")
        bucket = min((size for size in self._graphs[backbone] if size >= len(canvases)), default=None)
        if bucket is None:
            raise MemoryError(f"{len(canvases)} photographs at once did not fit into memory at warm-up")
        if not self._free:
            raise RuntimeError("two batches are under way already")
        slot = self._free.pop()
        try:
            self._enqueue(slot, self._graphs[backbone][bucket], canvases)
        except BaseException:
            # What of it is under way may read what the next batch writes here, but ends before it, stream by stream:
            # only its own answer can suffer, which nobody gets.
            self._free.append(slot)
            raise
        return partial(self._collect, slot, len(canvases))

    def _enqueue(self, slot: _Slot, graph: Graph, canvases: Sequence[Tensor]) -> None:
        cuda, count = self._cuda, len(canvases)
        # The slot is free: nothing reads its buffers now whose result anybody will see.
        for row, canvas in zip(slot.host_input[:count], canvases, strict=True):
            row[: len(canvas)].copy_(canvas)
            row[len(canvas) :].zero_()
        cuda.copy(self._copy_in, slot.arrived_input[:count], slot.host_input[:count])
        cuda.record(self._copy_in, slot.arrived)
        # Else the graph would run on what the slot held before.
        cuda.wait(self._compute, slot.arrived)
        # The rows from `count` to the bucket's end keep what they held: no row of a network's answer depends on others.
        cuda.copy(self._compute, self._input[:count], slot.arrived_input[:count])
        cuda.replay(self._compute, graph)
        # Out of the next replay's way at once, so that it need not wait for the copy to the host.
        cuda.copy(self._compute, slot.computed_output[:count], self._output[:count])
        cuda.record(self._compute, slot.computed)
        # Else the host would get what the slot held before.
        cuda.wait(self._copy_out, slot.computed)
        cuda.copy(self._copy_out, slot.host_output[:count], slot.computed_output[:count])
        cuda.record(self._copy_out, slot.done)

    def _collect(self, slot: _Slot, count: int) -> list[Tensor]:
        try:
            # `done` is after `computed`, which is after `arrived`: with it, all that touches the slot has ended.
            self._cuda.wait_on_host(slot.done)
            with as_memory_error():
                answers = slot.host_output[:count].clone()
        finally:
            self._free.append(slot)
        if not torch.isfinite(answers).all():
            raise FloatingPointError("the network's answer is not finite")
        return list(answers)

    def warm_up(self, max_batch_size: int) -> dict[str, dict[int, float]]:
        """See `Device`; a bucket that does not fit into memory is left out, and an error only if it is the first.

        To be called once, before anything is launched.
        """
        sizes = buckets(max_batch_size)
        with as_memory_error():
            self._allocate(sizes[-1])
        # The largest first, so that the others find their memory in its pool.
        for size in reversed(sizes):
            for name in self._networks:
                self._capture(name, size)
        seconds: dict[str, dict[int, float]] = {}
        for name in self._networks:
            seconds[name] = {size: self._time(name, size) for size in reversed(self._graphs[name])}
            told = {size: round(value, 4) for size, value in seconds[name].items()}
            how = {"backbone": name, "path": self.path(name), "precision": self._precision}
            logger.info("warmed up", extra=how | {"seconds_by_batch": told})
        return seconds

    def _allocate(self, rows: int) -> None:
        cuda, size = self._cuda, (INPUT_SIZE, INPUT_SIZE)
        one, two = (rows, 1 + HINT_CHANNELS, *size), (rows, 3, *size)
        self._input, self._output = cuda.device_buffer(*one), cuda.device_buffer(*two)
        for _ in range(_SLOTS):
            inputs = cuda.host_buffer(*one), cuda.device_buffer(*one)
            outputs = cuda.device_buffer(*two), cuda.host_buffer(*two)
            self._free.append(_Slot(*inputs, *outputs, *(cuda.new_event() for _ in range(3))))
        cuda.synchronize()  # the zeros and the weights came on a stream that ours do not wait for

    def _capture(self, name: str, size: int) -> None:
        network = self._networks[name]
        try:
            with as_memory_error(), torch.inference_mode():
                self._graphs[name][size] = self._cuda.capture(
                    self._compute, lambda: self._output[:size].copy_(network(self._input[:size]))
                )
        except MemoryError:
            if size == 1:
                raise
            logger.warning("batch does not fit into memory", extra={"backbone": name, "size": size})

    def _time(self, name: str, size: int) -> float:
        batch = [torch.full((1, INPUT_SIZE, INPUT_SIZE), 50.0)] * size
        self.launch(name, batch)()  # a graph's first replay also uploads it
        started = time.monotonic()
        self.launch(name, batch)()
        return time.monotonic() - started
