"""The preflight: could a copy be made now, by this account, with these programs? How to grant the rights."""

# ruff: noqa: S608 - only queries of our own are put together here
from __future__ import annotations

import os
from typing import Any

from tasks.errors import SourceError
from tasks.records import Engine
from tasks.sources.base import quoted
from tasks.sources.postgresql.catalog import table_query
from tasks.sources.postgresql.connection import PostgresqlLogin, reported_as, run_program
from tasks.sources.postgresql.programs import OLDEST, Programs
from tasks.sources.postgresql.record import Method
from tasks.sources.shared.odbc import fetch

ANSWER_SECONDS = 60
_GRANTS = "`datasave doctor --grants` shows what the account needs."


def look(login: PostgresqlLogin, method: Method) -> tuple[Engine, int]:
    """What answers at ``server``, and its major version, if a copy could be made. Raises SourceError."""
    with reported_as(f"cannot read {login.database} of the server {login}"), login.connected() as connection:
        connection.cursor().execute(f"SET statement_timeout = '{ANSWER_SECONDS}s'")
        version, number = fetch(
            connection, "SELECT current_setting('server_version'), current_setting('server_version_num')::int"
        )[0]
        major = int(number) // 10_000
        if major < OLDEST:
            raise SourceError(
                f"cannot back up the server {login}: it is PostgreSQL {version}, too old",
                hint=f"Upgrade it to PostgreSQL {OLDEST} or later: no older one gets corrections any more.",
            )
        size = (_look_physical if method == "physical" else _look_logical)(connection, login)
        data = _data_folder(connection) if login.is_here else ""
    return Engine(kind="postgresql", version=version.split()[0], bytes=size, data=data), major


def _data_folder(connection: Any) -> str:
    """Where the server's data lies; "" for an account that may not know it."""
    found = fetch(connection, "SELECT setting FROM pg_settings WHERE name = 'data_directory'")
    return str(found[0][0]) if found else ""


def try_replication(login: PostgresqlLogin, programs: Programs) -> None:
    """Open a replication connection, which pg_hba.conf rules by lines of its own. Raises SourceError."""
    run_program(
        login,
        f"cannot copy the server {login}",
        programs.path("psql"),
        *("-X", "-w", "-A", "-t", "-c", "IDENTIFY_SYSTEM", "replication=true"),
        copying=False,
        seconds=60,
    )


def _look_physical(connection: Any, login: PostgresqlLogin) -> int:
    may, wal_level, senders, tablespaces = fetch(
        connection,
        """SELECT (SELECT (rolreplication OR rolsuper)::int FROM pg_roles WHERE rolname = current_user),
            current_setting('wal_level'), current_setting('max_wal_senders')::int,
            (SELECT count(*) FROM pg_tablespace WHERE pg_tablespace_location(oid) <> '')""",
    )[0]
    operation = f"cannot copy the server {login}"
    if not int(may or 0):
        raise SourceError(f"{operation}: the account {login.user} may not replicate", hint=_GRANTS)
    if wal_level == "minimal" or int(senders) < 2:
        raise SourceError(
            f"{operation}: its wal_level is {wal_level} and its max_wal_senders {senders}",
            hint="Set wal_level = replica and max_wal_senders = 10 in postgresql.conf and restart the "
            "server, or use `method: logical`.",
        )
    if os.name == "nt" and int(tablespaces):
        raise SourceError(
            f"{operation}: it has {tablespaces} tablespaces outside its data folder",
            hint="On Windows such a copy cannot be archived: use `method: logical`.",
        )
    # The size of a database is shown only to accounts that may connect to it.
    sql = """SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database
        WHERE has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')"""
    segments = "SELECT 2 * pg_size_bytes(current_setting('wal_segment_size'))"
    return int(fetch(connection, sql)[0][0]) + int(fetch(connection, segments)[0][0])


def _look_logical(connection: Any, login: PostgresqlLogin) -> int:
    operation = f"cannot dump the database {login.database} of {login}"
    _refuse(
        operation,
        "the account may not read",
        fetch(
            connection,
            f"""SELECT t.name FROM ({table_query("r,p,S")}) AS t JOIN pg_class c ON c.oid = t.oid
            WHERE NOT has_schema_privilege(c.relnamespace, 'USAGE') OR NOT CASE WHEN c.relkind = 'S'
                THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END""",
        ),
        _GRANTS,
    )
    _refuse(
        operation,
        "row security hides rows from the account in",
        fetch(connection, f"SELECT name FROM ({table_query('r,p')}) AS t WHERE row_security_active(oid)"),
        f"Let a superuser run: ALTER ROLE … BYPASSRLS; {_GRANTS}",
    )
    _refuse(
        operation,
        "the account may not read the large objects",
        fetch(
            connection,
            """SELECT oid::text FROM pg_largeobject_metadata l
            WHERE current_setting('lo_compat_privileges') = 'off'
                AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
                AND NOT pg_has_role(lomowner, 'USAGE')
                AND NOT EXISTS (SELECT FROM aclexplode(lomacl) a WHERE a.privilege_type = 'SELECT'
                    AND CASE WHEN a.grantee = 0 THEN true ELSE pg_has_role(a.grantee, 'USAGE') END)""",
        ),
        f"Let a superuser run: ALTER ROLE … SET lo_compat_privileges = on; {_GRANTS}",
    )
    return int(fetch(connection, "SELECT pg_database_size(current_database())")[0][0])


def _refuse(operation: str, cause: str, rows: list[Any], hint: str) -> None:
    """Raise a SourceError naming some of ``rows``, if there are any: a dump would lack them or fail."""
    if not rows:
        return
    named = ", ".join(str(row[0]) for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    raise SourceError(f"{operation}: {cause} {named}{more}", hint=hint)


_PHYSICAL = """\
-- Run as a superuser, on the server that is backed up. In psql, set the password with: \\password {user}
CREATE ROLE {role} LOGIN REPLICATION;
-- pg_hba.conf needs a line for replication and one for the database (then: SELECT pg_reload_conf();).
-- On the same machine, over the socket; `peer` with a line in pg_ident.conf does without a password:
--   local  replication  {role}                scram-sha-256
--   local  {database}  {role}                scram-sha-256
-- From another machine, encrypted:
--   hostssl  replication  {role}  ADDRESS/32  scram-sha-256
--   hostssl  {database}  {role}  ADDRESS/32  scram-sha-256
"""

_LOGICAL = """\
-- Run as a superuser, on the server that is backed up. In psql, set the password with: \\password {user}
CREATE ROLE {role} LOGIN BYPASSRLS;
GRANT CONNECT ON DATABASE {database} TO {role};
GRANT pg_read_all_data TO {role};
-- PostgreSQL 13 has no pg_read_all_data; there, in the database, for each schema:
--   GRANT USAGE ON SCHEMA public TO {role};
--   GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
--   GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
-- Only where the database has large objects:
--   ALTER ROLE {role} SET lo_compat_privileges = on;
-- pg_hba.conf needs a line (then: SELECT pg_reload_conf();): over the socket, or encrypted from elsewhere.
-- `peer` with a line in pg_ident.conf does without a password.
--   local    {database}  {role}              scram-sha-256
--   hostssl  {database}  {role}  ADDRESS/32  scram-sha-256
"""


def grants_for(method: Method, user: str, database: str) -> str:
    """The statements that make ``user`` with just the rights that ``method`` needs."""
    text = _PHYSICAL if method == "physical" else _LOGICAL
    return text.format(user=user, role=quoted(user), database=quoted(database))
