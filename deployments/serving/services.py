"""``datasave serve`` as a service: written, begun, ended, or only shown.

The password of the server, and any other, stay in private files that the program itself reads.
"""

from __future__ import annotations

import codecs
import getpass
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deployments.cli.screen import good, say
from deployments.serving.environment import given_password_file, home_of
from deployments.serving.units import Files, Service, files_of
from tasks.context import PlanContext
from tasks.errors import ProgramError
from tasks.platform.files import write_atomic

# Addresses and folders; nothing of the environment that may hold a secret.
SETTINGS = ("PREFECT_API_URL", "PREFECT_HOME", "PYTHONPATH")


def service_of(context: PlanContext, command: Sequence[str]) -> Service:
    """The service that runs ``command`` in the plan's folder, as the account that owns the plan.

    Raises ProgramError where a password is in the environment alone, where a service does not see it.
    """
    settings = {name: os.environ[name] for name in SETTINGS if os.environ.get(name)}
    given = given_password_file(Path(settings.get("PREFECT_HOME", home_of(context.path))))
    if "PREFECT_API_URL" in settings and os.environ.get("PREFECT_API_AUTH_STRING") and not given.exists():
        raise ProgramError(
            "the password in PREFECT_API_AUTH_STRING does not go into a service's file",
            hint=f"Write it into {given}, a file that only its owner can read.",
        )
    program = Path(sys.executable).with_name("datasave")
    start = [str(program)] if program.exists() else [sys.executable, "-m", "deployments"]
    return Service(
        plan=context.plan.name,
        command=[*start, *command, "--plan", str(context.path)],
        user=getpass.getuser() if os.name == "nt" else context.path.owner(),
        system=os.name == "posix" and os.geteuid() == 0,
        folder=context.path.parent,
        writable=sorted({context.path.parent, context.plan.state}),
        settings=settings,
        restarts=context.plan.schedule.restart is not None,
    )


def install(service: Service, *, apply: bool, remove: bool) -> int:
    """Write the service's file and begin it, or end and remove it; without ``apply`` only show that."""
    files = files_of(service, sys.platform)
    if not apply:
        _show(files, remove)
        return 0
    if remove:
        for command in files.end:
            _run(command, may_fail=True)
        files.path.unlink(missing_ok=True)
        good(f"{service.name} is no service any more; {files.path} was removed")
        return 0
    files.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(files.path, files.text)
    for command in files.begin:
        _run(command)
    good(f"{service.name} is a service now: {files.path}")
    return 0


def _show(files: Files, remove: bool) -> None:
    commands = files.end if remove else files.begin
    if remove:
        say(f"Would run these, and remove {files.path}:")
    else:
        say(f"Would write {files.path}:\n")
        encoding = "utf-16" if files.text.startswith(codecs.BOM_UTF16_LE) else "utf-8"
        say(files.text.decode(encoding))
        say("And run:")
    for command in commands:
        say(f"  {subprocess.list2cmdline(command)}")
    say("Nothing was changed. Add --apply to do it.")


def _run(command: Sequence[str], *, may_fail: bool = False) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ProgramError(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode and not may_fail:
        raise ProgramError(
            f"{subprocess.list2cmdline(command)} failed: {(done.stderr or done.stdout).strip()}",
            hint="Run it by hand with the rights that it asks for; the file is written already.",
        )
