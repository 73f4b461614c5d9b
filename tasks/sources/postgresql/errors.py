"""What PostgreSQL's programs and its driver say when they fail, in our own words.

Their texts may quote rows and are in the server's language, so none is ever handed on: what is known is
told by a sentence of ours, all else by the program's name and status or by the SQLSTATE.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.errors import CopyError, DatasaveError, SourceError, SourceMissing
from tasks.sources.shared.odbc import sqlstate


@dataclass(frozen=True)
class Trouble:
    """A cause, what to do, whether the source is not there at all, whether waiting may help."""

    cause: str
    hint: str
    missing: bool = False
    passing: bool = False


_AWAY = "Check that PostgreSQL runs there, and `host:` and `port:` in the plan."
_KNOWN: tuple[tuple[str, Trouble], ...] = (
    (
        r"password authentication failed|no password supplied|\b28P01\b",
        Trouble("the server refused the password", "Check `user:` and the secret that `password:` names."),
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        Trouble(
            "the server's pg_hba.conf does not let this account in",
            "Add the lines that `datasave doctor --grants` shows to pg_hba.conf, then reload the server.",
        ),
    ),
    (
        r"(?:Peer|Ident|GSSAPI|LDAP|PAM|RADIUS|certificate) authentication failed",
        Trouble(
            "the server did not recognise this account",
            "For `peer`, map the system's account to the role in pg_ident.conf, or use a password.",
        ),
    ),
    (
        r"role \".*\" does not exist|not permitted to log in",
        Trouble(
            "the server has no such account",
            "Make it by what `datasave doctor --grants` shows, or correct `user:`.",
        ),
    ),
    (
        r"database \".*\" does not exist|\b3D000\b",
        Trouble("the server has no such database", "Check `database:` in the plan.", missing=True),
    ),
    (
        r"starting up|shutting down|not yet accepting connections|not accepting connections",
        Trouble("the server is starting or stopping", "Run the backup again in a few minutes.", passing=True),
    ),
    (
        r"Connection refused|Is the server running|could not translate host name|No route to host"
        r"|Network is unreachable|timeout expired|timed out|Connection reset by peer$",
        Trouble("no server answers there", _AWAY, missing=True, passing=True),
    ),
    (
        r"permission denied to start WAL sender|replication role to start walsender",
        Trouble(
            "the account may not replicate",
            "Let a superuser run: ALTER ROLE … REPLICATION; (`datasave doctor --grants`).",
        ),
    ),
    (
        r"exceeds (?:current )?max_wal_senders|max_wal_senders|all replication slots are in use",
        Trouble(
            "the server has no free place for a replication connection",
            "Raise max_wal_senders and max_replication_slots, or end what holds them.",
            passing=True,
        ),
    ),
    (
        r"too many c(?:lients|onnections)|connection slots are reserved",
        Trouble("the server takes no more connections", "Raise max_connections, or try later.", passing=True),
    ),
    (
        r"does not support SSL|certificate verify failed|root certificate file|SSL error|server certificate",
        Trouble(
            "the encrypted connection that `sslmode:` asks for cannot be had",
            "Switch SSL on at the server, and give its authority's certificate in `root_certificate:`.",
        ),
    ),
    (
        r"No space left on device|[Dd]isk quota exceeded|There is not enough space",
        Trouble("the disk is full", "Free some space there, then run the backup again."),
    ),
    (
        r"server version mismatch|incompatible server version",
        Trouble("programs and server are of different versions", "Name the matching folder in `programs:`."),
    ),
    (
        r"checksum (?:error|verification)|checksum mismatch|invalid page in block",
        Trouble(
            "pages of the running database are damaged",
            "Keep every older backup, and have disk and memory of the server looked at today.",
        ),
    ),
    (
        r"permission denied for large object",
        Trouble(
            "the account may not read large objects",
            "Let a superuser run: ALTER ROLE … SET lo_compat_privileges = on; (`datasave doctor --grants`).",
        ),
    ),
    (
        r"permission denied|must be owner|\b42501\b",
        Trouble("the account lacks a right", "Grant it what `datasave doctor --grants` shows."),
    ),
    (
        r"row-level security policy",
        Trouble(
            "a row security policy hides rows from the account",
            "Let a superuser run: ALTER ROLE … BYPASSRLS; (`datasave doctor --grants`).",
        ),
    ),
    (
        r"(?:lock|statement) timeout|could not obtain lock|\b55P03\b|\b57014\b",
        Trouble(
            "another program keeps a table locked",
            "Run the backup when no maintenance (ALTER TABLE, VACUUM FULL) is under way.",
            passing=True,
        ),
    ),
    (
        r"out of shared memory",
        Trouble("the server has too few locks for so many tables", "Raise max_locks_per_transaction."),
    ),
    (
        r"closed the connection unexpectedly|terminating connection|connection to server was lost"
        r"|could not receive data|could not send data|unexpected termination of replication|\b57P01\b",
        Trouble("the connection to the server broke", "Run the backup again.", passing=True),
    ),
    (
        r"relation .* does not exist|could not open relation|cache lookup failed|\b42P01\b",
        Trouble("a table was dropped meanwhile", "Run the backup again.", passing=True),
    ),
)


def trouble_in(text: str, otherwise: str) -> Trouble:
    """What ``text`` says, as far as we know it; else ``otherwise`` for the cause."""
    for pattern, trouble in _KNOWN:
        if re.search(pattern, text, re.MULTILINE):
            return trouble
    return Trouble(
        otherwise, "Run the backup again; if it happens twice, look into the server's log.", passing=True
    )


def driver_trouble(error: Exception) -> Trouble:
    """What an error of the driver is about. ``error.args`` are a SQLSTATE and a text, as ODBC has it."""
    state = sqlstate(error)
    return trouble_in(
        f"{state}\n{error}", f"SQLSTATE {state}" if state else f"the driver's {type(error).__name__}"
    )


def as_error(what: str, trouble: Trouble, *, copying: bool) -> DatasaveError:
    """The error that says ``what`` failed and why; a CopyError while ``copying``."""
    kind: type[SourceError] = SourceMissing if trouble.missing else CopyError if copying else SourceError
    return kind(f"{what}: {trouble.cause}", hint=trouble.hint, permanent=not trouble.passing)
