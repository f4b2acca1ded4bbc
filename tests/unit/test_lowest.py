"""The lowest versions that `make test-lowest` tests are those that pyproject.toml permits."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

CHECKERS = {"import-linter", "mypy", "ruff", "types-pyyaml", "types-tqdm"}
"""They look at the code and do not run it."""


def floors(requirements: list[str]) -> dict[str, str]:
    """The lowest version of each, without trailing zeros."""
    found = (re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", requirement) for requirement in requirements)
    return {match[1].lower(): strip(match[2]) for match in found if match is not None}


def strip(version: str) -> str:
    return re.sub(r"(\.0)+$", "", version)


def test_lowest_txt_agrees_with_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    permitted = floors(project["dependencies"])
    for extra in ("train", "dev"):  # an extra may need a newer one
        permitted |= floors(project["optional-dependencies"][extra])
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    tested = dict(line.lower().split("==") for line in lines if "==" in line)
    assert {name: strip(version) for name, version in tested.items()} == {
        name: version for name, version in permitted.items() if name not in CHECKERS
    }
