"""What a copy says of itself, wherever it turns up: ``datasave.json`` to programs, RECOVER.md to people."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic import ValidationError as RecordError

from tasks.errors import ValidationError
from tasks.platform.files import write_atomic
from tasks.records import Profile, Record

NAME = "datasave.json"
LARGEST = 256 << 20

Method = Literal["physical", "logical"]


class CopyRecord(Record):
    """What was copied, and what it held.

    ``version`` is the server's, ``superuser`` a role that may do all in a physical copy, whose log is in
    files of ``wal_segment_bytes``. ``unlogged`` are tables that a physical copy brings back empty, ``added``
    files put into its data folder by us.

    Of a logical copy it says what a restore must bring back, read in the snapshot that was dumped: a
    ``profile`` (earlier copies have the ``rows`` of each table alone), ``objects``' names by class, hashes
    of the ``definitions`` as ``pg_dump`` of version ``dumped_by`` wrote them, ``sequences``' values before
    and after; ``timezone`` is the sessions', by which a restore may have to compute a column. ``roles`` are
    the cluster's, ``first_superuser`` is the one it was made with; ``tablespaces`` must be there before a
    restore. ``left_out`` names what no dump holds.
    """

    format: Literal[1] = 1
    kind: Literal["postgresql"] = "postgresql"
    method: Method
    version: str = Field(pattern=r"^\d+")
    database: str
    encoding: str
    collate: str
    ctype: str
    superuser: str = ""
    wal_segment_bytes: int = 0
    unlogged: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    rows: dict[str, int] = Field(default_factory=dict)
    objects: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    roles: tuple[str, ...] = ()
    profile: Profile | None = None
    definitions: dict[str, str] = Field(default_factory=dict)
    dumped_by: int = 0
    timezone: str = ""
    sequences: dict[str, tuple[str, str]] = Field(default_factory=dict)
    first_superuser: str = ""
    tablespaces: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def major(self) -> int:
        """The server's major version."""
        return int("".join(takewhile(str.isdigit, self.version)))

    def write(self, copy: Path) -> None:
        """Write the record into the copy's folder."""
        write_atomic(copy / NAME, self.model_dump_json(indent=1).encode())


def read_record(copy: Path) -> CopyRecord:
    """The record in a copy's folder. Raises ValidationError where there is none, or it is damaged."""
    path = copy / NAME
    try:
        if path.stat().st_size > LARGEST:
            raise ValidationError(f"cannot read {path}: it is too large to be a record of Datasave's")
        return CopyRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValidationError(
            f"cannot read the copy in {copy}: it has no {NAME} ({error.strerror})",
            hint="This is no copy of a PostgreSQL database: restore it again from the archive.",
        ) from error
    except RecordError as error:
        raise ValidationError(
            f"cannot read the copy in {copy}: its {NAME} is damaged",
            hint="Restore it again from the archive, or take an older backup.",
        ) from error


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

**`dump`: one database.** On any running server that has no database of its name yet (an old one can be
renamed: `ALTER DATABASE clinic RENAME TO clinic_old`):

    psql -d postgres -f roles.sql
    export PGTZ="$(sed -n 's/.*"timezone": "\\(.*\\)".*/\\1/p' datasave.json)"
    export PGOPTIONS='-c default_transaction_read_only=off -c session_replication_role=replica'
    pg_restore --create -j 2 -d postgres dump

`roles.sql` makes the accounts; that some exist already is no fault. `pg_restore` makes the database with
its settings, rights and owners, then all that is in it; the variables keep a read-only setting or an event
trigger of its own from stopping it, and give it the old server's time zone, by which columns may be
computed (on Windows: `set PGOPTIONS=-c …`). What no dump holds stands in `datasave.json` under `left_out`
and is to be set by hand: passwords of accounts (in psql: `\\password NAME`), logins at other servers,
subscriptions. The tablespaces that it names must be there (`CREATE TABLESPACE`; or use `pg_restore
--no-tablespaces`), and the old server's extensions. Materialized views are computed anew. An index or view
that the backup's report names as not checked fails here too; all else comes back.

If the server lacks the database's locale, make it first, `createdb -T template0 -E UTF8 --locale=C clinic`;
`pg_restore` then says that it exists, and goes on. A database that is called `postgres`: `dropdb postgres`
first, then `-d template1`.
"""
