"""The programs without a version in their names. Each gets (site, arguments, fault) and returns its code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.standins.sqlanywhere.codes import (
    BAD_DATA,
    FILE,
    FILE_IN_USE,
    GENERAL,
    NOT_A_DATABASE,
    OK,
    USER_BREAK,
    Failure,
    usage,
)
from tests.standins.sqlanywhere.site import Site
from tests.standins.sqlanywhere.wire import Link, connect, options, parameters

if TYPE_CHECKING:
    from tests.standins.sqlanywhere.copying import Wanted

Options = Mapping[str, str]


def say(given: Options, message: str) -> None:
    """To standard output unless -q, and to the file of -o."""
    if "o" in given:
        with Path(given["o"]).open("a", encoding="utf-8") as stream:
            stream.write(message + "\n")
    if "q" not in given:
        print(message, flush=True)


def confirm(question: str) -> None:
    """Wait for an answer, for ever if need be. Raises Failure 5 for no, and where nobody can answer."""
    print(f"{question} (Y/N)? ", end="", flush=True)
    if not sys.stdin.readline().strip().lower().startswith("y"):
        raise Failure(USER_BREAK, "Cancelled")


def reach(site: Site, given: Options, app: str, level: str = "database") -> Link:
    return connect(site, parameters(given.get("c", ""), site), level=level, app=app)


# dbbackup


def dbbackup(site: Site, arguments: list[str], fault: dict[str, Any]) -> int:
    given, rest = options(arguments, "d n q r s t x xo y", "b c k l o")
    from tests.standins.sqlanywhere.copying import Copying

    _refuse_wrong(given, rest)
    if "l" in given:
        return _live(site, given, Path(given["l"]), fault)
    folder = Path(rest[0])
    link = reach(site, given, "dbbackup")
    if not folder.is_dir():
        if "y" not in given:
            confirm(f"Directory {folder} does not exist. Create it")
        _make(folder)
    names = link.ask({"command": "files"})
    _confirm_overwrite(given, folder, [*names["names"], names["log"]])
    wanted = _wanted(given, folder, fault)
    if "s" in given:
        plain = {**vars(wanted), "folder": str(folder)}
        link.ask({"command": "backup_on_server", "wanted": plain})
    else:
        Copying(link.ask, wanted, lambda done, total: _show(given, done, total)).run()
    say(given, "Database backup completed")
    return OK


def _refuse_wrong(given: Options, rest: list[str]) -> None:
    if len(rest) != (0 if "l" in given and len(rest) == 0 else 1):
        raise usage("one target directory is needed")
    if "d" in given and "t" in given:
        raise usage("-d and -t exclude one another")
    kind = given.get("k", "auto" if "s" in given else "copy")
    if kind not in ("auto", "copy", "nocopy", "recover"):
        raise usage(f"Invalid checkpoint log option {kind}")
    if kind in ("auto", "recover") and "s" not in given:
        raise usage(f"-k {kind} needs -s")
    if len({"r", "x", "xo"} & set(given)) > 1:
        raise usage("-r, -x and -xo exclude one another")
    if not given.get("b", "128").isdigit() or int(given.get("b", "128")) < 1:
        raise usage("Invalid block size")


def _wanted(given: Options, folder: Path, fault: dict[str, Any]) -> Wanted:
    from tests.standins.sqlanywhere.copying import Wanted

    restart = next((word for key, word in _RESTARTS.items() if key in given), "")
    return Wanted(
        folder=folder,
        databases="t" not in given and "xo" not in given,
        log="d" not in given,
        restart=restart,
        dated_name="n" in given,
        checkpoint_log=given.get("k", "copy"),
        block=int(given.get("b", "128")),
        fault=fault,
    )


_RESTARTS = {"r": "rename", "x": "truncate", "xo": "delete"}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise Failure(FILE, f"Cannot create {folder}: {error.strerror}") from error


def _confirm_overwrite(given: Options, folder: Path, names: list[str]) -> None:
    for name in names:
        if (folder / name).exists() and "y" not in given:
            confirm(f"{folder / name} already exists. Overwrite it")


def _show(given: Options, done: int, total: int) -> None:
    if "q" not in given and total:
        page = 4096
        pages = total // page
        print(f"({done // page} of {pages} pages, {done * 100 // total}% complete)", flush=True)


def _live(site: Site, given: Options, copy: Path, fault: dict[str, Any]) -> int:
    """-l: keep a copy of the log up to date until the server goes away; never ends by itself."""
    from tests.standins.sqlanywhere.copying import Copying, Wanted

    link = reach(site, given, "dbbackup")
    while True:
        Copying(link.ask, Wanted(folder=copy.parent, databases=False, fault=fault)).run()
        name = link.ask({"command": "files"})["log"]
        (copy.parent / name).replace(copy)
        time.sleep(0.2)


# The others


def dbvalid(site: Site, arguments: list[str], _fault: dict[str, Any]) -> int:
    """Without options: tables, but not their pages' checksums; -d: pages and checksums; -s: checksums."""
    given, tables = options(arguments, "d fx i q s t", "c o")
    link = reach(site, given, "dbvalid")
    only_sums = "d" in given or "s" in given
    sums_and_indexes = "d" in given and site.version >= 12
    wrong = link.ask(
        {
            "command": "validate",
            "tables": tables,
            "structure": not only_sums or sums_and_indexes,
            "checksums": only_sums,
        }
    )["wrong"]
    for line in wrong:
        say(given, f"Validation error: {line}")
    say(given, "Validation failed" if wrong else "No error detected")
    return BAD_DATA if wrong else OK


def dbping(site: Site, arguments: list[str], _fault: dict[str, Any]) -> int:
    given, rest = options(arguments, "d m q en s z", "c l o pc pd ps")
    if rest:
        raise usage(f"Unexpected {rest[0]}")
    reach(site, given, "dbping", "database" if "d" in given else "server").close()
    say(given, "Ping database successful" if "d" in given else "Ping server successful")
    return OK


def dbstop(site: Site, arguments: list[str], _fault: dict[str, Any]) -> int:
    given, rest = options(arguments, "d q x y", "c o")
    if len(rest) > 1 or not (rest or "c" in given):
        raise usage("the name of a server, or -c, is needed")
    target = parameters(given.get("c", ""), site)
    if rest:
        target["server"] = rest[0]
    target.setdefault("astart", "no")
    link = connect(site, target, level="database" if "uid" in target else "server", app="dbstop")
    name = target.get("server") or next(iter(site.servers()), "")
    try:
        link.ask({"command": "stop", "unconditional": "y" in given})
    except Failure as failure:
        if failure.code != GENERAL or "x" in given:
            raise
        confirm("There are active connections. Stop the server")
        link.ask({"command": "stop", "unconditional": True})
    while (free := site.bind("server", name)) is None:
        time.sleep(0.01)
    free.close()
    return OK


def dblog(site: Site, arguments: list[str], _fault: dict[str, Any]) -> int:
    """What a log, or a database file's own log, spans; -t gives a database file another log.

    The wording is assumed, after what the real one prints: read the digits, leniently.
    """
    from tests.standins.sqlanywhere.redo import RedoLog

    given, rest = options(arguments, "q r", "ek o t")
    if len(rest) != 1:
        raise usage("one file is needed")
    path = Path(rest[0])
    if path.suffix != ".log":
        path = _log_of(site, given, path)
    log = RedoLog(path)
    say(given, f'"{path}" is the transaction log of database {log.facts["id"]}')
    say(given, "The current timeline is not mirrored")
    say(given, f"Log starting offset is at {log.start:010d}")
    say(given, f"Log current relative offset: {log.end - log.start:010d}")
    say(given, f"Log ending offset is at {log.end:010d}")
    return OK


def _log_of(site: Site, given: Options, path: Path) -> Path:
    from tests.standins.sqlanywhere import container

    taken = site.bind("file", str(path.resolve()))
    if taken is None:
        raise Failure(FILE_IN_USE, f"{path} is in use by a database server")
    with taken:
        image = container.read(path)
        if "t" in given:
            new = str(Path(given["t"]).absolute())
            container.write(path, container.Image({**image.facts, "log": new}, image.pages))
            image.facts["log"] = new
    say(given, f'"{path}" is using log file "{image.facts["log"]}"')
    return Path(image.facts["log"])


def dbinfo(site: Site, arguments: list[str], _fault: dict[str, Any]) -> int:
    given, _rest = options(arguments, "q u", "c o")
    properties = reach(site, given, "dbinfo").ask({"command": "info"})["properties"]
    say(given, f"Database  : {properties['File']}\nLog file  : {properties['LogName']}")
    say(given, f"Page Size : {properties['PageSize']}\nPages     : {properties['FileSize']}")
    say(given, f"Checksums : {properties['Checksum']}")
    return OK


def dbspawn(site: Site, arguments: list[str], _fault: dict[str, Any]) -> int:
    """Start an engine in the background and wait until it is up; the engine's exit code where it is not.

    Without -f nothing is started where any server runs already.
    """
    import subprocess

    flags = []
    while arguments and arguments[0] in ("-f", "-p", "-q"):
        flags.append(arguments.pop(0))
    if not arguments:
        raise usage("an engine is needed")
    if "-f" not in flags and site.servers():
        return OK
    program = Path(arguments[0])
    command = [str(program if program.is_absolute() else site.home / "bin64" / program.name), *arguments[1:]]
    reading, writing = os.pipe()
    try:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[writing],
            start_new_session=True,
            env={**os.environ, "SA_READY": str(writing)},
        )
    except OSError as error:
        raise Failure(FILE, f"Cannot start {program}: {error.strerror}") from error
    os.close(writing)
    told = os.read(reading, 1)
    os.close(reading)
    if "-p" in flags:
        print(started.pid)
    return told[0] if told else NOT_A_DATABASE if started.wait() == 0 else started.returncode


PROGRAMS = {
    "dbbackup": dbbackup,
    "dbvalid": dbvalid,
    "dbping": dbping,
    "dbstop": dbstop,
    "dblog": dblog,
    "dbinfo": dbinfo,
    "dbspawn": dbspawn,
}
