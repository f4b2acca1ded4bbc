"""Every metric of the service, declared here and nowhere else. Durations are seconds."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAGS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The instruments, registered on the registry that is passed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter(
            "autochrome_requests",
            "Answers to POST /colorize; 499: the client left before its answer.",
            ["backbone", "code"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "autochrome_request_seconds",
            "From the first byte of a POST /colorize to the last byte of its answer.",
            ["backbone"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "autochrome_stage_seconds",
            "Time of one request in decode, queue, inference, recompose and encode.",
            ["backbone", "stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "autochrome_batch_size",
            "Photographs the network was given at once.",
            ["backbone"],
            buckets=_SIZES,
            registry=registry,
        )
        self.batches = Counter(
            "autochrome_batches",
            "Runs of the network: ok, failed or out_of_memory.",
            ["backbone", "outcome"],
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "autochrome_batch_seconds",
            "Time the device worked on a batch; the rate of its sum is the share of time the device is busy.",
            ["backbone"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.chosen_batch_size = Gauge(
            "autochrome_chosen_batch_size",
            "Photographs the network is given at once while they queue: what takes the least time for each here.",
            ["backbone"],
            registry=registry,
        )
        self.queue_depth = Gauge(
            "autochrome_queue_depth",
            "Photographs that nobody has begun with, or that wait for the network.",
            ["backbone"],
            registry=registry,
        )
        self.queue_oldest_seconds = Gauge(
            "autochrome_queue_oldest_seconds",
            "How long the oldest of those has waited.",
            ["backbone"],
            registry=registry,
        )
        self.predicted_wait_seconds = Gauge(
            "autochrome_predicted_wait_seconds",
            "How long a newcomer would wait in the whole line; what admission goes by, and what to scale on.",
            registry=registry,
        )
        self.in_flight = Gauge(
            "autochrome_in_flight", "POST /colorize requests begun and not yet answered.", registry=registry
        )
        self.bytes_held = Gauge(
            "autochrome_bytes_held",
            "Memory set aside for uploads, decoded photographs and answers of all requests.",
            registry=registry,
        )
        self.loop_lag_seconds = Histogram(
            "autochrome_loop_lag_seconds",
            "By how much a timer of the event loop is late, asked twenty times a second.",
            buckets=_LAGS,
            registry=registry,
        )
        self.rejections = Counter(
            "autochrome_rejections",
            "Requests refused to protect the service: queue_full, memory_full, draining, too_large, too_many_pixels.",
            ["reason"],
            registry=registry,
        )
        self.ready = Gauge("autochrome_ready", "1 while /readyz answers 200.", registry=registry)
        self.build_info = Gauge(
            "autochrome_build_info", "Always 1; the label says which release serves.", ["version"], registry=registry
        )
        self.model_info = Gauge(
            "autochrome_model_info",
            "Always 1; the labels say which weights serve.",
            ["backbone", "version", "digest", "device", "precision"],
            registry=registry,
        )
        self.device_memory_bytes = Gauge(
            "autochrome_device_memory_bytes",
            "Memory the service holds on the GPU; absent on a CPU.",
            ["device"],
            registry=registry,
        )
