"""What a copy says of itself, wherever it turns up: ``datasave.json`` to programs, RECOVER.md to people."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic
from pydantic import Field

from tasks.errors import ValidationError
from tasks.platform.files import write_atomic
from tasks.records import Record

NAME = "datasave.json"
DATA = "data"
DUMP = "dump.sql"
LARGEST = 64 * 1024 * 1024


class CopyRecord(Record):
    """How a copy was made, and what it must hold.

    ``server`` is the version as the server reports it, ``names_folded`` its lower_case_table_names, which a
    server on the copy must share. ``files`` (physical) gives each file below ``data`` its size in bytes.
    ``contents`` (dump) gives each table its row count and a checksum, read in the dump's own snapshot.
    """

    format: Literal[1] = 1
    method: Literal["physical", "dump"]
    server: str
    database: str
    names_folded: int
    files: dict[str, int] = Field(default_factory=dict)
    contents: dict[str, tuple[int, str]] = Field(default_factory=dict)

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

**With `dump.sql`** (one database as SQL). On a server that has no database of that name yet:
`mariadb < dump.sql` (on MySQL: `mysql < dump.sql`), as its administrator. The dump makes the
database itself. It never overwrites: where a table exists already, it stops. Make the account of
your program anew (`CREATE USER`, `GRANT`).

Then start the program and look whether the newest entries are there."""
