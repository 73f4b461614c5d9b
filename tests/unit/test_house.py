"""Imports run one way, without circles, and Prefect stays out of what must work without it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOT, House, components, wrong_with


@pytest.fixture(scope="module")
def house() -> House:
    return House.in_tree()


def test_imports_run_one_way(house: House) -> None:
    assert not house.strays()


def test_there_are_no_circles(house: House) -> None:
    """Inside a layer neither, nor by an import that waits inside a function."""
    assert not house.circles()


def test_prefect_stays_in_its_layers(house: House) -> None:
    assert not house.prefect()


@pytest.mark.parametrize(
    ("module", "other", "why"),
    [
        ("tasks.backup.deliver", "tasks.steps.backup", "above"),
        ("deployments.serving.runner", "deployments.cli.screen", "above"),
        ("tasks.archive.writer", "tasks.sources.base", "records"),
        ("tasks.health.posture", "tasks.targets.s3.options", "adapter"),
        ("tasks.targets.drive.target", "tasks.targets.folder.target", "adapter"),
        ("tasks.targets.registry", "tasks.targets.s3.target", ""),
        ("tasks.targets.s3.target", "tasks.targets.s3.options", ""),
        ("tasks.health.audit", "tasks.backup.retain", ""),
    ],
)
def test_the_check_knows_what_is_wrong(module: str, other: str, why: str) -> None:
    found = wrong_with(module, other)
    assert why in found if why else not found


def test_the_check_finds_circles() -> None:
    graph = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("a"), "d": frozenset("a")}
    assert [group for group in components(graph) if len(group) > 1] == [["a", "b", "c"]]


def test_age_needs_only_the_standard_library_and_cryptography(house: House) -> None:
    allowed = set(sys.stdlib_module_names) | {"cryptography", "tasks", "typing_extensions"}
    for module, found in house.imports.items():
        if module.startswith("tasks.age."):
            assert {name.split(".")[0] for name in found} <= allowed, module


def test_policy_has_no_clock_and_no_files(house: House) -> None:
    clocks = {"open", "datetime.now", "datetime.utcnow", "time.time", "date.today"}
    for module, path in house.modules.items():
        if module.startswith("tasks.policy."):
            assert not clocks & set(calls(path)), module
            first = {name.split(".")[0] for name in house.imports[module]}
            assert not {"os", "time", "io", "pathlib", "random"} & first, module


def calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


HEAVY = {"prefect", "great_expectations", "pandas", "sqlalchemy", "boto3", "asyncssh", "smbclient", "httpx"}
"""Each takes a part of a second, or seconds, to import."""


@pytest.mark.parametrize("modules", ["app", "list, status, doctor, media", "restore, rescue, keys"])
def test_commands_wait_for_nothing_that_they_do_not_use(modules: str) -> None:
    """On the worst day nothing but the standard tools may be needed: the way back never reaches Prefect."""
    code = f"import sys; from deployments.cli import {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    imported = done.stdout.split()
    assert not HEAVY.intersection(imported)
    adapters = [
        name for name in imported if re.match(r"tasks\.(sources|targets)\.\w+\.(source|target)$", name)
    ]
    assert not adapters


def test_docstrings_cite_files_that_are_here(house: House) -> None:
    """A reader who follows a name must find it: no document from outside the repository is cited."""
    for module, path in house.modules.items():
        for cited in cited_files(path.read_text("utf-8")):
            assert any(ROOT.glob(f"**/{cited}")) or (path.parent / cited).exists(), f"{module} cites {cited}"


def cited_files(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (doc := ast.get_docstring(node)):
            yield from re.findall(r"(?<!C2SP )(?<![\w/.`…*])(?:[a-z_]+/)*[a-z_]+\.(?:py|md)\b", doc)
