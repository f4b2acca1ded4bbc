"""The programs that check, where `make deploy-tools` puts them."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "k8s" / "chart"
TOOLS = ROOT / ".tools"
HELM, KUBECTL, PROMTOOL, PROMETHEUS = (TOOLS / "bin" / name for name in ("helm", "kubectl", "promtool", "prometheus"))
HADOLINT, COMPOSE, TRIVY = (Path(sys.prefix) / "bin" / name for name in ("hadolint", "docker-compose", "trivy"))
TSC = TOOLS / "node_modules" / ".bin" / "tsc"

Manifest = dict[str, Any]
"""An object of Kubernetes, or any other mapping out of a file."""


def run(program: Path, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """What came of it, in the repository's root; stderr goes where stdout goes."""
    return subprocess.run(
        [program, *arguments], input=stdin, text=True, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def succeed(program: Path, *arguments: str | Path, stdin: str | None = None) -> str:
    """What it wrote; it must not fail."""
    result = run(program, *arguments, stdin=stdin)
    assert result.returncode == 0, result.stdout
    return result.stdout


class _Loader(yaml.CSafeLoader):
    """Refuses a key that is there twice, as Kubernetes does with strict validation."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := {name for name in names if names.count(name) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> list[Manifest]:
    """Its documents, without the empty ones."""
    return [document for document in yaml.load_all(text, _Loader) if document]


def read_yaml(path: Path) -> Manifest:
    """The one document of a file."""
    (document,) = parse_yaml(path.read_text())
    return document


def type_check(folder: Path, imports: str, constants: Iterable[tuple[str, object]]) -> str:
    """What TypeScript says of constants, each a type and its JSON; empty if they fit.

    As literals, so that keys unknown to the type are errors, too. `Plain` is a type with enums by their values.
    """
    lines = [
        imports,
        "type Plain<T> = T extends string ? `${T}` : T extends number ? Numeric<T> :",
        "  T extends object ? { [K in keyof T]: Plain<T[K]> } : T;",
        "type Numeric<T extends number> = `${T}` extends `${infer N extends number}` ? N : number;",
        *(f"export const _{n}: {kind} = {json.dumps(v, indent=1)};" for n, (kind, v) in enumerate(constants)),
    ]
    (folder / "check.ts").write_text("\n".join(lines))
    (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022"]
    return run(TSC, *options, folder / "check.ts").stdout
