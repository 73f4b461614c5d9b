"""A program of the practice: reads and writes production through the engine. ODBC only reads, as with SOS."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.standins.sqlanywhere.site import Site
from tests.standins.sqlanywhere.wire import connect, parse


class Client:
    """A connection by connection string; statements commit by themselves outside BEGIN … COMMIT."""

    def __init__(self, home: Path, connection: str) -> None:
        site = Site.of(home)
        self._link = connect(site, parse(connection, site), app="client")

    def execute(self, sql: str, *values: Any) -> list[list[Any]]:
        """Run one statement; its rows. Raises codes.Failure."""
        answer = self._link.ask({"command": "execute", "sql": sql, "values": [_packed(v) for v in values]})
        return [[_unpacked(value) for value in row] for row in answer.get("rows", [])]

    def transaction(self, statements: Sequence[tuple[Any, ...]]) -> None:
        self.execute("BEGIN")
        for sql, *values in statements:
            self.execute(sql, *values)
        self.execute("COMMIT")

    def close(self) -> None:
        self._link.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _packed(value: Any) -> Any:
    return {"b": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _unpacked(value: Any) -> Any:
    return base64.b64decode(value["b"]) if isinstance(value, dict) else value
