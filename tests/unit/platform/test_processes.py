"""Child programs: their ends, their environment, and that none outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.errors import ProgramError
from tasks.platform.processes import environment_of, find_program, run, serving

PYTHON = Path(sys.executable)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def pid_in(file: Path) -> int:
    deadline = time.monotonic() + 10
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "the child never wrote its pid"
        time.sleep(0.02)
    return int(file.read_text())


def sleeper(file: Path) -> list[str | Path]:
    text = f"import os,time; open({str(file)!r},'w').write(f'{{os.getpid()}}\\n'); time.sleep(600)"
    return [PYTHON, "-c", text]


def test_exit_status_and_outputs() -> None:
    ended = run([PYTHON, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"])
    assert (ended.code, ended.out, ended.err) == (7, "out\n", "err\n")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ProgramError, match="no-such-program is not on this machine") as caught:
        find_program("no-such-program")
    assert caught.value.hint


def test_time_is_bounded_and_the_program_ended(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pytest.raises(ProgramError, match="did not end within 1 s"):
        run(sleeper(file), seconds=1)
    assert gone_within(pid_in(file), 5)


def test_who_watches_can_end_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def watch() -> None:
        if file.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(sleeper(file), watch=watch)
    assert gone_within(pid_in(file), 5)


@pytest.mark.parametrize("leave", [False, True])
def test_what_a_program_started_ends_with_it_unless_it_starts_a_service(tmp_path: Path, leave: bool) -> None:
    file = tmp_path / "pid"
    text = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {sleeper(file)[2]!r}], stdout=subprocess.DEVNULL)\n"
        f"while not open({str(file)!r}, 'a+').tell(): time.sleep(0.02)"
    )
    assert run([PYTHON, "-c", text], leave=leave).code == 0
    pid = pid_in(file)
    try:
        assert gone_within(pid, 1) != leave
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_only_what_is_needed_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2")
    passed = environment_of({"SQLCONNECT": "given"})
    assert "PGPASSWORD" not in passed
    assert "SMTP_PASSWORD" not in passed
    assert passed["SQLCONNECT"] == "given"
    ended = run([PYTHON, "-c", "import os; print(sorted(os.environ))"])
    assert "PGPASSWORD" not in ended.out


def test_a_server_lives_as_long_as_its_block(tmp_path: Path) -> None:
    file, log = tmp_path / "pid", tmp_path / "log"
    with serving(sleeper(file), ready=file.exists, log=log):
        assert alive(pid_in(file))
    assert gone_within(pid_in(file), 5)
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_server_that_ends_at_once_is_told(tmp_path: Path) -> None:
    command = [PYTHON, "-c", "import sys; sys.exit(3)"]
    with (
        pytest.raises(ProgramError, match="ended with status 3 before it was ready"),
        serving(command, ready=lambda: False, log=tmp_path / "log"),
    ):
        pass


def test_a_server_that_is_never_ready(tmp_path: Path) -> None:
    with (
        pytest.raises(ProgramError, match="not ready within"),
        serving(sleeper(tmp_path / "pid"), ready=lambda: False, log=tmp_path / "log", seconds=0.5),
    ):
        pass
    assert gone_within(pid_in(tmp_path / "pid"), 5)


def test_kill_9_leaves_no_program_behind(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    text = f"from tasks.platform.processes import run; run({[str(part) for part in sleeper(file)]!r})"
    us = subprocess.Popen([sys.executable, "-c", text], cwd=Path(__file__).parents[3])
    child = pid_in(file)
    assert alive(child)
    os.kill(us.pid, signal.SIGKILL)
    us.wait()
    assert gone_within(child, 5)
