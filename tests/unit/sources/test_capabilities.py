"""Which engine can do what, and what is said where one cannot."""

from __future__ import annotations

from typing import cast

import pytest

from tasks.errors import SourceError
from tasks.records import Profile, Table, TableProfile
from tasks.sources.base import Connection, Source
from tasks.sources.capabilities import (
    SupportsConformance,
    SupportsDumps,
    SupportsEarlierProfiles,
    SupportsFiles,
    SupportsGrants,
    SupportsInPlace,
    SupportsLogBackups,
    SupportsRestart,
    grants_of,
    in_place,
    required,
    tables_for,
)
from tasks.sources.registry import option_models, source_for_copies

KNOWN = {"files", "mariadb", "postgresql", "sqlanywhere", "sqlite", "sqlserver"}
ABILITIES = {
    SupportsConformance: {"sqlanywhere", "sqlserver"},
    SupportsDumps: {"mariadb", "postgresql"},
    SupportsEarlierProfiles: {"mariadb", "postgresql"},
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


def test_an_earlier_profile_is_compared_with_what_it_listed() -> None:
    now = [
        Table(name="t", reference="t", columns=("a",), digest="sum(a)"),
        Table(name="u", reference="u", columns=("b",)),
    ]

    class Listing:
        def tables(self, _connection: object) -> list[Table]:
            return now

    class Earlier(Listing):
        def earlier_tables(self, _connection: object) -> list[Table]:
            return now[1:]

    version_1 = Profile(tables=(TableProfile(name="t", rows=2, fingerprint="2:ab"),))
    version_2 = Profile(tables=(TableProfile(name="t", rows=2, fingerprint="2:2:ab"),))
    listed = [
        tables_for(cast(Source, source), cast(Connection, None), recorded)
        for source in (Listing(), Earlier())
        for recorded in (version_1, version_2)
    ]
    read = now[0].model_copy(update={"digest": ""})
    assert listed == [[read, now[1]], now, now[1:], now]
