"""Child programs: started without a shell, bounded in time, never left behind, never given a secret in argv.

Each program runs at the end of a leash (leash.py), so that it ends when this process does. What it needs
to know in secret goes through ``environment`` or a private file: arguments can be read by every account of
the machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tasks.errors import ProgramError
from tasks.platform.leash import NOT_STARTED, PATIENCE

Argument = str | Path

# What programs get to see of our environment. Nothing else: a drill's engine must not find the
# production server's password or address there.
PASSED_ON = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT"}
    | {"SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "PROGRAMDATA", "USERPROFILE", "APPDATA"}
    | {"ODBCSYSINI", "ODBCINI", "ODBCINSTINI"}
)
LONGEST_OUTPUT = 256 * 1024
_TICK = 0.1


@dataclass(frozen=True)
class Ended:
    """How a program ended: exit status (128 + n where signal n ended it), the ends of its two outputs.

    The texts may quote rows of the database: an adapter looks for what it knows in them, and never
    hands them on as they are.
    """

    code: int
    out: str
    err: str


def find_program(name: Argument, *, hint: str = "") -> Path:
    """The absolute path of a program, by PATH where ``name`` has no folder. Raises ProgramError."""
    found = shutil.which(str(name))
    if found is None:
        raise ProgramError(
            f"the program {name} is not on this machine",
            hint=hint or "Install it, or put its folder into the PATH of the account that runs Datasave.",
        )
    return Path(found).absolute()


def is_program(path: Path) -> bool:
    """Whether a program lies at ``path``; one in a folder that this account may not enter is not there.

    ``Path.is_file`` raises PermissionError for that one (before Python 3.14).
    """
    return os.path.isfile(path)  # noqa: PTH113 - see above


def environment_of(additions: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child program: what it needs of ours, messages in English, ``additions``."""
    passed = {name: value for name, value in os.environ.items() if name.upper() in PASSED_ON}
    return {**passed, "LC_ALL": "C.UTF-8", **(additions or {})}


def run(
    command: Sequence[Argument],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: float = 24 * 3600.0,
    watch: Callable[[], object] | None = None,
    leave: bool = False,
) -> Ended:
    """Run a program to its end; what its exit status means is the caller's to say.

    ``environment`` is added to the little that is passed on. ``watch`` is called ten times a second
    while it runs, on this thread: to show progress, or to raise, which ends the program. What it started
    ends with it, unless ``leave`` says that it starts a service. Raises
    ProgramError where it cannot be started, or takes longer than ``seconds``.
    """
    name = _name(command)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _leashed(
            command, environment, folder, (out, err), ("leave" if leave else "all", "SIGTERM")
        ) as process:
            code = _wait(process, name, seconds, watch)
        ended = Ended(code, _end_of(out), _end_of(err))
    if code == NOT_STARTED:
        raise ProgramError(f"cannot start {name}: {ended.err.strip() or 'it did not run'}")
    return ended


@contextmanager
def serving(
    command: Sequence[Argument],
    *,
    ready: Callable[[], bool],
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: float = 60.0,
    stop: str = "SIGTERM",
) -> Iterator[None]:
    """Run a server beside the block; it is up when the block begins and gone when it ends.

    ``ready`` is asked until it says yes. ``stop`` names the signal that ends the server in order. The
    server's outputs go to ``log``, a file in a private folder. Raises ProgramError where it ends or is
    not ready within ``seconds``.
    """
    name = _name(command)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with (
        os.fdopen(descriptor, "wb") as output,
        _leashed(command, environment, folder, (output, output), ("all", stop)) as process,
    ):
        _until_ready(process, name, ready, seconds)
        yield


def _until_ready(
    process: subprocess.Popen[bytes], name: str, ready: Callable[[], bool], seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        code = process.poll()
        if code is not None:
            raise ProgramError(f"{name} ended with status {code} before it was ready")
        if time.monotonic() > deadline:
            raise ProgramError(f"{name} was not ready within {seconds:g} s")
        time.sleep(0.02)


def _wait(
    process: subprocess.Popen[bytes], name: str, seconds: float, watch: Callable[[], object] | None
) -> int:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_TICK)
        if watch is not None:
            watch()
        if time.monotonic() > deadline:
            raise ProgramError(
                f"{name} did not end within {seconds:g} s",
                hint="Look whether something holds it up: a lock in the database, a slow disk.",
                permanent=False,
            )


@contextmanager
def _leashed(
    command: Sequence[Argument],
    environment: Mapping[str, str] | None,
    folder: Path | None,
    outputs: tuple[IO[Any], IO[Any]],
    how: tuple[str, str],
) -> Iterator[subprocess.Popen[bytes]]:
    """The program at the end of its leash, for the length of the block."""
    program = find_program(command[0])
    leash = Path(__file__).with_name("leash.py")
    # -I -S: no one's site-packages, start-up files or PYTHON… variables.
    end, signal = how
    if end == "all" and program.name == "unshare":
        end = "group"
    line = [sys.executable, "-I", "-S", leash, end, signal, program, *command[1:]]
    try:
        process = subprocess.Popen(
            [str(word) for word in line],
            stdin=subprocess.PIPE,
            stdout=outputs[0],
            stderr=outputs[1],
            cwd=folder,
            env=environment_of(environment),
        )
    except OSError as error:
        raise ProgramError(f"cannot start {program}: {error.strerror}") from error
    try:
        yield process
    finally:
        assert process.stdin is not None  # noqa: S101 - it was asked for above
        process.stdin.close()
        try:
            process.wait(PATIENCE + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _name(command: Sequence[Argument]) -> str:
    return Path(command[0]).name


def _end_of(stream: IO[Any]) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - LONGEST_OUTPUT))
    data: bytes = stream.read()
    return console_text(data)


def console_text(data: bytes) -> str:
    """What a program said. Windows' own programs write the code page of the console (OEM), not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("oem" if sys.platform == "win32" else "utf-8", "replace")
