"""Making a database: its file, its dbspaces, its log."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path
from typing import Any

from tests.standins.sqlanywhere import container, redo
from tests.standins.sqlanywhere.codes import FILE, Failure
from tests.standins.sqlanywhere.container import Image
from tests.standins.sqlanywhere.redo import RedoLog


def create(
    path: Path,
    *,
    script: str,
    users: list[dict[str, Any]],
    spaces: dict[str, tuple[Path, str]] | None = None,
    checksums: bool = True,
    version: int = 17,
) -> None:
    """Make a database file, its dbspaces {owner: (file, script)} and its log; scripts are SQLite's SQL."""
    identity, spaces = uuid.uuid4().hex, spaces or {}
    log = path.with_suffix(".log")
    if path.exists() or log.exists():
        raise Failure(FILE, f"{path} exists")
    RedoLog.create(log, identity, redo.FIRST_OFFSET, 0)
    common = {"id": identity, "checkpoint": redo.FIRST_OFFSET}
    for owner, (file, space_script) in spaces.items():
        pages = _pages(space_script)
        sums = container.checksums(pages) if checksums else None
        container.write(file, Image({**common, "kind": "dbspace", "owner": owner, "checksums": sums}, pages))
    pages = _pages(script)
    facts = {
        **common,
        "kind": "database",
        "version": version,
        "chain": 0,
        "log": str(log.absolute()),
        "active": False,
        "open": {},
        "spaces": {owner: str(file.absolute()) for owner, (file, _) in spaces.items()},
        "users": users,
        "procedures": [],
        "checksums": container.checksums(pages) if checksums else None,
        "next": 1,
    }
    container.write(path, Image(facts, pages))


def _pages(script: str) -> bytes:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {container.PAGE}")
        connection.executescript(script or "VACUUM")
        return connection.serialize()
    finally:
        connection.close()
