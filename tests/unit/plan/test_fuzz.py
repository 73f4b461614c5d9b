"""Whatever stands in a plan file, it loads or it is refused in words: nothing else escapes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.errors import PlanError
from tasks.plan.load import check_plan, load_plan
from tasks.plan.model import Plan
from tests.unit.plan.material import FOLDER, GOOD, KINDS, good, place
from tests.unit.plan.test_load import leaves

NAMES = st.one_of(
    st.sampled_from(
        ["name", "kind", "path", "keep", "last", "as", "<<", "=", "targets", "recipient", "identity"]
    ),
    st.text(max_size=12),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=8),
    st.text(max_size=20),
    st.sampled_from(
        ["forever", "weekday", "sqlite", "folder", "env:X", "file:~x", "age1", "~nosuchuser", "0 2 * * *"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
PLACES = st.sampled_from([path for path in leaves(GOOD) if path])
# Letters that mean something to YAML, so that the parser is led into its corners.
YAMLISH = st.text(st.sampled_from("ab01:- \n\t#'\"[]{},&*!|>%@?=<~.\\ux/\x00\x85\u2028\ufeffé"), max_size=60)


def outcome(text: str) -> Plan | None:
    """The plan, or None where it was refused in lines that all name the file."""
    try:
        return check_plan(text, "office.yaml", FOLDER, KINDS)
    except PlanError as error:
        assert error.message
        for line in error.message.split("\n"):
            assert line.startswith("office.yaml: ")
            assert line.isprintable()
            assert len(line) < 500
        assert error.__context__ is None
        return None


def dumped(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


@settings(max_examples=150)
@given(VALUES)
def test_any_value_for_a_plan(value: Any) -> None:
    outcome(dumped(value))


@settings(max_examples=200)
@given(PLACES, VALUES)
def test_any_value_at_any_place(path: tuple[str | int, ...], value: Any) -> None:
    data = good()
    place(data, *path[:-1])[path[-1]] = value
    outcome(dumped(data))


@settings(max_examples=150)
@given(PLACES, st.text(max_size=80).filter(lambda name: name not in str(GOOD)))
def test_any_unknown_name_is_refused_at_any_place(path: tuple[str | int, ...], name: str) -> None:
    data = good()
    group = place(data, *path[:-1])
    if isinstance(group, dict) and "min_value" not in group:
        group[name] = 1
        assert outcome(dumped(data)) is None


@settings(max_examples=200)
@given(YAMLISH)
@example("a: !!timestamp x")
@example("a: !!int ''")
@example("? &a [*a]\n: b")
def test_any_text(text: str) -> None:
    outcome(text)


@settings(max_examples=100)
@given(st.integers(0, len(dumped(GOOD))), YAMLISH)
def test_any_text_typed_into_a_good_plan(position: int, text: str) -> None:
    whole = dumped(GOOD)
    outcome(whole[:position] + text + whole[position:])


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_in_a_file(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "office.yaml"
        path.write_bytes(data)
        try:
            load_plan(path, KINDS)
        except PlanError as error:
            assert str(path) in error.message
