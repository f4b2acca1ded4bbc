"""The documents are proved: tables, names and commands in them are the project's own."""

import json
import re
from pathlib import Path

import pytest

from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint
from service.settings import Settings
from training.evaluate import format_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SHIPPED = [name for name in BackboneName if (ROOT / "model_store" / name).exists()]


def test_the_two_commands_come_first() -> None:
    assert README.index("make serve") < README.index("make test") < README.index("\n## ")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    row = re.search(rf"^\| `AUTOCHROME_{name.upper()}` \| (.*?) \|", README, re.MULTILINE)
    assert row is not None
    default = Settings.model_fields[name].default
    shown = ",".join(default) if isinstance(default, tuple) else default
    assert row[1] == ("–" if shown is None else f"`{shown}`")


def test_something_is_shipped() -> None:
    assert SHIPPED


@pytest.mark.parametrize("backbone", SHIPPED)
@pytest.mark.parametrize("document", ["README.md", "model_store/{backbone}/README.md"])
def test_tables_show_what_was_measured(backbone: str, document: str) -> None:
    scores = json.loads((ROOT / "model_store" / backbone / "metrics.json").read_text())
    text = (ROOT / document.format(backbone=backbone)).read_text()
    assert format_table(scores) in text
    assert scores["date"] in text


@pytest.mark.parametrize("backbone", SHIPPED)
def test_figures_belong_to_the_weights(backbone: str) -> None:
    checkpoint = Checkpoint.load(ROOT / "model_store" / backbone, BackboneName(backbone))
    assert checkpoint.metrics["digest"] == checkpoint.config.digest
    assert checkpoint.config.short_digest in (ROOT / "model_store" / backbone / "README.md").read_text()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
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
