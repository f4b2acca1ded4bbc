import os
from pathlib import Path

import pytest

from service.cores import count_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("9900000 100000\n", 8),
        ("max 100000\n", 8),
    ],
)
def test_a_container_has_as_many_cores_as_its_share(tmp_path: Path, quota: str, cores: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert count_cores(file) == cores


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert count_cores(tmp_path / "missing") == 8
