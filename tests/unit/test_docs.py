"""The documents are proved: tables, names and commands in them are the project's own."""

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from service.api.parameters import Parameters
from service.imaging.formats import ImageFormat
from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint
from service.settings import Settings
from training.measure.scores import Scores
from training.measure.tables import format_tables

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SHIPPED = [name for name in BackboneName if (ROOT / "model_store" / name).exists()]


def test_the_two_commands_come_first() -> None:
    assert README.index("make serve") < README.index("make test") < README.index("\n## ")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    row = re.search(rf"^\| `AUTOCHROME_{name.upper()}` \| (.*?) \|", README, re.MULTILINE)
    assert row is not None
    field = Settings.model_fields[name]
    if field.default_factory is not None:  # depends on the machine, and is told in words
        assert not row[1].startswith("`")
        return
    default = field.default
    shown = ",".join(default) if isinstance(default, tuple) else default
    assert row[1] == ("–" if shown is None else f"`{shown}`")


@pytest.mark.parametrize("name", ["backbone", *Parameters.model_fields])
def test_every_parameter_is_documented_with_its_values(name: str) -> None:
    row = re.search(rf"^\| `{name}` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    assert row is not None
    if name == "backbone":
        return
    field = Parameters.model_fields[name]
    if isinstance(field.default, StrEnum | str):
        assert row[2] == f"`{field.default}`"
    elif field.default is not None:
        assert row[2] == f"{field.default:g}"


@pytest.mark.parametrize("format", ImageFormat)
def test_every_format_of_answers_is_documented(format: ImageFormat) -> None:
    (row,) = re.findall(r"^\| `format` .*$", README, re.MULTILINE)
    assert f"`{format}`" in row


def test_something_is_shipped() -> None:
    assert SHIPPED


def measured(backbone: str) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((ROOT / "model_store" / backbone / "metrics.json").read_text())
    return metrics


@pytest.mark.parametrize("backbone", SHIPPED)
def test_model_cards_show_what_was_measured(backbone: str) -> None:
    metrics = measured(backbone)
    card = (ROOT / "model_store" / backbone / "README.md").read_text()
    assert format_tables(metrics["scores"]) in card
    assert metrics["date"] in card


def test_the_readme_shows_all_models_side_by_side() -> None:
    together = [measured(backbone) for backbone in SHIPPED]
    scores: Scores = {}
    for metrics in together:
        scores |= metrics["scores"]
    assert format_tables(scores) in README
    # One run measured all of them, and the blend is of these.
    assert (
        len({(metrics["date"], metrics["photos"], json.dumps(metrics["scores"]["grey"])) for metrics in together}) == 1
    )
    assert together[0]["date"] in README
    assert all(blended in scores for metrics in together for blended in metrics.get("blend_of", []))


@pytest.mark.parametrize("backbone", SHIPPED)
def test_figures_belong_to_the_weights(backbone: str) -> None:
    checkpoint = Checkpoint.load(ROOT / "model_store" / backbone, BackboneName(backbone))
    assert checkpoint.metrics["digest"] == checkpoint.config.digest
    assert checkpoint.config.short_digest in (ROOT / "model_store" / backbone / "README.md").read_text()


@pytest.mark.parametrize(
    "document",
    [
        *sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("docs/*.md")),
        "README.md",
        "CONTRIBUTING.md",
        "k8s/README.md",
        "k8s/chart/README.md",
    ],
)
def test_links_lead_somewhere(document: str) -> None:
    file = ROOT / document
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", file.read_text())
    missing = [target for target in targets if not (file.parent / target).exists()]
    assert missing == []


def test_every_module_of_the_tour_exists() -> None:
    tour = (ROOT / "docs" / "architecture.md").read_text()
    modules = re.findall(r"`((?:service/|api/|engine/|imaging/|network/|telemetry/)[\w/]+\.py)`", tour)
    assert modules
    assert [module for module in modules if not (ROOT / "service" / module.removeprefix("service/")).exists()] == []
