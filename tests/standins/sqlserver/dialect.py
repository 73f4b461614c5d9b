"""T-SQL as words: a batch split into statements, and the everyday ones made into what SQLite reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<text>N?'(?:[^']|'')*')
      | (?P<quoted>\[(?:[^\]]|\]\])*\]|"(?:[^"]|"")*")
      | (?P<binary>0x[0-9A-Fa-f]*)
      | (?P<number>\d+(?:\.\d+)?)
      | (?P<name>@{0,2}[A-Za-z_\#][A-Za-z0-9_@$\#]*)
      | (?P<sign><>|<=|>=|!=|.)""",
    re.VERBOSE | re.DOTALL,
)
_BEFORE_A_TABLE = {"FROM", "JOIN", "INTO", "UPDATE", "TABLE"}
_TYPES = {"varbinary": "BLOB", "binary": "BLOB", "nvarchar": "TEXT", "varchar": "TEXT", "sysname": "TEXT"}
_UNITS = {"hour", "minute", "second", "day"}
_MODULES = {"PROCEDURE", "PROC", "TRIGGER", "VIEW", "FUNCTION"}


class Refused(Exception):
    """A statement that ends in an error: its number, severity and text."""

    def __init__(self, number: int, text: str, severity: int = 16) -> None:
        super().__init__(f"{number}: {text}")
        self.number, self.text, self.severity = number, text, severity


class Words(list[tuple[str, str]]):
    """The words of one statement as (kind, text), with a place to read on from."""

    at = 0

    def upper(self, offset: int = 0) -> str:
        place = self.at + offset
        return self[place][1].upper() if place < len(self) else ""

    def take(self, *expected: str) -> bool:
        """Step over these words if they come next."""
        if all(self.upper(offset) == word for offset, word in enumerate(expected)):
            self.at += len(expected)
            return True
        return False

    def need(self, *expected: str) -> None:
        if not self.take(*expected):
            raise self.wrong()

    def name(self) -> str:
        """The next word, which must be an identifier, without its brackets."""
        kind, text = self._next()
        if kind not in ("name", "quoted"):
            raise self.wrong()
        return bare(text)

    def text(self) -> str:
        """The next word, which must be a text literal, without its quotes."""
        kind, text = self._next()
        if kind != "text":
            raise self.wrong()
        return literal(text)

    def number(self) -> int:
        kind, text = self._next()
        if kind != "number":
            raise self.wrong()
        return int(text)

    def end(self) -> None:
        if self.at < len(self):
            raise self.wrong()

    def _next(self) -> tuple[str, str]:
        if self.at >= len(self):
            raise self.wrong()
        self.at += 1
        return self[self.at - 1]

    def wrong(self) -> Refused:
        near = self[min(self.at, len(self) - 1)][1]
        return Refused(102, f"Incorrect syntax near '{near}'.", 15)


def words(sql: str) -> Words:
    return Words(
        (found.lastgroup or "", found.group()) for found in _WORD.finditer(sql) if found.lastgroup != "space"
    )


def bare(name: str) -> str:
    if name.startswith("["):
        return name[1:-1].replace("]]", "]")
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def literal(text: str) -> str:
    return text.removeprefix("N")[1:-1].replace("''", "'")


def statements(sql: str) -> list[tuple[Words, str]]:
    """Each statement's words and its own text. A module's definition is a batch of its own, as it must be."""
    everything = words(sql)
    if everything.upper() in ("CREATE", "ALTER") and everything.upper(1) in _MODULES:
        return [(everything, sql)]
    found: list[Words] = [Words()]
    for word in everything:
        if word[1] == ";":
            found.append(Words())
        else:
            found[-1].append(word)
    return [(statement, sql) for statement in found if statement]


def quoted(name: str) -> str:
    # Not in double quotes: SQLite takes a column of that kind that it does not know for a text.
    return "`" + name.replace("`", "``") + "`"


def stored(schema: str, name: str) -> str:
    """A table's name in the SQLite file."""
    return f"{schema}.{name}"


def to_sqlite(statement: Words) -> str:
    """SELECT, INSERT, UPDATE, DELETE, CREATE TABLE and INDEX in SQLite's words."""
    out: list[str] = []
    place = 0
    limit = ""
    if [word[1].upper() for word in statement[:3]] == ["SELECT", "TOP", "("]:
        limit = f" LIMIT {statement[3][1]}"
        statement = Words([statement[0], *statement[5:]])
    while place < len(statement):
        taken, text = _table(statement, place, out) or _word(statement, place, out)
        out.append(text)
        place += taken
    return " ".join(out) + limit


def _table(statement: Words, place: int, out: Sequence[str]) -> tuple[int, str] | None:
    """A table's name, of one or two parts, where one is expected."""
    before = out[-1].upper() if out else ""
    index = before == "ON" and statement.upper() == "CREATE" and "INDEX" in (s.upper() for s in out)
    if before not in _BEFORE_A_TABLE and not index:
        return None
    parts = []
    while True:
        kind, text = statement[place + 2 * len(parts)]
        if kind not in ("name", "quoted"):
            return None
        parts.append(bare(text))
        following = place + 2 * len(parts) - 1
        if following >= len(statement) or statement[following][1] != ".":
            break
    if len(parts) > 2:
        raise Refused(40515, "Names of three parts are not modelled.")
    schema, name = parts if len(parts) == 2 else ("dbo", parts[0])
    whole = f"sys.{quoted(name.lower())}" if schema.lower() == "sys" else quoted(stored(schema, name))
    return 2 * len(parts) - 1, whole


def _word(statement: Words, place: int, out: Sequence[str]) -> tuple[int, str]:
    kind, text = statement[place]
    following = [word[1].lower() for word in statement[place + 1 : place + 4]]
    if kind == "text":
        return 1, text.removeprefix("N")
    if kind == "quoted":
        return 1, quoted(bare(text))
    if kind == "binary":
        return 1, f"X'{text[2:]}'"
    if text.upper() == "@@SPID":
        return 1, "spid()"
    if text == "(" and following[:2] == ["max", ")"]:
        return 3, ""
    if out and out[-1].upper() == "AS" and text.lower() in _TYPES:
        return 1, _TYPES[text.lower()]
    if text.lower() in _UNITS and out and out[-1] == "(":
        return 1, f"'{text.lower()}'"
    if text.lower() == "int" and following[:1] == ["identity"]:
        return (7 if following[1:2] == ["("] else 2), "INTEGER"
    return 1, text
