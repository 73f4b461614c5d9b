"""What offices get: the wheel, its lock file, the installers, a list of parts, and the sums of them all.

Usage: ``python -m tests.release FOLDER``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.supply import bill_of_materials

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"
INSTALLERS = ("install.sh", "install.ps1")
# Of nothing else is a wheel made: what lies about in the tree must not get into it.
PARTS = ("pyproject.toml", "README.md", "LICENSE", "deployments", "flows", "tasks")
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
# 1980-01-01, the first day that a zip file knows: the same tree makes the same wheel.
_EPOCH = "315532800"


def make_release(folder: Path, lock: Path = LOCK, tree: Path = ROOT) -> Path:
    """Make a release in ``folder``, which is emptied first; returns the wheel."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copy = folder / ".tree"
    for part in PARTS:
        source = tree / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.mkdir(exist_ok=True)
            shutil.copyfile(source, copy / part)
    shutil.copyfile(lock, copy / "deployments" / LOCK.name)
    build = [sys.executable, "-c", _BUILD, str(folder.absolute())]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
    environment.pop("PYTHONPATH", None)
    subprocess.run(build, cwd=copy, env=environment, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(copy)
    for name in INSTALLERS:
        shutil.copyfile(tree / "deployments" / name, folder / name)
    shutil.copyfile(lock, folder / LOCK.name)
    (folder / "sbom.json").write_text(bill_of_materials(lock), "utf-8")
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())
    ]
    (folder / "SHA256SUMS").write_text("".join(sums), "ascii")
    (wheel,) = folder.glob("*.whl")
    return wheel


if __name__ == "__main__":
    print(make_release(Path(sys.argv[1])))
