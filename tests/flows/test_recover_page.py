"""RECOVER.md as it lies on a target, followed to the letter with stock programs: no line of ours in between.

The commands are taken out of the page and run by a shell. What a person does by hand (look for the highest
number, rename, compare two texts, choose a port) the test does, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import mounts
from tests.contract.mariadb_ledger import DATABASE as MARIADB_DATABASE
from tests.flows.engines import SMALL, engine
from tests.flows.site import Site, counts
from tests.servers.mariadb import SERVER, mariadb_server
from tests.servers.ports import free_port
from tests.servers.postgresql import ACCOUNTS, BIN, SUPERUSER, postgresql_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NUMBER = re.compile(r"-(\d{6})\.tar\.zst\.age$")
HALVES = "SELECT (SELECT count(*) FROM left_half) + (SELECT count(*) FROM right_half)"


@dataclass(frozen=True)
class Page:
    """RECOVER.md by its steps."""

    steps: dict[int, str]

    @classmethod
    def on(cls, target: Path) -> Page:
        text = (target / "RECOVER.md").read_text("utf-8")
        found = re.split(r"^## Step (\d+):", text, flags=re.M)
        return cls({int(number): body for number, body in zip(found[1::2], found[2::2], strict=True)})

    def shell(self, step: int) -> list[str]:
        """The blocks of commands for a shell on Linux."""
        return re.findall(r"^```sh\n(.*?)^```", self.steps[step], flags=re.M | re.S)

    def indented(self, after: str) -> list[str]:
        """The indented commands of step 6 that follow a text."""
        block = re.search(r"(?:^    .*\n)+", self.steps[6].partition(after)[2], flags=re.M)
        assert block, f"no commands after {after!r}"
        return [line.strip() for line in block[0].splitlines()]

    def quoted(self, beginning: str) -> list[str]:
        """The commands in backticks of step 6 that begin so."""
        return [line for line in re.findall(r"`([^`]+)`", self.steps[6]) if line.startswith(beginning)]


@dataclass(frozen=True)
class Followed:
    """The folder in which the page was followed up to step 5."""

    folder: Path
    page: Page

    @property
    def restored(self) -> Path:
        return self.folder / "restored"


def shell(script: str, folder: Path, *before: str, **environment: str) -> str:
    """What a person types in a terminal, in that folder; nothing of Datasave is on the way."""
    home = {"PATH": f"{BIN}:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    command = [*before, "sh", "-e", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env={**home, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other accounts may enter, as the engines' own programs must."""
    folder = Path(tempfile.mkdtemp(prefix="datasave-recover-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def follow(target: Path, key: Path, folder: Path) -> Followed:
    """Steps 1 to 5."""
    mounts.need("age", "zstd", "tar", "sha256sum", "ssh-keygen")
    page = Page.on(target)
    shutil.copy(key, folder / "key.txt")
    whole = [path for path in target.rglob("*.tar.zst.age") if _manifest(path).exists()]
    newest = max(whole, key=lambda path: NUMBER.findall(path.name))
    shutil.copy(newest, folder / "backup.tar.zst.age")
    shutil.copy(_manifest(newest), folder / "backup.manifest.json")
    on_linux = page.shell(4)[0]
    assert "sha256sum" in on_linux
    shutil.copy(newest.with_name(_manifest(newest).name + ".sig"), folder / "backup.manifest.json.sig")
    verified = page.shell(4)[2]
    (line,) = re.findall(r"^    (datasave namespaces=.*)$", page.steps[4], flags=re.M)
    (folder / "allowed_signers").write_text(f"{line}\n", "utf-8")
    assert shell(verified, folder).startswith('Good "datasave" signature')
    shown = shell(on_linux, folder).split()[0]
    assert shown == json.loads((folder / "backup.manifest.json").read_text())["sealed_sha256"]
    by_steps, in_one_go = page.shell(5)
    shell(in_one_go, folder)
    (folder / "restored").rename(folder / "in-one-go")
    shell(by_steps, folder)
    shell("diff -r in-one-go restored", folder)
    return Followed(folder, page)


def _manifest(sealed: Path) -> Path:
    return sealed.with_name(sealed.name.replace(".tar.zst.age", ".manifest.json"))


def test_sqlite(running_site: Site, place: Path) -> None:
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    with closing(sqlite3.connect(site.database)) as database, database:
        database.execute("INSERT INTO visits (patient, at, note) VALUES (1, '2026-11-23', 'the newest')")
    site.change_plan(targets=[{"name": "nas", "kind": "folder", "path": "nas", "keep": "forever"}])
    assert site.run("backup", "--target", "nas") == 0
    rows = counts(site.database)
    followed = follow(site.root / "nas", site.keys[1], place)
    [restored] = followed.restored.iterdir()
    assert counts(restored) == rows
    (check,) = followed.page.quoted("sqlite3 ")
    assert shell(check.replace("clinic.db", restored.name), followed.restored).strip() == "ok"


@dataclass(frozen=True)
class Case:
    """An engine, and what its part of step 6 brings up: the number of rows of both halves of the ledger."""

    engine: str
    bring_up: Callable[[Followed], str]


def postgresql_data(followed: Followed) -> str:
    """As the system's account postgres; the first command is the owner's. The port is this machine's."""
    mounts.need("chown", "setpriv")
    own, *commands = followed.page.indented("**`data`: a whole server.**")
    assert own.startswith("chown") and "pg_verifybackup" in commands[1]
    shell(own, followed.restored)
    # The folder it lies in, for the log; a person's own folder is theirs already.
    port = str(free_port())
    as_postgres = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    login = {"PGPASSWORD": ACCOUNTS[SUPERUSER], "PGUSER": SUPERUSER}
    lines = [line.replace("5433", port) for line in commands]
    counting = f'psql -h /tmp -p {port} -d clinic -A -t -c "{HALVES}"'
    stopping = 'pg_ctl -D "$PWD/data" -m fast -w stop'
    script = "\n".join([*lines[:-1], "trap '" + stopping + "' EXIT", lines[-1], f"{counting} > rows"])
    shell(script, followed.restored, *as_postgres, **login)
    return (followed.restored / "rows").read_text()


def postgresql_dump(followed: Followed) -> str:
    """On a running server that never saw the database."""
    commands = followed.page.indented("**`dump`: one database.**")
    with postgresql_server() as server:
        login = {
            "PGHOST": str(server.host),
            "PGPORT": str(server.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": ACCOUNTS[SUPERUSER],
        }
        shell("\n".join(commands), followed.restored, **login)
        return shell(f'psql -d clinic -A -t -c "{HALVES}"', followed.restored, **login)


def mariadb_data(followed: Followed) -> str:
    """Into /var/lib/mysql itself, which only this shell sees; no systemd there, so the server is started
    as its service does."""
    mounts.need("unshare", "mariadb-backup")
    prepare, back = followed.page.quoted("mariadb-backup --")
    (own,) = followed.page.quoted("chown")
    script = f"""
        mount -t tmpfs -o size=600m tmpfs /var/lib/mysql
        {prepare} 2> prepare.log
        grep -q 'completed OK!' prepare.log
        {back} 2> back.log
        {own}
        {SERVER} --no-defaults --user=mysql --datadir=/var/lib/mysql --socket=/var/lib/mysql/s \\
            --skip-networking --pid-file=/var/lib/mysql/pid > server.log 2>&1 &
        server=$!
        trap 'kill $server; wait $server' EXIT
        for _ in $(seq 300); do [ -S /var/lib/mysql/s ] && break; sleep 0.1; done
        mariadb --no-defaults -u root -S /var/lib/mysql/s -N -e "{HALVES}" {MARIADB_DATABASE} > rows
    """
    shell(script, followed.restored, "unshare", "--mount", "--propagation", "private")
    return (followed.restored / "rows").read_text()


def mariadb_dump(followed: Followed) -> str:
    commands = followed.page.quoted("mariadb --")
    with mariadb_server() as server:
        # As its administrator, who has the server's socket in the settings of the account.
        (followed.restored / ".my.cnf").write_text(f"[client]\nuser=root\nsocket={server.socket}\n")
        shell("\n".join(commands), followed.restored)
        return shell(f'mariadb -N -e "{HALVES}" {MARIADB_DATABASE}', followed.restored)


# The methods that test_engines.py leaves to `make test-all`; there, these others.
CASES = [
    Case("postgresql physical", postgresql_data),
    pytest.param(Case("postgresql logical", postgresql_dump), marks=pytest.mark.long),
    pytest.param(Case("mariadb physical", mariadb_data), marks=pytest.mark.long),
    Case("mariadb dump", mariadb_dump),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.engine)
def test_the_engines_own_programs(case: Case, tmp_path: Path, prefect_server: str, place: Path) -> None:
    assert prefect_server and os.geteuid() == 0
    with engine(case.engine, tmp_path, SMALL) as made:
        options: dict[str, Any] = {"source": made.options}
        site = Site.make(tmp_path, ["nas"], **options)
        assert site.run("backup") == 0
    # The engine that was backed up is gone.
    followed = follow(site.root / "nas", site.keys[0], place)
    assert int(case.bring_up(followed)) == 2 * SMALL
