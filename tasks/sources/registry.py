"""Which ``kind:`` of the plan's source is which engine. A new engine is one line here.

An engine is imported when a plan or a backup names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from tasks.errors import SourceError
from tasks.options import OptionModels, Options
from tasks.sources.base import Source

# kind -> how the names of its classes begin: <name>Options and <name>Source, in <kind>/source.py.
_ENGINES = {
    "files": "Files",
    "mariadb": "Mariadb",
    "postgresql": "Postgresql",
    "sqlanywhere": "Sqlanywhere",
    "sqlite": "Sqlite",
    "sqlserver": "Sqlserver",
}


def _engine(kind: str) -> tuple[type[Options], Callable[[Any], Source]]:
    module, name = import_module(f"{__package__}.{kind}.source"), _ENGINES[kind]
    return getattr(module, f"{name}Options"), getattr(module, f"{name}Source")


def option_models() -> Mapping[str, type[Options]]:
    """The options model of each kind, for the plan loader, the sample plan and the reference."""
    return OptionModels(_ENGINES, lambda kind: _engine(kind)[0])


def make_source(options: Options) -> Source:
    """The source that options from one of the ``option_models`` describe."""
    _, make = _engine(options.kind)
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
    model, make = _engine(kind)
    # No option is set: the methods that work on a copy never ask where the running source is.
    return make(model.model_construct(kind=kind))
