"""``datasave serve`` as a service: a systemd unit, a launchd job, a scheduled task of Windows.

Each starts the same command when the machine starts and again when it fails. None holds a secret: the
password of the server, and any other, stay in private files that the program itself reads.
"""

from __future__ import annotations

import codecs
import getpass
import os
import plistlib
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from deployments.serving.environment import given_password_file, home_of
from tasks.context import PlanContext
from tasks.errors import ProgramError
from tasks.plan.cron import next_time
from tasks.platform.accounts import is_root
from tasks.platform.files import write_atomic
from tasks.platform.processes import console_text

AWAKE_BEFORE = timedelta(minutes=5)
# Addresses and folders; nothing of the environment that may hold a secret.
SETTINGS = ("PREFECT_API_URL", "PREFECT_HOME", "PYTHONPATH")
TASKS = "http://schemas.microsoft.com/windows/2004/02/mit/task"


class Service(NamedTuple):
    """What a service file is made of.

    ``system``: a service of the whole machine, else one of the account. ``restarts``: the plan restarts a
    database engine, which may be started by a command that needs more rights, and must outlive us.
    ``wake_at``: the time of day, by this machine's clock, when a machine that sleeps is woken.
    """

    plan: str
    command: Sequence[str]
    user: str
    system: bool
    folder: Path
    writable: Sequence[Path]
    settings: dict[str, str]
    restarts: bool
    wake_at: str = "12:00"

    @property
    def name(self) -> str:
        """Its name among the system's services."""
        return f"datasave-{self.plan}"


class ServiceFile(NamedTuple):
    """A service of one system: its file, and what must be run for it to begin and to end."""

    path: Path
    content: bytes
    begin: Sequence[Sequence[str]]
    end: Sequence[Sequence[str]]

    @property
    def text(self) -> str:
        """What a person reads in the file."""
        encoding = "utf-16" if self.content.startswith(codecs.BOM_UTF16_LE) else "utf-8"
        return self.content.decode(encoding)


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
    return Service(
        plan=context.plan.name,
        command=[*program(), *command, "--plan", str(context.path)],
        user=_account(context.path),
        system=is_root(),
        folder=context.path.parent,
        writable=sorted({context.path.parent, context.plan.state}),
        settings=settings,
        restarts=context.plan.schedule.restart is not None,
        wake_at=_wake_at(context),
    )


def _wake_at(context: PlanContext) -> str:
    """A few minutes before the next scheduled backup; noon where none is scheduled."""
    cron = context.plan.schedule.backup
    if cron is None:
        return "12:00"
    due = next_time(cron, datetime.now(context.timezone))
    return f"{due.astimezone() - AWAKE_BEFORE:%H:%M}"


def program() -> list[str]:
    """The command that starts this program, by a path that an update leaves true.

    An installer keeps each version in a folder of its own, and a link ``current`` to the one in use.
    """
    environment = Path(sys.prefix)
    current = environment.parent.parent / "current"
    if environment.parent.name == "versions" and current.exists() and current.samefile(environment):
        environment = current
    folder = environment / Path(sys.executable).parent.name
    script = folder / ("datasave.exe" if sys.platform == "win32" else "datasave")
    # -P: the service works in the plan's folder, and no module is to be taken from there.
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "deployments"]


def _account(plan: Path) -> str:
    """Whom the service works as: the plan's owner; on Windows who installs it, with the domain or machine.

    A name alone may be another account there: the task scheduler takes it for one of the domain first.
    """
    if sys.platform == "win32":
        return f"{os.environ['USERDOMAIN']}\\{getpass.getuser()}"
    return plan.owner()


def service_file(service: Service, platform: str) -> ServiceFile:
    """What ``platform`` (sys.platform's words) needs for the service."""
    if platform == "win32":
        return _windows(service)
    return _macos(service) if platform == "darwin" else _linux(service)


def install(file: ServiceFile) -> None:
    """Write the service's file and begin it. Raises ProgramError where a command fails."""
    file.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file.path, file.content)
    for command in file.begin:
        _run(command)


def uninstall(file: ServiceFile) -> None:
    """End the service where it runs, and remove its file."""
    for command in file.end:
        _run(command, may_fail=True)
    file.path.unlink(missing_ok=True)


def _run(command: Sequence[str], *, may_fail: bool = False) -> None:
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise ProgramError(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode and not may_fail:
        raise ProgramError(
            f"{subprocess.list2cmdline(command)} failed: {console_text(done.stderr or done.stdout).strip()}",
            hint="Run it by hand with the rights that it asks for; the file is written already.",
        )


def _linux(service: Service) -> ServiceFile:
    unit = f"{service.name}.service"
    path = (Path("/etc/systemd/system") if service.system else Path.home() / ".config/systemd/user") / unit
    control = ["systemctl"] if service.system else ["systemctl", "--user"]
    # A user's services end with the last log-out, unless the account lingers.
    linger = [] if service.system else [["loginctl", "enable-linger", service.user]]
    return ServiceFile(
        path,
        systemd_unit(service).encode("utf-8"),
        begin=[*linger, [*control, "daemon-reload"], [*control, "enable", "--now", unit]],
        end=[[*control, "disable", "--now", unit], [*control, "daemon-reload"]],
    )


def systemd_unit(service: Service) -> str:
    """The unit's text."""
    settings = [f'Environment="{_escaped(f"{name}={value}")}"' for name, value in service.settings.items()]
    writable = [f'ReadWritePaths="-{_escaped(str(path))}"' for path in service.writable]
    # Not PrivateTmp: databases are reached by sockets in /tmp. Not strict: targets may be mounted anywhere.
    own = [
        f"User={service.user}",
        "ProtectSystem=full",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        *writable,
    ]
    lines = [
        "[Unit]",
        f"Description=Datasave: backups of {service.plan}",
        "Wants=network-online.target",
        "After=network-online.target",
        # A machine whose disk is full for an hour shall be tried again after it.
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=simple",
        f"ExecStart={' '.join(_quoted(word) for word in service.command)}",
        f"WorkingDirectory={str(service.folder).replace('%', '%%')}",
        *settings,
        "UMask=0077",
        "Restart=on-failure",
        "RestartSec=30",
        # The program alone is told first, and ends its server and its runs in order.
        f"KillMode={'process' if service.restarts else 'mixed'}",
        "TimeoutStopSec=90",
        "LockPersonality=yes",
        *([] if service.restarts else ["NoNewPrivileges=yes", "RestrictSUIDSGID=yes"]),
        *(own if service.system else []),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if service.system else 'default'}.target",
    ]
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    """A word of a command, where ``$`` stands for a variable."""
    return f'"{_escaped(word).replace("$", "$$")}"'


def _escaped(text: str) -> str:
    """A text between quotes; ``%`` stands for a specifier in every value of a unit."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _macos(service: Service) -> ServiceFile:
    label = f"org.{service.name}"
    path = Path.home() / "Library/LaunchAgents" / f"{label}.plist"
    logs = service.folder / ".datasave" / "service.log"
    content = {
        "Label": label,
        "ProgramArguments": list(service.command),
        "WorkingDirectory": str(service.folder),
        "EnvironmentVariables": dict(service.settings),
        "RunAtLoad": True,
        # Again when it fails, not when it was told to stop.
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 30,
        "Umask": 0o077,
        "ProcessType": "Background",
        "StandardOutPath": str(logs),
        "StandardErrorPath": str(logs),
    }
    return ServiceFile(
        path,
        plistlib.dumps(content),
        begin=[["launchctl", "load", "-w", str(path)]],
        end=[["launchctl", "unload", "-w", str(path)]],
    )


def _windows(service: Service) -> ServiceFile:
    path = service.folder / ".datasave" / f"{service.name}.xml"
    create = ["schtasks", "/Create", "/TN", service.name, "/XML", str(path), "/F"]
    return ServiceFile(
        path,
        task_xml(service),
        begin=[create, ["schtasks", "/Run", "/TN", service.name]],
        end=[["schtasks", "/End", "/TN", service.name], ["schtasks", "/Delete", "/TN", service.name, "/F"]],
    )


def task_xml(service: Service) -> bytes:
    """A task that starts with the machine, without a log-in or a stored password (S4U), and is not stopped.

    Windows' own defaults would end it after three days and on battery.
    """
    program, *arguments = service.command
    settings = "".join(f'set "{name}={value}" && ' for name, value in service.settings.items())
    line = f"{settings}{subprocess.list2cmdline([program, *arguments])}"
    plain: dict[str, object] = {"Command": program, "Arguments": subprocess.list2cmdline(arguments)}
    wrapped: dict[str, object] = {"Command": "cmd.exe", "Arguments": f'/d /s /c "{line}"'}
    tree = {
        "RegistrationInfo": {"Description": f"Datasave: backups of {service.plan}"},
        # The daily one wakes a machine that sleeps, and begins again what ended; one that runs is left alone.
        "Triggers": {
            "BootTrigger": {"Enabled": "true"},
            "CalendarTrigger": {
                "StartBoundary": f"2020-01-01T{service.wake_at}:00",
                "Enabled": "true",
                "ScheduleByDay": {"DaysInterval": "1"},
            },
        },
        "Principals": {
            "Principal": {"UserId": service.user, "LogonType": "S4U", "RunLevel": "LeastPrivilege"},
        },
        "Settings": {
            "MultipleInstancesPolicy": "IgnoreNew",
            "DisallowStartIfOnBatteries": "false",
            "StopIfGoingOnBatteries": "false",
            "StartWhenAvailable": "true",
            "WakeToRun": "true",
            # The usual one, 7, is that of work which may wait: its reads and writes as well.
            "Priority": "5",
            "RestartOnFailure": {"Interval": "PT1M", "Count": "999"},
            "ExecutionTimeLimit": "PT0S",
        },
        "Actions": {
            "Exec": {**(wrapped if settings else plain), "WorkingDirectory": str(service.folder)},
        },
    }
    root = ElementTree.Element("Task", {"version": "1.2", "xmlns": TASKS})
    _add_elements(root, tree)
    ElementTree.indent(root)
    # schtasks reads UTF-16 with its mark.
    text = f'<?xml version="1.0" encoding="UTF-16"?>\n{ElementTree.tostring(root, "unicode")}\n'
    return codecs.BOM_UTF16_LE + text.encode("utf-16-le")


def _add_elements(parent: ElementTree.Element, tree: dict[str, object]) -> None:
    for name, content in tree.items():
        child = ElementTree.SubElement(parent, name)
        if isinstance(content, dict):
            _add_elements(child, content)
        else:
            child.text = str(content)
