"""What a person is told: how to make the account, and how to get a copy going without Datasave."""

from __future__ import annotations

from tasks.sources.postgresql.record import Method

AFTER_RESTORE = """\
The folder holds `datasave.json`, which names the version and the method, and either `data` (a whole server)
or `dump` (one database). Use the programs of the version that `datasave.json` names; for a `dump` a later one
will do. On Debian and Ubuntu they are in `/usr/lib/postgresql/VERSION/bin`. Work as the system's account
`postgres`, never as root, and start it on another port first if the old server still runs.

**`data`: a whole server.** The folder must belong to the account that runs PostgreSQL, closed to others:

    chown -R postgres: .
    chmod 700 data
    pg_verifybackup -i postgresql.conf -i pg_hba.conf -i pg_ident.conf data
    pg_ctl -D "$PWD/data" -o "-p 5433 -k /tmp" -l server.log -w start
    psql -h /tmp -p 5433 -l

If there is a folder `tablespaces`, first make each link in `data/pg_tblspc` absolute: `ln -sfn
"$PWD/tablespaces/16400" data/pg_tblspc/16400`. A restored server archives nothing and follows no other
server: lines at the end of `data/postgresql.auto.conf` see to that. Remove them once it has taken the lost
server's place. Accounts and passwords are those of the lost server; who may connect stands in
`data/pg_hba.conf`. On Debian the configuration lies in `/etc/postgresql` and is in no backup. Unlogged
tables come back empty, as after a crash.

**`dump`: one database.** On any running server:

    psql -d postgres -f roles.sql
    createdb -T template0 clinic
    pg_restore -j 2 -d clinic dump

`roles.sql` makes the accounts, without passwords; that some exist already is no fault. Give `createdb` the
encoding (`-E`) and locale (`-l`) that `datasave.json` names. The tablespaces and extensions of the old server
must be there (`pg_restore --no-tablespaces` does without the former). Subscriptions are not brought back.
"""

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
    return text.format(user=user, role=_quoted(user), database=_quoted(database))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
