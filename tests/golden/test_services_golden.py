"""The files that make `datasave serve` a service, as three systems get them."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deployments.serving.units import TASKS, Service, service_file, systemd_unit, task_xml
from tests.golden.goldens import same_as_golden

OFFICE = Service(
    plan="front-office",
    command=["/opt/datasave/bin/datasave", "serve", "--plan", '/srv/100% of "the" office/$plan.yaml'],
    user="office",
    system=True,
    folder=Path('/srv/100% of "the" office'),
    writable=[Path('/srv/100% of "the" office'), Path("/var/lib/datasave")],
    settings={"PREFECT_API_URL": "https://prefect.example/api"},
    restarts=False,
)
PRACTICE = OFFICE._replace(
    command=["C:\\Program Files\\datasave\\datasave.exe", "serve", "--plan", "C:\\Our Office\\plan.yaml"],
    user="PRACTICE\\office",
    folder=Path("/Our Office"),
    settings={},
)


def test_systemd_unit_of_the_machine() -> None:
    file = service_file(OFFICE, "linux")
    same_as_golden("services/system.service", file.content)
    assert file.path == Path("/etc/systemd/system/datasave-front-office.service")
    assert file.begin[-1] == ["systemctl", "enable", "--now", "datasave-front-office.service"]
    assert file.end[0] == ["systemctl", "disable", "--now", "datasave-front-office.service"]


def test_systemd_unit_of_an_account_that_restarts_its_engine() -> None:
    file = service_file(OFFICE._replace(system=False, restarts=True), "linux")
    same_as_golden("services/account.service", file.content)
    assert file.begin[0] == ["loginctl", "enable-linger", "office"]
    assert all("--user" in command for command in (*file.begin[1:], *file.end))


def test_launchd_job() -> None:
    file = service_file(OFFICE, "darwin")
    same_as_golden("services/launchd.plist", file.content)
    job = plistlib.loads(file.content)
    assert job["ProgramArguments"] == OFFICE.command
    assert job["Umask"] == 0o077 and job["RunAtLoad"] and job["KeepAlive"] == {"SuccessfulExit": False}


def test_windows_task() -> None:
    file = service_file(PRACTICE, "win32")
    same_as_golden("services/task.xml", file.content.decode("utf-16").encode())
    # The parts in the order that the task scheduler's schema asks for.
    root = ElementTree.fromstring(file.content)
    assert root.tag == f"{{{TASKS}}}Task"
    parts = [part.tag.removeprefix(f"{{{TASKS}}}") for part in root]
    assert parts == ["RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"]
    action = root.find(f".//{{{TASKS}}}Exec")
    assert action is not None
    assert action.findtext(f"{{{TASKS}}}Command") == PRACTICE.command[0]
    assert action.findtext(f"{{{TASKS}}}Arguments") == 'serve --plan "C:\\Our Office\\plan.yaml"'
    assert file.begin[0][:4] == ["schtasks", "/Create", "/TN", "datasave-front-office"]


def test_s4_windows_task_wakes_the_machine_and_is_not_one_that_waits() -> None:
    """[MS-TSCH] 2.5: a calendar trigger's parts in this order; 4 to 6 are ordinary programs' priorities."""
    root = ElementTree.fromstring(task_xml(PRACTICE._replace(wake_at="01:55")))
    (daily,) = root.iter(f"{{{TASKS}}}CalendarTrigger")
    parts = [part.tag.removeprefix(f"{{{TASKS}}}") for part in daily]
    assert parts == ["StartBoundary", "Enabled", "ScheduleByDay"]
    assert daily[0].text == "2020-01-01T01:55:00"
    settings = {part.tag.removeprefix(f"{{{TASKS}}}"): part.text for part in root.iter()}
    assert settings["WakeToRun"] == "true" and settings["Priority"] == "5"
    assert settings["MultipleInstancesPolicy"] == "IgnoreNew"


def test_windows_task_with_settings() -> None:
    text = task_xml(PRACTICE._replace(settings={"PREFECT_API_URL": "https://prefect.example/api"}))
    assert 'set "PREFECT_API_URL=https://prefect.example/api" &amp;&amp; ' in text.decode("utf-16")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("restarts", [True, False])
def test_systemd_takes_the_unit(tmp_path: Path, system: bool, restarts: bool) -> None:
    """What systemd itself says of it; a word that it does not know, or a bad path, is told."""
    folder = tmp_path / "100% of the office"
    folder.mkdir()
    ours = OFFICE._replace(
        command=[sys.executable, "-m", "deployments", "serve", "--plan", str(folder / "$plan.yaml")],
        user="daemon",
        folder=folder,
        writable=[folder],
        system=system,
        restarts=restarts,
    )
    path = tmp_path / "datasave-front-office.service"
    path.write_text(systemd_unit(ours), "utf-8")
    verify = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert "datasave-front-office" not in done.stderr, done.stderr
    path.write_text(systemd_unit(ours).replace("UMask=0077", "UMask=rw\nNoSuchWord=1"), "utf-8")
    spoilt = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert "NoSuchWord" in spoilt.stderr, "the check itself must find what is wrong"


def test_no_file_holds_a_secret() -> None:
    for platform in ("linux", "darwin", "win32"):
        text = service_file(OFFICE, platform).content
        assert b"AUTH_STRING" not in text and b"password" not in text.lower()
