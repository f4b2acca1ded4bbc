"""The dashboard is one that Grafana would accept, in order on its grid, and says what it shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.rendering import manifests
from tests.deploy.tools import CHART, ROOT, Manifest, read_yaml, type_check

FILE = CHART / "observability" / "dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[Manifest] = [panel for top in DASHBOARD["panels"] for panel in (top, *top.get("panels", []))]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]
VARIABLES: list[Manifest] = DASHBOARD["templating"]["list"]
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

IMPORTS = """
import type { Dashboard, Panel, RowPanel } from "@grafana/schema";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries
    from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
// Grafana fills in what is left out.
type Deep<T> = T extends (infer U)[] ? Deep<U>[] : T extends object ? { [K in keyof T]?: Deep<T[K]> } : T;
"""
FIELD_CONFIGS = {"heatmap", "table", "timeseries"}


def constants(dashboard: dict[str, Any]) -> list[tuple[str, object]]:
    """The dashboard, its panels, and what each type of panel has of its own, with their types."""
    found: list[tuple[str, object]] = [("Plain<Dashboard>", dashboard)]
    for panel in dashboard["panels"]:
        kind = panel["type"]
        if kind == "row":
            found.append(("Plain<RowPanel>", panel))
            continue
        found.append(("Plain<Panel>", panel))
        found.append((f"Plain<Deep<{kind}.Options>>", panel["options"]))
        fields = f"Plain<Deep<{kind}.FieldConfig>>" if kind in FIELD_CONFIGS else "Record<string, never>"
        found.append((fields, panel["fieldConfig"]["defaults"].get("custom", {})))
    return found


def test_types_are_grafanas(tmp_path: Path) -> None:
    assert type_check(tmp_path, IMPORTS, constants(DASHBOARD)) == ""


def test_wrong_types_would_be_found(tmp_path: Path) -> None:
    panel = next(panel for panel in DASHBOARD["panels"] if panel["type"] == "timeseries")
    custom = panel["fieldConfig"]["defaults"]["custom"]
    wrong: list[tuple[str, object]] = [
        ("Plain<Dashboard>", DASHBOARD | {"refreshs": "30s"}),
        ("Plain<Dashboard>", DASHBOARD | {"graphTooltip": "1"}),
        ("Plain<Panel>", panel | {"gridPos": panel["gridPos"] | {"w": "12"}}),
        ("Plain<Deep<timeseries.Options>>", {"legend": {"displayMode": "lst"}}),
        ("Plain<Deep<timeseries.FieldConfig>>", custom | {"lineWidht": 1}),
    ]
    assert type_check(tmp_path, IMPORTS, wrong).count("error TS") == len(wrong)


def test_types_are_of_the_grafana_that_compose_starts() -> None:
    image = read_yaml(ROOT / "docker-compose.yml")["services"]["grafana"]["image"]
    wanted = json.loads((ROOT / "tests" / "deploy" / "package.json").read_text())["devDependencies"]
    assert image == f"grafana/grafana:{wanted['@grafana/schema']}"


def test_panels_stand_side_by_side() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["w"] > 0
        assert at["h"] > 0
        assert 0 <= at["x"] <= COLUMNS - at["w"]
        cells = [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
        assert [taken[cell] for cell in cells if cell in taken] == []
        taken.update(dict.fromkeys(cells, str(panel["title"])))


def test_ids_are_unique() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    for panel in SHOWN:
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("panel", SHOWN, ids=[panel["title"] for panel in SHOWN])
def test_a_panel_explains_itself(panel: Manifest) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


def test_the_data_source_can_be_chosen() -> None:
    assert VARIABLES[0]["name"] == "datasource"
    assert (VARIABLES[0]["type"], VARIABLES[0]["query"]) == ("datasource", "prometheus")
    asking = [*SHOWN, *(target for panel in SHOWN for target in panel["targets"])]
    asking += [variable for variable in VARIABLES if variable["type"] == "query"]
    assert all(item["datasource"] == DATASOURCE for item in asking)


def test_variables_are_defined() -> None:
    known = {f"${variable['name']}" for variable in VARIABLES} | {"$__rate_interval"}
    for panel in SHOWN:
        for target in panel["targets"]:
            words = target["expr"].replace('"', " ").replace("]", " ").split()
            used = {word[word.index("$") :] for word in words if "$" in word}
            assert used <= known


def test_the_chart_brings_this_file() -> None:
    (found,) = (
        item
        for item in manifests("hpa")
        if item["kind"] == "ConfigMap" and item["metadata"]["name"].endswith("-dashboard")
    )
    (text,) = found["data"].values()
    assert json.loads(text) == DASHBOARD
