"""The privileges a backup needs: the statements that give them, and which of them an account lacks.

A dump leaves out silently, with exit status 0, the triggers and procedures that its account may not see.
So a missing privilege is looked for before, in what SHOW GRANTS says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

# BACKUP STAGE, FLUSH; INNODB_SYS_TABLES; the position in the binary log.
PHYSICAL = ("RELOAD", "PROCESS", "BINLOG MONITOR")
DUMP = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
# Blocks commits for the moment in which the dump's snapshot and that of its counts are opened.
DUMP_SERVER = ("RELOAD",)

_OTHER_NAMES = {"BINLOG MONITOR": ("REPLICATION CLIENT",)}
_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?P<on>.+?) TO ", re.DOTALL)


def statements(method: str, database: str, account: str, host: str, *, password: bool) -> str:
    """SQL that makes the account with just these rights. The password is left for the reader to put in."""
    who = f"{_text(account)}@{_text(host)}"
    if password:
        lines = [
            "-- Put a password of your own into the first statement, if the account is new.",
            f"CREATE USER IF NOT EXISTS {who} IDENTIFIED BY 'put-a-long-password-here';",
        ]
    else:
        lines = [f"CREATE USER IF NOT EXISTS {who} IDENTIFIED VIA unix_socket;"]
    if method == "physical":
        lines.append(f"GRANT {', '.join(PHYSICAL)} ON *.* TO {who};")
    else:
        lines += [
            f"GRANT {', '.join(DUMP_SERVER)} ON *.* TO {who};",
            f"GRANT {', '.join(DUMP)} ON {pattern_of(database)}.* TO {who};",
            "-- On MySQL put SHOW_ROUTINE ON *.* in the place of SELECT ON mysql.proc.",
            f"GRANT SELECT ON mysql.proc TO {who};",
        ]
    return "\n".join([*lines, ""])


def pattern_of(database: str) -> str:
    """A database's name as GRANT takes it: there _ and % stand for other letters unless escaped."""
    escaped = re.sub(r"([_%\\])", r"\\\1", database)
    return f"`{escaped.replace('`', '``')}`"


def missing(method: str, database: str, grants: Iterable[str], *, mariadb: bool = True) -> list[str]:
    """Privileges that the account lacks, given the lines of its SHOW GRANTS."""
    held = [_parsed(line) for line in grants]
    server = _on(held, lambda on: on == "*.*")
    if method == "physical":
        return [f"{name} ON *.*" for name in _lacking(PHYSICAL, server)]
    own = server | _on(held, lambda on: _covers(on, database))
    lacking = [f"{name} ON *.*" for name in _lacking(DUMP_SERVER, server)]
    lacking += [f"{name} ON {database}.*" for name in _lacking(DUMP, own)]
    # Whose code a procedure is, and what it says, is shown to nobody else.
    proc = server | _on(held, lambda on: on.replace("`", "") in ("mysql.proc", "mysql.*"))
    reads_code = "SHOW CREATE ROUTINE" in own or {"SELECT", "SHOW_ROUTINE", "ALL PRIVILEGES"} & proc
    if not reads_code:
        lacking.append("SELECT ON mysql.proc" if mariadb else "SHOW_ROUTINE ON *.*")
    return lacking


def _parsed(line: str) -> tuple[set[str], str]:
    """Privileges and what they are on; nothing for a line that grants a role."""
    found = _GRANT.match(line)
    if found is None:
        return set(), ""
    # Rights on single columns stand in brackets: such a right is not one on the whole.
    names = re.sub(r"\w[\w ]* \([^)]*\)", "", found["what"]).split(",")
    return {name.strip().upper() for name in names if name.strip()}, found["on"]


def _on(held: Sequence[tuple[set[str], str]], fits: Callable[[str], bool]) -> set[str]:
    return set().union(*(names for names, on in held if on and fits(on)))


def _lacking(wanted: Iterable[str], held: set[str]) -> list[str]:
    if "ALL PRIVILEGES" in held:
        return []
    return [name for name in wanted if not held & {name, *_OTHER_NAMES.get(name, ())}]


def _covers(on: str, database: str) -> bool:
    """Whether a GRANT's target, as SHOW GRANTS writes it, covers every table of the database."""
    if not on.startswith("`") or not on.endswith("`.*"):
        return False
    pattern, letters = on[1:-3].replace("``", "`"), ""
    for part in re.findall(r"\\.|.", pattern, re.DOTALL):
        letters += {"_": ".", "%": ".*"}.get(part, re.escape(part[-1]))
    return re.fullmatch(letters, database, re.DOTALL) is not None


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
