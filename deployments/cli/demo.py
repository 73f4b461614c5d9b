"""``datasave demo``: a made-up clinic in a scratch folder, from first backup to opened archive."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli import keys, run, target
from deployments.cli.demo_clinic import make_clinic
from deployments.cli.doctor import doctor
from deployments.cli.init import init
from deployments.cli.list import list_backups
from deployments.cli.screen import bad, good, say, steps
from tasks.errors import ProgramError, StateError
from tasks.platform.trees import remove_tree

MARKER = "made-by-datasave-demo"
STOCK_TOOLS = ("age", "zstd", "tar")


def demo(
    folder: Annotated[Path, Parameter(help="Scratch folder; made anew each time.")] = Path("demo"),
    /,
    *,
    megabytes: Annotated[int, Parameter(help="Size of the made-up database.")] = 100,
) -> int:
    """Show the whole chain on a made-up clinic: keys, plan, live backup, drill, stock tools.

    A program keeps writing to the database all the while.

    **Examples:**

        datasave demo

        datasave demo /tmp/try --megabytes 500
    """
    root = _fresh(folder.absolute())
    database, plan = root / "clinic.db", root / "clinic.yaml"
    say(f"1. A clinic's database of {megabytes} MB, and a program that keeps writing to it")
    with steps() as progress:
        make_clinic(
            database, megabytes * 1_000_000, progress=lambda d, t: progress("making the clinic", d, t)
        )
    key = _prepare(root, database, plan)
    with _writer(database):
        say("\n3. Back up while it runs, to two weekday folders")
        backed_up = run.backup(plan=plan)
        say("\n4. Drill: bring the backup back from the nas with the owner's key")
        drilled = run.drill(plan=plan, identity=key)
    say("\n5. What is on the targets")
    listed = list_backups(plan=plan)
    opened = _open_with_stock_tools(root, key)
    failed = backed_up or drilled or listed or opened
    if failed:
        bad("the demonstration did not come through; the lines above say where")
        return 1
    good(f"all done; everything is in {root}, and may be deleted")
    return 0


def _fresh(root: Path) -> Path:
    if root.exists() and not (root / MARKER).exists() and (not root.is_dir() or any(root.iterdir())):
        raise StateError(
            f"{root} holds something else", hint="Name an empty folder: `datasave demo /tmp/try`."
        )
    remove_tree(root)
    root.mkdir(parents=True)
    (root / MARKER).touch()
    return root


def _prepare(root: Path, database: Path, plan: Path) -> Path:
    say("\n2. Two holders' keys, a plan, two targets")
    recipients = []
    for holder in ("Owner", "Bank safe"):
        path = root / f"{holder.lower().replace(' ', '-')}.key.txt"
        keys.new_key(holder=holder, out=path)
        recipients.append(f"{holder}={_recipient_in(path)}")
    targets = [f"nas={root / 'nas'}", f"second-disk={root / 'second-disk'}"]
    init(plan, name="clinic", path=database, holder=recipients, target=targets)
    for name in ("nas", "second-disk"):
        target.init(name, plan=plan)
    doctor(plan=plan)
    return root / "owner.key.txt"


def _recipient_in(path: Path) -> str:
    mark = "# public key: "
    lines = path.read_text("utf-8").splitlines()
    return next(line.removeprefix(mark) for line in lines if line.startswith(mark))


@contextmanager
def _writer(database: Path) -> Iterator[None]:
    command = [sys.executable, "-P", "-m", "deployments.cli.demo_clinic", "write", str(database)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield
        if writer.poll() is not None:
            raise ProgramError(f"the writing program ended by itself with status {writer.returncode}")
    finally:
        writer.terminate()
        told, _ = writer.communicate(timeout=30)
    lines = told.split()
    if lines:
        say(f"   Meanwhile the program kept writing; its longest wait was {float(lines[-1]):.2f} s.")


def _open_with_stock_tools(root: Path, key: Path) -> int:
    say("\n6. The same archive opened without this program: age | zstd | tar")
    missing = [tool for tool in STOCK_TOOLS if shutil.which(tool) is None]
    if missing:
        say(f"   not shown: {', '.join(missing)} not installed here")
        return 0
    sealed = max((root / "nas").rglob("*.tar.zst.age"))
    age = subprocess.Popen(["age", "-d", "-i", str(key), str(sealed)], stdout=subprocess.PIPE)
    zstd = subprocess.Popen(["zstd", "-d"], stdin=age.stdout, stdout=subprocess.PIPE)
    tar = subprocess.run(["tar", "tv"], stdin=zstd.stdout, capture_output=True, text=True, check=False)
    statuses = (age.wait(), zstd.wait(), tar.returncode)
    for line in tar.stdout.splitlines():
        say(f"   {line}")
    return 0 if statuses == (0, 0, 0) else 1
