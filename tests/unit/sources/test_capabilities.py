"""Which engine can do what, and what is said where one cannot."""

from __future__ import annotations

import pytest

from tasks.errors import SourceError
from tasks.sources.capabilities import (
    SupportsConformance,
    SupportsFiles,
    SupportsGrants,
    SupportsInPlace,
    SupportsLogBackups,
    SupportsRestart,
    grants_of,
    in_place,
    required,
)
from tasks.sources.registry import option_models, source_for_copies

KNOWN = {"files", "mariadb", "postgresql", "sqlanywhere", "sqlite", "sqlserver"}
ABILITIES = {
    SupportsConformance: {"sqlanywhere", "sqlserver"},
    SupportsFiles: {"files"},
    SupportsGrants: {"mariadb", "postgresql", "sqlanywhere", "sqlserver"},
    SupportsInPlace: {"files", "mariadb", "postgresql", "sqlanywhere", "sqlite"},
    SupportsLogBackups: {"postgresql", "sqlanywhere"},
    SupportsRestart: {"sqlanywhere"},
}


@pytest.mark.parametrize("ability", ABILITIES, ids=lambda ability: ability.__name__)
def test_who_can_do_what(ability: type) -> None:
    able = {kind for kind in option_models() if isinstance(source_for_copies(kind), ability)}
    assert able & KNOWN == ABILITIES[ability]


def test_an_ability_that_is_there_is_handed_out() -> None:
    source = source_for_copies("sqlite")
    assert in_place(source) is source


def test_an_ability_that_is_not_there_is_told() -> None:
    source = source_for_copies("sqlserver")
    with pytest.raises(SourceError, match="kind sqlserver cannot be restored in place") as caught:
        in_place(source)
    assert "--to FOLDER" in caught.value.hint
    with pytest.raises(SourceError, match="no restart") as caught:
        required(source, SupportsRestart, "no restart", "Remove it.")
    assert caught.value.hint == "Remove it."


def test_an_engine_without_accounts_needs_no_grants() -> None:
    assert grants_of(source_for_copies("sqlite")).startswith("-- No account is needed")


def test_an_ability_may_be_had_without_naming_it() -> None:
    class Restarting:
        def restart(self) -> None: ...

    assert isinstance(Restarting(), SupportsRestart)
    assert not isinstance(Restarting(), SupportsInPlace)
