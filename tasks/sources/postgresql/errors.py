"""What PostgreSQL's programs and its driver say when they fail, in our own words.

Their texts may quote rows and are in the server's language, so none is ever handed on: what is known has
a sentence of ours, all else the program's name and status, or the SQLSTATE.
"""

from __future__ import annotations

import re
from dataclasses import replace

from tasks.errors import CopyError, Fault, SourceError, SourceMissing
from tasks.sources.shared.odbc import sqlstate

_AWAY = "Check that PostgreSQL runs there, and `host:` and `port:` in the plan."
_FAULTS: tuple[tuple[str, Fault[SourceError]], ...] = (
    (
        r"password authentication failed|no password supplied|\b28P01\b",
        Fault(
            SourceError,
            "the server refused the password",
            "Check `user:` and the secret that `password:` names.",
        ),
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        Fault(
            SourceError,
            "the server's pg_hba.conf does not let this account in",
            "Add the lines that `datasave doctor --grants` shows to pg_hba.conf, then reload the server.",
        ),
    ),
    (
        r"(?:Peer|Ident|GSSAPI|LDAP|PAM|RADIUS|certificate) authentication failed",
        Fault(
            SourceError,
            "the server did not recognise this account",
            "For `peer`, map the system's account to the role in pg_ident.conf, or use a password.",
        ),
    ),
    (
        r"role \".*\" does not exist|not permitted to log in",
        Fault(
            SourceError,
            "the server has no such account",
            "Make it by what `datasave doctor --grants` shows, or correct `user:`.",
        ),
    ),
    (
        r"database \".*\" does not exist|\b3D000\b",
        Fault(SourceMissing, "the server has no such database", "Check `database:` in the plan."),
    ),
    (
        r"starting up|shutting down|not yet accepting connections|not accepting connections",
        Fault(
            SourceError,
            "the server is starting or stopping",
            "Run the backup again in a few minutes.",
            permanent=False,
        ),
    ),
    (
        r"Connection refused|Is the server running|could not translate host name|No route to host"
        r"|Network is unreachable|timeout expired|timed out|Connection reset by peer$",
        Fault(SourceMissing, "no server answers there", _AWAY, permanent=False),
    ),
    (
        r"permission denied to start WAL sender|replication role to start walsender",
        Fault(
            SourceError,
            "the account may not replicate",
            "Let a superuser run: ALTER ROLE … REPLICATION; (`datasave doctor --grants`).",
        ),
    ),
    (
        r"exceeds (?:current )?max_wal_senders|max_wal_senders|all replication slots are in use",
        Fault(
            SourceError,
            "the server has no free place for a replication connection",
            "Raise max_wal_senders and max_replication_slots, or end what holds them.",
            permanent=False,
        ),
    ),
    (
        r"too many c(?:lients|onnections)|connection slots are reserved",
        Fault(
            SourceError,
            "the server takes no more connections",
            "Raise max_connections, or try later.",
            permanent=False,
        ),
    ),
    (
        r"does not support SSL|certificate verify failed|root certificate file|SSL error|server certificate",
        Fault(
            SourceError,
            "the encrypted connection that `sslmode:` asks for cannot be had",
            "Switch SSL on at the server, and give its authority's certificate in `root_certificate:`.",
        ),
    ),
    (
        r"No space left on device|[Dd]isk quota exceeded|There is not enough space",
        Fault(SourceError, "the disk is full", "Free some space there, then run the backup again."),
    ),
    (
        r"server version mismatch|incompatible server version",
        Fault(
            SourceError,
            "programs and server are of different versions",
            "Name the matching folder in `programs:`.",
        ),
    ),
    (
        r"checksum (?:error|verification)|checksum mismatch|invalid page in block",
        Fault(
            SourceError,
            "pages of the running database are damaged",
            "Keep every older backup, and have disk and memory of the server looked at today.",
        ),
    ),
    (
        r"permission denied for large object",
        Fault(
            SourceError,
            "the account may not read large objects",
            "Let a superuser run: ALTER ROLE … SET lo_compat_privileges = on; (`datasave doctor --grants`).",
        ),
    ),
    (
        r"permission denied|must be owner|\b42501\b",
        Fault(SourceError, "the account lacks a right", "Grant it what `datasave doctor --grants` shows."),
    ),
    (
        r"row-level security policy",
        Fault(
            SourceError,
            "a row security policy hides rows from the account",
            "Let a superuser run: ALTER ROLE … BYPASSRLS; (`datasave doctor --grants`).",
        ),
    ),
    (
        r"(?:lock|statement) timeout|could not obtain lock|\b55P03\b|\b57014\b",
        Fault(
            SourceError,
            "another program keeps a table locked",
            "Run the backup when no maintenance (ALTER TABLE, VACUUM FULL) is under way.",
            permanent=False,
        ),
    ),
    (
        r"out of shared memory",
        Fault(
            SourceError, "the server has too few locks for so many tables", "Raise max_locks_per_transaction."
        ),
    ),
    (
        r"closed the connection unexpectedly|terminating connection|connection to server was lost"
        r"|could not receive data|could not send data|unexpected termination of replication|\b57P01\b",
        Fault(SourceError, "the connection to the server broke", "Run the backup again.", permanent=False),
    ),
    (
        r"relation .* does not exist|could not open relation|cache lookup failed|\b42P01\b",
        Fault(SourceError, "a table was dropped meanwhile", "Run the backup again.", permanent=False),
    ),
)


# What the server says first of an error, as far as it names objects only; a comma or colon may begin a value.
_QUOTED = r'"[^"\n]{1,63}"'
_CALLED = r"[\w.\" ]{1,130}\([^)\n]{0,200}\)"
_NOUNS = (
    "relation|table|column|index|sequence|view|materialized view|type|schema|role|database|language|collation"
    "|extension|tablespace|server|foreign-data wrapper|text search (?:configuration|dictionary)|access method"
)
_REASONS = tuple(
    re.compile(rf"(?:ERROR|FATAL): +({pattern})")
    for pattern in (
        rf"(?:function|procedure|aggregate) {_CALLED} (?:does not exist|is not unique)",
        rf"(?:{_NOUNS}) {_QUOTED}(?: of (?:relation|table) {_QUOTED})? (?:does not exist|already exists"
        r"|is not available|has not been populated)",
        r"operator does not exist",
        rf"permission denied(?: for \w+(?: {_QUOTED}| [\w.]+)?)?",
        rf"must be (?:owner of|superuser|able to SET ROLE)[\w ]*(?:{_QUOTED})?",
        rf"new row for relation {_QUOTED} violates (?:check constraint {_QUOTED}|partition constraint)",
        rf"check constraint {_QUOTED} of relation {_QUOTED} is violated by some row",
        rf"no partition of relation {_QUOTED} found for row",
        rf"null value in column {_QUOTED} of relation {_QUOTED} violates not-null constraint",
        rf"column {_QUOTED} of relation {_QUOTED} contains null values",
        rf"duplicate key value violates unique constraint {_QUOTED}",
        rf"could not create (?:unique index|exclusion constraint) {_QUOTED}",
        rf"insert or update on table {_QUOTED} violates foreign key constraint {_QUOTED}",
        rf"value for domain [\w.\"]+ violates check constraint {_QUOTED}",
        r"domain [\w.\"]+ does not allow null values",
        r"invalid input (?:syntax for type [\w ]+|value for enum [\w.\"]+)",
        rf"missing data for column {_QUOTED}",
        r"extra data after last expected column",
        r"invalid byte sequence for encoding \"\w+\"",
        r"value too long for type [\w ]+\(\d+\)",
        r"(?:date/time field value|timestamp|date|\w+|value) out of range",
        r"division by zero",
        r"could not connect to server \"[^\"\n]{1,63}\"",
        r"unrecognized configuration parameter \"[^\"\n]{1,63}\"",
        rf"security label provider {_QUOTED} is not loaded",
        r"invalid (?:locale name|LC_\w+ locale name)",
        r"syntax error",
        r"encoding \"\w+\" does not match locale",
    )
)


_CALLER = re.compile(r'^ *(?:CONTEXT:  )?(?:SQL|PL/\w+) function "?([\w.]+)', re.MULTILINE)


def code_fault(text: str) -> str:
    """Why the database's own code failed, in a message of the server; "" where it is about something else.

    Code fails for reasons that say nothing of the data: it names a function without its schema, which a check
    or a restore does not find, or reaches for another server.
    """
    reason, caller = reason_in(text), _CALLER.search(text.partition("Command was: ")[0])
    if not caller and not reason.endswith("does not exist"):
        return ""
    told = reason or "it raised an error, whose text may quote a row"
    return f"{told}, in the function {caller[1]}" if caller else told


def reason_in(text: str) -> str:
    """The server's own reason in a message of it, as far as it names objects and no row's value; else ""."""
    if " at RAISE" in text:
        return ""  # the user's own words
    found = (pattern.search(text) for pattern in _REASONS)
    return next((match[1] for match in found if match), "")


def fault_in(text: str, otherwise: str) -> Fault[SourceError]:
    """What ``text`` says, as far as we know it; else ``otherwise`` for the cause."""
    for pattern, fault in _FAULTS:
        if re.search(pattern, text, re.MULTILINE):
            return fault
    hint = "Run the backup again; if it happens twice, look into the server's log."
    return Fault(SourceError, otherwise, hint, permanent=False)


def driver_fault(error: Exception) -> Fault[SourceError]:
    """What an error of the driver is about. ``error.args`` are a SQLSTATE and a text, as ODBC has it."""
    state = sqlstate(error)
    return fault_in(
        f"{state}\n{error}", f"SQLSTATE {state}" if state else f"the driver's {type(error).__name__}"
    )


def failure(operation: str, fault: Fault[SourceError], *, copying: bool) -> SourceError:
    """The error for a failed ``operation``; while ``copying``, a CopyError unless nothing is there."""
    if copying and fault.kind is SourceError:
        fault = replace(fault, kind=CopyError)
    return fault.error(operation)
