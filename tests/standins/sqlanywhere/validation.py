"""What dbvalid has the engine look for."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from tests.standins.sqlanywhere import container
from tests.standins.sqlanywhere.container import Image
from tests.standins.sqlanywhere.database import MAIN, Database


def validate(database: Database, tables: Sequence[str], *, structure: bool, checksums: bool) -> list[str]:
    """What is wrong, a sentence each. ``tables`` empty: all of them."""
    wrong = []
    if checksums:
        for owner, image in _on_disk(database).items():
            name = database.files[owner].name
            wrong += [f"Page {page} of {name} failed checksum" for page in image.bad_pages()]
    if structure:
        connection = database.connect()
        try:
            for owner in database.images:
                wrong += _structure(connection, owner, tables)
        finally:
            connection.close()
    return wrong


def _on_disk(database: Database) -> dict[str, Image]:
    kinds = {owner: "database" if owner == MAIN else "dbspace" for owner in database.images}
    return {owner: container.read(database.files[owner], kind) for owner, kind in kinds.items()}


def _structure(connection: sqlite3.Connection, owner: str, tables: Sequence[str]) -> list[str]:
    try:
        found = Database.tables(connection, owner)
        wanted = [table for table in found if not tables or table in tables]
        return [
            f"Table {owner}.{table}: {line[0]}"
            for table in wanted
            for line in connection.execute(f'PRAGMA "{owner}".integrity_check("{table}")')
            if line[0] != "ok"
        ]
    except sqlite3.DatabaseError as error:
        return [f"Owner {owner}: {error}"]
