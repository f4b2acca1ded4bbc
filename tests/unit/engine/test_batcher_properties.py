"""Whatever comes, in whatever order: everyone is answered once and with his own, oldest first, and nobody hangs.

Hypothesis chooses what arrives, who leaves, which batch fails and how, and when time passes. Between its steps nothing
moves: the device finishes a batch only when told to, the clock stands still, and each step ends when the worker has
come to rest, at the device's gate or at the empty queue. So a failure can be repeated, and shrinks.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from service.engine.batcher import Answer, Entry
from service.engine.batches import MAX_FAILURES_IN_A_ROW
from service.engine.costs import BatchCosts
from service.engine.errors import ClosedError, EngineError, InferenceError, WorkerDeadError
from service.engine.worker import DeviceWorker
from service.telemetry.metrics import Metrics
from tests.randomness import RANDOM_SEED
from tests.unit.engine.gated_device import TIMEOUT_S
from tests.unit.engine.queueing import AwaitedBatcher

KEYS = ("left", "right")
MAX_BATCH_SIZE = 4
COST_S, LEAD_S = 10.0, 2.0

Kind = str
KINDS = ["good"] * 8 + ["bad", "unfit", "big", "huge", "deadly"]


@dataclass(eq=False)
class Item:
    """What is submitted; `kind` is what happens to a batch with it.

    bad: fails when collected; unfit: when launched. big: out of memory beside others when collected; huge: when
    launched. deadly: takes the worker's thread with it.
    """

    number: int
    kind: Kind


@dataclass(eq=False)
class Request:
    """A call of `submit`, and what the test knows of it."""

    item: Item
    keys: tuple[str, ...]
    arrived: float
    task: "asyncio.Task[list[Answer[str]]]"
    after: type[Exception] | None
    """What it came too late for."""
    cancelled: bool = False
    failed: bool = False
    """One of its entries failed alone, so nobody waits for the others."""


def answer(key: str, item: Item) -> str:
    """The network's: of this very key and item."""
    return f"{key} {item.number}"


class Machine(RuleBasedStateMachine):
    """A batcher, a worker and a device, and a model of who waits for what."""

    # What the worker's thread tells; guarded by `moved`.
    at_gate = False
    asking = False
    ended = False
    died = False
    busy_until: float | None = None

    @initialize(overlaps=st.booleans())
    def build(self, overlaps: bool) -> None:
        self.loop = asyncio.new_event_loop()
        # An answer given twice, or to somebody who has left, would only be logged.
        self.loop.set_exception_handler(lambda _, context: self.broken.append(str(context)))
        self.moved = threading.Condition()
        self.now = 0.0
        self.closed = self.opened = self.deadly = False
        self.requests: list[Request] = []
        self.waiting: dict[str, list[Request]] = {key: [] for key in KEYS}
        self.launched: list[tuple[str, list[Item]]] = []  # and not yet collected
        self.tried: set[tuple[str, int]] = set()
        self.answered: set[tuple[str, int]] = set()
        self.limits = dict.fromkeys(KEYS, MAX_BATCH_SIZE)
        self.failed_alone = 0
        self.broken: list[str] = []
        self.gate = threading.Semaphore(0)
        self.lead_s = LEAD_S if overlaps else None
        machine = self

        class Watched(AwaitedBatcher[Item, str]):
            """Tells when the worker looks for work."""

            def next_batch(self, busy_until: float | None = None) -> list[Entry[Item, str]] | None:
                machine.tell(asking=True, busy_until=busy_until)
                if machine.opened and busy_until is not None:
                    machine.now = max(machine.now, busy_until)
                entries = super().next_batch(busy_until)
                machine.tell(asking=False, ended=entries is None)
                return entries

            def abort(self, error: EngineError) -> None:
                super().abort(error)
                machine.tell(died=True)

        self.batcher = Watched(KEYS, MAX_BATCH_SIZE, max_wait_s=0, clock=lambda: self.now)
        costs = BatchCosts({key: dict.fromkeys((1, 2, 4), COST_S) for key in KEYS})
        self.metrics = Metrics(CollectorRegistry())
        self.worker = DeviceWorker(self.batcher, self, costs, self.metrics)
        self.worker.start()
        self.settle()

    # The device, on the worker's thread

    def launch(self, key: str, items: Sequence[Item]) -> Callable[[], list[str]]:
        """The device's; checks what it is given."""
        with self.moved:
            self.check_batch(key, items)
            if any(item.kind in ("unfit", "huge") for item in items):
                self.fail(key, items, "unfit", "huge")
            self.launched.append((key, list(items)))
            self.check(len(self.launched) <= (1 if self.lead_s is None else 2), f"{len(self.launched)} under way")
        return partial(self.collect, key, list(items))

    def collect(self, key: str, items: list[Item]) -> list[str]:
        """The results, when the test says so."""
        with self.moved:
            self.check(self.launched[0] == (key, items), "not collected in the order of the launches")
        self.tell(at_gate=not self.opened)
        if not self.opened:
            assert self.gate.acquire(timeout=TIMEOUT_S)
        with self.moved:
            del self.launched[0]
            if any(item.kind == "deadly" for item in items):
                self.deadly = True
                raise SystemExit
            if any(item.kind in ("bad", "big") for item in items):
                self.fail(key, items, "bad", "big")
            for item in items:
                self.check((key, item.number) not in self.answered, "computed twice")
                self.answered.add((key, item.number))
        return [answer(key, item) for item in items]

    def fail(self, key: str, items: Sequence[Item], poison: Kind, glutton: Kind) -> None:
        """Raises what a batch with such items would."""
        if any(item.kind == poison for item in items):
            if len(items) == 1:
                self.requests[items[0].number].failed = True
                self.failed_alone += 1
            raise ValueError(poison)
        if len(items) > 1:
            self.limits[key] = min(self.limits[key], len(items) // 2)
            raise MemoryError(glutton)

    def check_batch(self, key: str, items: Sequence[Item]) -> None:
        """The rules of a batch at its launch."""
        numbers = [item.number for item in items]
        again = [number for number in numbers if (key, number) in self.tried]
        self.check(len(again) in (0, len(items)), "a new batch is mixed with one tried before")
        self.check(numbers == sorted(numbers), "not in the order of arrival")
        self.check(len(items) <= MAX_BATCH_SIZE, "too large")
        for item in items:
            request = self.requests[item.number]
            self.check(not request.cancelled and not request.failed, "abandoned, and run nevertheless")
        if again:
            return
        self.check(
            self.busy_until is None or self.now >= self.busy_until, "closed before the device is about to be free"
        )
        self.check(len(items) <= self.limits[key], "larger than what is known to fit")
        line = [request for request in self.waiting[key] if not request.failed]
        gone = [request for request in self.waiting[key] if request.failed]
        self.check([request.item.number for request in line[: len(items)]] == numbers, "not the oldest of its key")
        # Whoever is failed may still stand in the queue and take a place in the batch.
        due = min(self.limits[key], len(line))
        self.check(due - len(gone) <= len(items) <= due, "not as large as could be")
        for other in KEYS:
            heads = [request.arrived for request in self.waiting[other] if not request.failed]
            self.check(not heads or self.waiting[key][0].arrived <= heads[0], "an older one waits elsewhere")
        self.tried.update((key, number) for number in numbers)
        self.waiting[key] = [request for request in self.waiting[key] if request.item.number not in numbers]

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(what)

    def tell(self, **what: Any) -> None:
        with self.moved:
            for name, value in what.items():
                setattr(self, name, value)
            self.moved.notify_all()

    # The test's own thread

    def at_rest(self) -> bool:
        """Whether the worker waits for the test: at the gate, for time to pass, for somebody to come; or is gone."""
        if self.at_gate or self.ended or self.died:
            return True
        if not self.asking or (self.closed and self.busy_until is None):
            return False
        if self.busy_until is not None:
            return self.now < self.busy_until
        return not any(not request.failed for line in self.waiting.values() for request in line)

    def settle(self) -> None:
        """Until the worker is at rest and everybody has been told."""
        with self.moved:
            assert self.moved.wait_for(self.at_rest, TIMEOUT_S), "the worker moves no more, though there is work"
        self.loop.run_until_complete(self.turns())

    async def turns(self) -> None:
        """As many turns of the loop as an answer takes from the worker to the task."""
        for _ in range(10):
            await asyncio.sleep(0)

    @rule(
        arrivals=st.lists(
            st.tuples(st.sampled_from([("left",), ("right",), KEYS]), st.sampled_from(KINDS)), min_size=1, max_size=6
        )
    )
    def submit(self, arrivals: list[tuple[tuple[str, ...], Kind]]) -> None:
        """Some requests come, one after the other: photographs, and blends."""
        for keys, kind in arrivals:
            self.now += 0.001
            item = Item(len(self.requests), kind)
            after = WorkerDeadError if self.died else ClosedError if self.closed else None
            task = self.loop.create_task(self.batcher.answers(keys, item))
            request = Request(item, keys, self.now, task, after)
            with self.moved:
                self.requests.append(request)
                if after is None:
                    for key in keys:
                        self.waiting[key].append(request)
            self.loop.run_until_complete(asyncio.sleep(0))  # lets it run up to its place in the queue
            self.settle()

    @precondition(lambda self: any(not request.task.done() for request in self.requests))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Somebody who waits does no longer."""
        request = data.draw(st.sampled_from([request for request in self.requests if not request.task.done()]))
        with self.moved:
            request.cancelled = True
            for line in self.waiting.values():
                if request in line:
                    line.remove(request)
        request.task.cancel()
        self.loop.run_until_complete(self.turns())
        self.settle()

    @precondition(lambda self: self.at_gate)
    @rule()
    def finish(self) -> None:
        """The device has done its batch."""
        self.tell(at_gate=False)
        self.gate.release()
        self.settle()

    @precondition(lambda self: self.lead_s is not None)
    @rule(seconds=st.sampled_from([1.0, COST_S - LEAD_S, COST_S]))
    def let_time_pass(self, seconds: float) -> None:
        """So that the next batch may be due."""
        with self.moved:
            self.now += seconds
        self.wake()
        self.settle()

    def wake(self) -> None:
        """The worker looks at the clock again: somebody comes who needs no network."""
        if self.closed:
            self.batcher.close()  # once more
        else:
            with suppress(WorkerDeadError):
                self.loop.run_until_complete(self.batcher.answers([], Item(-1, "good")))

    @rule()
    @precondition(lambda self: len(self.requests) > 10)
    def close(self) -> None:
        """The service ends; what is queued is still served."""
        with self.moved:
            self.closed = True
        self.batcher.close()
        self.settle()

    @invariant()
    def no_rule_is_broken(self) -> None:
        assert not getattr(self, "broken", [])

    @invariant()
    def who_is_done_is_told(self) -> None:
        """At once, and nobody else."""
        for request in getattr(self, "requests", []):
            if request.item.kind == "unfit" and self.launched:
                continue  # told when the running batch has ended
            results = [(key, request.item.number) in self.answered for key in request.keys]
            told = all(results) or request.failed or request.cancelled or request.after is not None
            assert request.task.done() == (told or self.died), request

    @invariant()
    def depth_is_who_waits(self) -> None:
        for key, line in getattr(self, "waiting", {}).items():
            if not self.died:
                # Who failed at a launch is told when the running batch has ended, and stands in the queue until then.
                assert self.batcher.depth(key) == len([request for request in line if not request.task.done()])

    def teardown(self) -> None:
        """With the gate open all is answered, and the worker ends."""
        with self.moved:
            self.opened = True
            self.now = max(self.now, self.busy_until or 0.0)
        self.gate.release()
        self.batcher.close()
        self.worker.join(TIMEOUT_S)
        assert not self.worker.alive
        tasks = [request.task for request in self.requests]
        if tasks:
            _, pending = self.loop.run_until_complete(asyncio.wait(tasks, timeout=TIMEOUT_S))
            assert not pending
        self.loop.close()
        outcomes = [task.cancelled() or task.exception() for task in tasks]
        assert not self.broken, (self.broken, outcomes)
        for request in self.requests:
            self.check_outcome(request)
        if not self.died:
            self.now += 1
            assert self.batcher.stalled_s() == 0
            ok = sum(self.value("autochrome_batch_size_sum", backbone=key) for key in KEYS)
            assert ok == len(self.answered)

    def check_outcome(self, request: Request) -> None:
        if request.task.cancelled():
            assert request.cancelled
            return
        error = request.task.exception()
        if error is None:
            results = [given.result for given in request.task.result()]
            assert results == [answer(key, request.item) for key in request.keys]
        elif request.after is not None:
            assert type(error) is request.after
        elif isinstance(error, InferenceError):
            assert request.failed
            assert request.item.kind in ("bad", "unfit")
        else:
            assert isinstance(error, WorkerDeadError)
            assert self.deadly or self.failed_alone >= MAX_FAILURES_IN_A_ROW

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


class TestBatcher(Machine.TestCase):  # type: ignore[misc, valid-type]
    """The same cases in every run."""

    settings = settings(
        max_examples=400,
        stateful_step_count=40,
        derandomize=True,
        deadline=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@seed(RANDOM_SEED)
class TestBatcherAtRandom(Machine.TestCase):  # type: ignore[misc, valid-type]
    """Other cases in every run; the report's header says how to repeat them."""

    settings = settings(TestBatcher.settings, max_examples=200, derandomize=False)
