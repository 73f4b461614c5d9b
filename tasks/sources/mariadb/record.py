"""What a copy says of itself, wherever it turns up: ``datasave.json`` to programs, RECOVER.md to people."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic
from pydantic import Field

from tasks.errors import ValidationError
from tasks.platform.files import write_atomic
from tasks.records import Profile, Record
from tasks.sources.mariadb.definitions import Definitions

NAME = "datasave.json"
DATA = "data"
DUMP = "dump.sql"
LARGEST = 64 * 1024 * 1024


class Held(Record):
    """What a database held in the snapshot of its dump.

    ``rows``: its tables. ``as_dumped``: those of them with FLOAT columns, with the digits that a dump writes.
    ``definitions`` and counters as they were after the dump, ``counters_before`` as they were before it.
    """

    rows: Profile
    as_dumped: Profile
    definitions: Definitions
    counters_before: dict[str, int]


class CopyRecord(Record):
    """How a copy was made, and what it must hold.

    ``server`` is the version as the server reports it, ``names_folded`` its lower_case_table_names, which a
    server on the copy must share. ``files`` (physical) gives each file below ``data`` its size in bytes.
    ``held`` (dump) is what the loaded dump must show. In format 1 ``contents`` said so: it gives each table
    its row count and a checksum.
    """

    format: Literal[1, 2] = 2
    method: Literal["physical", "dump"]
    server: str
    database: str
    names_folded: int
    files: dict[str, int] = Field(default_factory=dict)
    contents: dict[str, tuple[int, str]] = Field(default_factory=dict)
    held: Held | None = None

    @property
    def mariadb(self) -> bool:
        """Whether the server was MariaDB, not MySQL."""
        return "mariadb" in self.server.lower()

    @property
    def release(self) -> str:
        """Major and minor version as Programs tells them: "10.11", "8.0 MySQL"."""
        short = ".".join(self.server.split(".")[:2])
        return short if self.mariadb else f"{short} MySQL"


def write_record(copy: Path, record: CopyRecord) -> None:
    """Write ``record`` into the copy, as a private file."""
    write_atomic(copy / NAME, record.model_dump_json(indent=1).encode())


def read_record(copy: Path) -> CopyRecord:
    """What the copy says of itself. Raises ValidationError where it does not."""
    try:
        with (copy / NAME).open("rb") as stream:
            return CopyRecord.model_validate_json(stream.read(LARGEST))
    except OSError as error:
        cause = f"{NAME} cannot be read ({error.strerror})"
    except pydantic.ValidationError:
        cause = f"{NAME} is not what this version writes"
    raise ValidationError(
        f"cannot use the copy in {copy}: {cause}",
        hint="This is no whole copy of a MariaDB database: restore it again, or take an older backup.",
    )


AFTER_RESTORE = """\
The folder holds `datasave.json`, which says how the copy was made, and either a folder `data` or
a file `dump.sql`.

**With `data`** (a copy of the whole server). Install the release of MariaDB that `datasave.json`
names under `server` (for example 10.11), with its `mariadb-backup`. Then, in this folder:

1. `mariadb-backup --prepare --target-dir=data` must end with `completed OK!`. Without it the
   newest entries are missing, and nothing says so.
2. Stop the server (`systemctl stop mariadb`). Rename its data folder, usually `/var/lib/mysql`,
   to `/var/lib/mysql-DATASAVE`; don't delete it yet. Make a new, empty `/var/lib/mysql`.
3. `mariadb-backup --copy-back --target-dir=data --datadir=/var/lib/mysql`
4. `chown -R mysql:mysql /var/lib/mysql`, then `systemctl start mariadb`.

Accounts and passwords are those of the server that was copied.

**With `dump.sql`** (one database as SQL). On a server that has no database of that name yet, as its
administrator (on MySQL with the program `mysql`):

1. `mariadb --execute="SET GLOBAL max_allowed_packet = 1073741824"`
2. `mariadb --comments --max-allowed-packet=1G < dump.sql`

The dump makes the database itself. It never overwrites: where a table exists already, it stops. Other
databases that its views read must be there first. It does not hold: accounts, passwords and grants (make
the account of your program anew: `CREATE USER`, `GRANT`); digits of FLOAT columns beyond the sixth; events
whose time has passed; how far a sequence with CYCLE has come.

Then start the program and look whether the newest entries are there."""
