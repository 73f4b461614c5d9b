"""Which ``kind:`` of the plan's source is which engine. A new engine is one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.errors import SourceError
from tasks.options import Options
from tasks.sources.base import Source
from tasks.sources.files.source import FilesOptions, FilesSource
from tasks.sources.mariadb.source import MariadbOptions, MariadbSource
from tasks.sources.postgresql.source import PostgresqlOptions, PostgresqlSource
from tasks.sources.sqlanywhere.source import SqlanywhereOptions, SqlanywhereSource
from tasks.sources.sqlite.source import SqliteOptions, SqliteSource
from tasks.sources.sqlserver.source import SqlserverOptions, SqlserverSource

_ENGINES: dict[str, tuple[type[Options], Callable[[Any], Source]]] = {
    "files": (FilesOptions, FilesSource),
    "mariadb": (MariadbOptions, MariadbSource),
    "postgresql": (PostgresqlOptions, PostgresqlSource),
    "sqlanywhere": (SqlanywhereOptions, SqlanywhereSource),
    "sqlite": (SqliteOptions, SqliteSource),
    "sqlserver": (SqlserverOptions, SqlserverSource),
}


def option_models() -> dict[str, type[Options]]:
    """The options model of each kind, for the plan loader, the sample plan and the reference."""
    return {kind: model for kind, (model, _) in _ENGINES.items()}


def make_source(options: Options) -> Source:
    """The source that options from one of the ``option_models`` describe."""
    _, make = _ENGINES[options.kind]
    return make(options)


def source_for_copies(kind: str) -> Source:
    """An adapter for work on copies alone, where there is no plan: restoring on a bare machine.

    Raises SourceError where this version does not know the kind.
    """
    if kind not in _ENGINES:
        raise SourceError(
            f"this version cannot open a backup of kind {kind!r}",
            hint="Use the version of Datasave that made it, or the steps in RECOVER.md.",
        )
    model, make = _ENGINES[kind]
    # No option is set: the methods that work on a copy never ask where the running source is.
    return make(model.model_construct(kind=kind))
