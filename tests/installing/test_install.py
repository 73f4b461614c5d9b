"""A release, installed in an empty environment outside the tree: used, updated, taken back, spoilt.

The packages that the program uses are those of this environment, found by PYTHONPATH, so that no index is
asked; the long test installs them too, from wheels that are made of them again.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.release import ROOT, make_release
from tests.supply import locked

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="install.sh is for POSIX systems"),
]
NO_PACKAGES = "# None: they are found elsewhere.\n"


class Office(NamedTuple):
    """A machine's account with a release; what its installer and its program say."""

    root: Path

    @property
    def program(self) -> Path:
        return self.root / "bin" / "datasave"

    @property
    def prefix(self) -> Path:
        return self.root / "opt of ours"

    def current(self, link: str = "current") -> Path:
        return (self.prefix / link).resolve()

    def install(self, release: Path, *words: str) -> subprocess.CompletedProcess[str]:
        folders = {
            "--prefix": self.prefix,
            "--bin": self.root / "bin",
            "--plans": self.root / "plans",
            "--state": self.root / "state",
        }
        options = [str(word) for pair in folders.items() for word in pair]
        return self.run("sh", str(release / "install.sh"), "--python", sys.executable, *options, *words)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        # Without uv, which may be on this machine: it would bring its own cache and settings.
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.root),
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "LC_ALL": "C.UTF-8",
            "PIP_NO_INDEX": "1",
            "COLUMNS": "200",
        }
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    lock = folder / "requirements.lock"
    lock.write_text(NO_PACKAGES, "utf-8")
    make_release(folder / "one", lock)
    return folder / "one"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next release: another version, of the same code."""
    folder = tmp_path_factory.mktemp("newer")
    for part in ("deployments", "flows", "tasks"):
        shutil.copytree(ROOT / part, folder / "tree" / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("README.md", "LICENSE"):
        shutil.copyfile(ROOT / part, folder / "tree" / part)
    project = (ROOT / "pyproject.toml").read_text("utf-8").replace('version = "0.1.0"', 'version = "0.2.0"')
    (folder / "tree" / "pyproject.toml").write_text(project, "utf-8")
    lock = folder / "requirements.lock"
    lock.write_text(NO_PACKAGES, "utf-8")
    make_release(folder / "one", lock, folder / "tree")
    return folder / "one"


def test_the_wheel_has_every_file_that_the_program_reads(release: Path) -> None:
    (wheel,) = release.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        entry_points = opened.read("datasave-0.1.0.dist-info/entry_points.txt").decode()
        about = opened.read("datasave-0.1.0.dist-info/METADATA").decode()
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--cached", "--exclude-standard", "deployments", "flows", "tasks"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    not_read = re.compile(r"README\.md$|^deployments/(prefect\.yaml|install\.(sh|ps1))$")
    tracked = {name for name in listed if (ROOT / name).is_file()}
    assert {name for name in tracked - names if not not_read.search(name)} == set()
    assert {name for name in names - tracked if ".dist-info/" not in name} == set()
    assert "datasave-0.1.0.dist-info/licenses/LICENSE" in names
    assert "datasave = deployments.cli.app:entry" in entry_points
    assert "License-Expression: MIT" in about and "Requires-Python: >=3.11" in about


def test_the_same_tree_makes_the_same_wheel(release: Path, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(NO_PACKAGES, "utf-8")
    again = make_release(tmp_path / "again", lock)
    assert again.read_bytes() == (release / again.name).read_bytes()


@pytest.fixture(scope="module")
def office(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Office:
    """An account that has it installed."""
    made = Office(tmp_path_factory.mktemp("office"))
    done = made.install(release)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is wrong with this installation" in done.stdout and "Next: datasave init" in done.stdout
    return made


def test_it_is_on_the_path_and_its_folders_are_private(office: Office, release: Path) -> None:
    assert office.run(str(office.program), "--version").stdout.strip() == "0.1.0"
    assert all((office.root / name).stat().st_mode & 0o777 == 0o700 for name in ("plans", "state"))
    version = office.current()
    assert "is here already" in office.install(release).stdout
    assert office.current() == version and not (office.prefix / "previous").exists()


def test_a_service_begins_whatever_version_is_current(office: Office) -> None:
    """A version's own folder goes away two updates later: its path must not stand in a unit."""
    said = "from deployments.serving.units import program; print(*program())"
    current = office.prefix / "current" / "bin"
    assert office.run(str(current / "python"), "-P", "-c", said).stdout.strip() == str(current / "datasave")


def _changed(site: Path) -> str:
    with (site / "tasks" / "records.py").open("a", encoding="utf-8") as stream:
        stream.write("# one line more\n")
    return "tasks/records.py was changed"


def _lost(site: Path) -> str:
    (site / "tasks" / "notices" / "report.html").unlink()
    return "tasks/notices/report.html is gone"


def _added(site: Path) -> str:
    (site / "tasks" / "sitecustomize.py").write_text("", "utf-8")
    return "tasks/sitecustomize.py is not of this program"


def _locked_otherwise(site: Path) -> str:
    with (site / "deployments" / "requirements.lock").open("a", encoding="utf-8") as stream:
        stream.write("rich==0.1\nno-such-package==1\npywin32==1 ; sys_platform == 'win32'\n")
    return "not ==0.1; no-such-package is not here"


@pytest.mark.parametrize("spoil", [_changed, _lost, _added, _locked_otherwise])
def test_self_check_finds(office: Office, spoil: Callable[[Path], str]) -> None:
    (site,) = office.current().glob("lib/python*/site-packages")
    kept = office.root / "kept"
    shutil.copytree(site, kept, ignore=shutil.ignore_patterns("pip*"))
    try:
        told = spoil(site)
        done = office.run(str(office.program), "self-check")
        assert done.returncode == 1
        assert told in " ".join(done.stdout.replace("│", " ").split()), done.stdout
    finally:
        shutil.rmtree(site)
        kept.rename(site)


def test_a_version_that_was_changed_is_not_put_right_unseen(office: Office, release: Path) -> None:
    (records,) = office.current().glob("lib/python*/site-packages/tasks/records.py")
    text = records.read_bytes()
    records.write_bytes(text + b"# more\n")
    refused = office.install(release)
    records.write_bytes(text)
    assert refused.returncode == 1 and "was changed since it was installed" in refused.stderr


def test_updated_and_taken_back_with_plans_and_state_untouched(office: Office, newer: Path) -> None:
    first = office.current()
    (office.root / "plans" / "notes.txt").write_text("ours", "utf-8")
    (office.root / "state" / "machine.key").write_text("ours", "utf-8")
    untouched = _seen(office.root / "plans") | _seen(office.root / "state")
    done = office.install(newer)
    assert done.returncode == 0, done.stdout + done.stderr
    assert office.run(str(office.program), "--version").stdout.strip() == "0.2.0"
    assert office.current("previous") == first
    for version in ("0.1.0", "0.2.0"):
        assert office.install(newer, "--back").returncode == 0
        assert office.run(str(office.program), "--version").stdout.strip() == version
    assert _seen(office.root / "plans") | _seen(office.root / "state") == untouched


def _seen(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("part", ["requirements.lock", "wheel", "SHA256SUMS"])
def test_a_damaged_release_changes_nothing(release: Path, tmp_path: Path, part: str) -> None:
    damaged = tmp_path / "release"
    shutil.copytree(release, damaged)
    (path,) = damaged.glob("*.whl") if part == "wheel" else [damaged / part]
    path.write_bytes(path.read_bytes()[1:])
    office = Office(tmp_path)
    done = office.install(damaged)
    assert done.returncode == 1 and "SHA256SUMS" in done.stderr
    assert not office.prefix.exists() and not office.program.exists()


@pytest.mark.long
def test_a_package_without_its_hash_is_refused(release: Path, tmp_path: Path) -> None:
    """What was begun is taken back, and there is nothing to go back to."""
    lock = tmp_path / "requirements.lock"
    lock.write_text("rich==13.0.0\n", "utf-8")
    make_release(tmp_path / "release", lock)
    office = Office(tmp_path)
    assert office.install(tmp_path / "release").returncode != 0
    assert list((office.prefix / "versions").iterdir()) == [] and not office.program.exists()
    back = office.install(release, "--back")
    assert back.returncode == 1 and "no version before" in back.stderr


def test_another_program_of_that_name_stays(release: Path, tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.program.parent.mkdir()
    office.program.write_text("somebody's own", "utf-8")
    done = office.install(release)
    assert done.returncode == 1 and "is not of this installer" in done.stderr
    assert office.program.read_text("utf-8") == "somebody's own"


@pytest.mark.long
def test_with_all_its_packages_and_the_demo(tmp_path: Path) -> None:
    """Nothing of this environment is used but wheels, made of what is installed in it, by their hashes."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    # One name may stand there several times, for several Pythons.
    names = sorted({part.name for part in locked()})
    lines = [f"{line}\n" for name in names if (line := _as_wheel(name, wheels))]
    lock = tmp_path / "requirements.lock"
    lock.write_text("".join(lines), "utf-8")
    make_release(tmp_path / "release", lock)

    class Bare(Office):
        def run(self, *command: str) -> subprocess.CompletedProcess[str]:
            environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.root), "PIP_NO_INDEX": "1"}
            return subprocess.run(
                command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
            )

    office = Bare(tmp_path)
    done = office.install(tmp_path / "release", "--packages", str(wheels))
    assert done.returncode == 0, done.stdout + done.stderr
    shown = office.run(str(office.program), "demo", "--megabytes", "5")
    assert shown.returncode == 0 and "all done" in shown.stdout, shown.stdout + shown.stderr


def _as_wheel(name: str, folder: Path) -> str:
    """Make a wheel of an installed package; its line of a lock file, "" where it is not for this system."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    tags = re.findall(r"^Tag: (\S+)", found.read_text("WHEEL") or "", re.MULTILINE)
    # As in a wheel's name: the choices of each part, with dots (PyPA, Platform compatibility tags).
    label = "-".join(
        ".".join(sorted(set(part))) for part in zip(*(tag.split("-") for tag in tags), strict=True)
    )
    stem = re.sub(r"[-_.]+", "_", found.name)
    path = folder / f"{stem}-{found.version}-{label}.whl"
    about = f"{stem}-{found.version}.dist-info"
    records = []
    with zipfile.ZipFile(path, "w") as made:
        for file in found.files or ():
            inside = str(file)
            place = Path(str(file.locate()))
            if inside.startswith("..") or inside.endswith((".pyc", "RECORD", "INSTALLER", "REQUESTED")):
                continue  # programs are made anew from entry_points.txt
            if file.parts[0].endswith(".dist-info"):
                inside = "/".join([about, *file.parts[1:]])
            data = place.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            records.append(f'"{inside}",sha256={digest},{len(data)}')
            made.writestr(inside, data)
        made.writestr(f"{about}/RECORD", "\n".join([*records, f"{about}/RECORD,,"]) + "\n")
    return (
        f"{found.name}=={found.version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    )
