"""values.schema.json refuses what the chart or the service could not work with, and agrees with both."""

import json
import re
import tomllib
from itertools import permutations
from typing import Any, get_args

import pytest

from service.settings import Backbone, Settings
from tests.deploy.tools import CHART, HELM, ROOT, read_yaml, run

VALUES = read_yaml(CHART / "values.yaml")
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
PREFIX = "AUTOCHROME_"
# In the image, or in a Secret: not the chart's to say.
NOT_CONFIG = {"host", "port", "model_store", "api_key"}
KEYWORDS = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ({"replicas": 2}, "replicas"),
        ({"image": {"name": "x"}}, "image"),
        ({"config": {"AUTOCHROME_HOST": "0.0.0.0"}}, "config"),
        ({"config": {"AUTOCHROME_STALL_S": None}}, "config"),
        ({"config": {"AUTOCHROME_DEVICE": "gpu"}}, "config.AUTOCHROME_DEVICE"),
        ({"config": {"AUTOCHROME_BACKBONES": "vgg16"}}, "config.AUTOCHROME_BACKBONES"),
        ({"config": {"AUTOCHROME_BACKBONES": "resnet101"}}, "config.AUTOCHROME_DEFAULT_BACKBONE"),
        (
            {"config": {"AUTOCHROME_BACKBONES": "mobilenet_v2", "AUTOCHROME_DEFAULT_BACKBONE": "blend"}},
            "config.AUTOCHROME_DEFAULT_BACKBONE",
        ),
        ({"config": {"AUTOCHROME_MAX_BATCH_SIZE": "8"}}, "config.AUTOCHROME_MAX_BATCH_SIZE"),
        ({"config": {"AUTOCHROME_MAX_BATCH_SIZE": 257}}, "config.AUTOCHROME_MAX_BATCH_SIZE"),
        ({"config": {"AUTOCHROME_MAX_PIXELS": 300_000_001}}, "config.AUTOCHROME_MAX_PIXELS"),
        ({"config": {"AUTOCHROME_STALL_S": 0}}, "config.AUTOCHROME_STALL_S"),
        ({"config": {"AUTOCHROME_DRAIN_S": -1}}, "config.AUTOCHROME_DRAIN_S"),
        ({"config": {"AUTOCHROME_LANES": "all"}}, "config.AUTOCHROME_LANES"),
        ({"replicaCount": "2"}, "replicaCount"),
        ({"replicaCount": -1}, "replicaCount"),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets.0"),
        ({"apiKey": {"key": ""}}, "apiKey.key"),
        ({"weights": {"source": "s3"}}, "weights.source"),
        ({"weights": {"source": "pvc"}}, "weights.pvc.claimName"),
        ({"weights": {"source": "init"}}, "weights.init.image"),
        ({"weights": {"init": {"sizeLimit": "1 GB"}}}, "weights.init.sizeLimit"),
        ({"preStopSleepSeconds": 0.5}, "preStopSleepSeconds"),
        ({"nodeSelector": {"gpu": True}}, "nodeSelector.gpu"),
        ({"service": {"type": "ExternalName"}}, "service.type"),
        ({"service": {"port": 0}}, "service.port"),
        ({"autoscaling": {"mode": "vpa"}}, "autoscaling.mode"),
        ({"autoscaling": {"targetDeviceBusy": 80}}, "autoscaling.targetDeviceBusy"),
        ({"autoscaling": {"keda": {"serverAddress": "prometheus:9090"}}}, "autoscaling.keda.serverAddress"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "podDisruptionBudget.maxUnavailable"),
        ({"podDisruptionBudget": {"maxUnavailable": "101%"}}, "podDisruptionBudget.maxUnavailable"),
        ({"networkPolicy": {"enabled": "yes"}}, "networkPolicy.enabled"),
        ({"ingress": {"annotations": {"timeout": 95}}}, "ingress.annotations.timeout"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
        ({"serviceMonitor": {"interval": "15"}}, "serviceMonitor.interval"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], at: str) -> None:
    result = run(HELM, "template", "autochrome", CHART, "--values", "-", stdin=json.dumps(values))
    assert result.returncode != 0
    assert "values don't meet the specifications of the schema" in result.stdout
    assert at in result.stdout.replace("/", ".")


def walk(value: object, schema: dict[str, Any], path: str = "values") -> None:
    """Every default has a schema, every schema a default, and nothing else is let through."""
    if "properties" not in schema:
        described = schema.keys() & {"type", "enum", "const", "anyOf"}
        assert described, f"{path} has no schema"
        return
    assert schema.get("type") == "object", path
    assert schema.get("additionalProperties") is False, path
    assert isinstance(value, dict), path
    names = set(schema["properties"]) - ({"global"} if path == "values" else set())
    assert set(value) == names, path
    for name in names:
        walk(value[name], schema["properties"][name], f"{path}.{name}")


def test_every_value_has_a_schema() -> None:
    walk(VALUES, SCHEMA)


def opaque_objects(schema: dict[str, Any], path: tuple[str, ...] = ()) -> set[str]:
    """Objects of which the schema names no property."""
    if "properties" in schema:
        return set().union(*(opaque_objects(below, (*path, name)) for name, below in schema["properties"].items()))
    return {".".join(path)} if schema.get("type") == "object" else set()


def test_only_what_is_handed_on_to_kubernetes_is_open() -> None:
    maps = {"nodeSelector", "podAnnotations", "podLabels", "serviceAccount.annotations", "ingress.annotations"}
    maps |= {"serviceMonitor.labels", "prometheusRule.labels"}
    objects = {"resources", "weights.init.resources", "strategy", "affinity", "podSecurityContext", "securityContext"}
    assert opaque_objects(SCHEMA) == maps | objects | {"global"}


def test_every_setting_can_be_set() -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields if name not in NOT_CONFIG}
    assert set(VALUES["config"]) == settings
    assert set(SCHEMA["properties"]["config"]["required"]) == settings
    assert set(Settings.model_fields) >= NOT_CONFIG


def expected_schema(name: str) -> dict[str, Any]:
    """What the chart must say of a setting."""
    known = get_args(Backbone)
    if name == "backbones":  # a list, written with commas
        lists = [",".join(names) for count in range(1, len(known) + 1) for names in permutations(known, count)]
        return {"enum": sorted(lists)}
    own = Settings.model_json_schema()["properties"][name]
    said = {keyword: own[keyword] for keyword in KEYWORDS if keyword in own}
    if "enum" in said:
        del said["type"]
    if name == "lanes":  # its default depends on the machine: empty is not set
        return {"anyOf": [{"const": ""}, said]}
    return said


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name not in NOT_CONFIG])
def test_bounds_are_the_services_own(name: str) -> None:
    schema = SCHEMA["properties"]["config"]["properties"][PREFIX + name.upper()]
    if name == "backbones":
        schema = schema | {"enum": sorted(schema["enum"])}
    assert schema == expected_schema(name)


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name not in NOT_CONFIG])
def test_defaults_are_the_services_own(name: str) -> None:
    value = VALUES["config"][PREFIX + name.upper()]
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        assert value == ""
    elif name == "max_bytes_held":
        assert value == round(field.default * 2 / 3, -8)  # so that it fits into the memory limit
    else:
        assert value == (",".join(field.default) if isinstance(field.default, tuple) else field.default)


def documented() -> list[tuple[str, str, str, str]]:
    """Key, type, default and description of every value, in the order of values.yaml."""
    rows, names, description = [], list[tuple[int, str]](), None
    types = {str: "string", bool: "bool", int: "int", float: "float", list: "list", dict: "object"}
    for line in (CHART / "values.yaml").read_text().splitlines():
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if text.startswith("# -- "):
            description = text.removeprefix("# -- ")
        elif key := re.match(r"(\w+):", text):
            names = [(at, name) for at, name in names if at < indent] + [(indent, key[1])]
            if description is None:
                continue
            value: Any = VALUES
            for _, name in names:
                value = value[name]
            path = ".".join(name for _, name in names)
            rows.append((path, types[type(value)], f"`{json.dumps(value)}`", description))
            description = None
    return rows


def covered(value: object, path: str, rows: set[str]) -> bool:
    """Whether a row is about this value, or rows about all that is in it."""
    if path in rows:
        return True
    return isinstance(value, dict) and bool(value) and all(covered(v, f"{path}.{k}", rows) for k, v in value.items())


def test_the_readmes_table_is_values_yaml() -> None:
    table = (CHART / "README.md").read_text().partition("\n## Values\n")[2]
    rows = [tuple(line.strip("| ").split(" | ")) for line in table.splitlines() if line.startswith("|")][2:]
    assert rows == documented()
    assert [key for key, value in VALUES.items() if not covered(value, key, {row[0] for row in rows})] == []


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert read_yaml(CHART / "Chart.yaml")["appVersion"] == project["version"]
