"""A rolling restart under load: two containers behind a proxy, each replaced in turn, and no request fails."""

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy.tools import ROOT
from tests.image.conftest import Load, statuses
from tests.image.podman import Podman, is_ready
from tests.processes import free_port

PHOTO = ROOT / "docs" / "pictures" / "farmer.jpg"
CLIENTS = 4
LEAST_REQUESTS = 2000
ROUND = 200

# It turns away from a server that says it is not ready, as Kubernetes does, and tries nothing twice: whatever goes
# wrong reaches the client.
_PROXY = """
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 120s
    timeout server 120s
    timeout check 3s
frontend proxy
    bind 127.0.0.1:{port}
    default_backend instances
backend instances
    balance leastconn
    option httpchk GET /readyz
    default-server check inter 1s fall 2 rise 2
{servers}
"""


@pytest.fixture
def ports() -> list[int]:
    """Of the two instances, then of their successors."""
    return [free_port() for _ in range(4)]


@pytest.fixture
def proxy(ports: list[int], tmp_path: Path) -> Iterator[int]:
    """The port of a proxy before whichever instances there are."""
    port, configuration = free_port(), tmp_path / "haproxy.cfg"
    servers = "\n".join(f"    server instance{i} 127.0.0.1:{port}" for i, port in enumerate(ports))
    configuration.write_text(_PROXY.format(port=port, servers=servers))
    process = subprocess.Popen(["haproxy", "-f", str(configuration)], stderr=subprocess.DEVNULL)
    yield port
    assert process.poll() is None, "the proxy has ended"
    process.terminate()
    process.wait()


def test_no_request_fails_while_every_instance_is_replaced(
    podman: Podman, image: str, ports: list[int], proxy: int, load: Load, figures: dict[str, str]
) -> None:
    settings = {"backbones": "mobilenet_v2"}  # three at once fit into a small machine
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        instances = [
            stack.enter_context(podman.container(f"autochrome-roll{i}", port, **settings))
            for i, port in enumerate(ports[:2])
        ]
        for instance in instances:
            instance.wait_until_ready()
        while not is_ready(f"http://127.0.0.1:{proxy}"):
            pass  # until the proxy has noticed them
        replaced = threading.Event()

        def ask() -> Counter[int]:
            answered: Counter[int] = Counter()
            while not replaced.is_set() or answered.total() < LEAST_REQUESTS:
                answered.update(statuses(load(proxy, PHOTO, CLIENTS, f"--requests={ROUND}")))
            return answered

        asking = pool.submit(ask)
        try:
            for i, instance in enumerate(instances, start=2):
                # As a Deployment with maxSurge 1 does it: first the new one, then away with the old one.
                successor = stack.enter_context(podman.container(f"autochrome-roll{i}", ports[i], **settings))
                successor.wait_until_ready()
                instance.terminate()
                assert instance.wait() == 0, instance.log
        finally:
            replaced.set()
        answered = asking.result()
    figures["rolling restart under load"] = ", ".join(f"{count} × {status}" for status, count in answered.items())
    assert set(answered) == {200}
