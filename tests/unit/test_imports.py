"""Imports run one way, and Prefect stays out of what must work without it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = ["plan", "sources", "archive", "age", "targets", "manifests", "policy", "checks", "notices"]
BODIES = ["backup", "recovery", "keys", "health", "context"]
BASE = ["records", "reports", "options", "calendars", "errors", "platform"]

# Layers from the top: a module may import from its own layer (but another library) and from below.
LAYERS = ["deployments", "flows", "steps", "bodies", "library", "base"]


def layer_of(module: str) -> tuple[str, str]:
    """(layer, name of the library or file) of a dotted module of this project."""
    parts = module.split(".")
    if parts[0] in ("deployments", "flows"):
        return parts[0], parts[0]
    room = parts[1]
    if room in LIBRARIES:
        return "library", room
    if room in BASE:
        return "base", room
    return ("bodies", "bodies") if room in BODIES else ("steps", room)


def modules() -> list[tuple[str, Path]]:
    found = []
    for top in ("deployments", "flows", "tasks"):
        for path in sorted((ROOT / top).rglob("*.py")):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.append((dotted.removesuffix(".__init__"), path))
    return found


def imported(path: Path) -> Iterator[str]:
    """Every module a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            assert node.module
            yield node.module


@pytest.mark.parametrize(("module", "path"), modules(), ids=str)
def test_imports_run_one_way(module: str, path: Path) -> None:
    if module == "tasks":
        return
    layer, name = layer_of(module)
    for target in imported(path):
        if target.split(".")[0] not in ("deployments", "flows", "tasks") or target == "tasks":
            continue
        below, other = layer_of(target)
        assert LAYERS.index(below) >= LAYERS.index(layer), f"{module} imports {target} from a layer above"
        if layer == below == "library":
            assert other == name, f"the libraries {name} and {other} must meet in records only"


@pytest.mark.parametrize(("module", "path"), modules(), ids=str)
def test_prefect_stays_in_its_layers(module: str, path: Path) -> None:
    if module == "tasks":
        return
    layer, _ = layer_of(module)
    if layer in ("deployments", "flows", "steps"):
        return
    for target in imported(path):
        assert target.split(".")[0] != "prefect", f"{module} imports {target}"


def test_age_needs_only_the_standard_library_and_cryptography() -> None:
    allowed = set(sys.stdlib_module_names) | {"cryptography", "tasks", "typing_extensions"}
    for path in (ROOT / "tasks" / "age").glob("*.py"):
        for target in imported(path):
            assert target.split(".")[0] in allowed, f"{path.name} imports {target}"


def test_policy_has_no_clock_and_no_files() -> None:
    for path in (ROOT / "tasks" / "policy").glob("*.py"):
        calls = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call)
        }
        assert not {"open", "datetime.now", "datetime.utcnow", "time.time", "date.today"} & calls, path.name
        assert not {"os", "time", "io", "pathlib", "random"} & {t.split(".")[0] for t in imported(path)}


def test_restore_needs_no_prefect() -> None:
    """On the worst day nothing else may be needed: the command's imports never reach Prefect."""
    code = (
        "import sys\n"
        "import deployments.cli.app\n"
        "from deployments.cli import restore\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'prefect'], 'prefect'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("module", "path"), modules(), ids=str)
def test_rooms_stay_small(module: str, path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 500, f"{module}: look for the second idea hiding inside"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = _body_lines(node)
            assert length <= 45, f"{module}.{node.name} has {length} lines"


def _body_lines(node: ast.FunctionDef) -> int:
    """Lines of a function's body: declarations of options and the docstring are not code."""
    first = node.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = (first.end_lineno or 0) + 1 if has_docstring else first.lineno
    return (node.end_lineno or 0) - start + 1
