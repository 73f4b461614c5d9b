"""Building the ODBC driver: once for all installs of a version.

unixODBC remembers for a while which library a driver's name meant. Were there one for each install, a test
would get the library of the test before; so there is one, and it finds its install by SQLANYnn of the
environment when it connects.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).parent


def built(version: int) -> Path:
    """The driver's library, in a folder of the user's below the folder for temporary files."""
    # Loaded after this driver, FreeTDS would be given this one's functions by the driver manager, and
    # connections to the SQL Server stand-in in the same process would crash.
    ctypes.CDLL(str(library("odbc/libtdsodbc.so")))
    sqlite_driver = library("odbc/libsqlite3odbc.so")
    words = {
        "PYTHON": sys.executable,
        "PROGRAM": str(PACKAGE / "program.py"),
        "HOME_VARIABLE": f"SQLANY{version}",
        "DRIVER": str(sqlite_driver),
    }
    source = PACKAGE / "shim.c"
    digest = hashlib.sha256(json.dumps(words).encode() + source.read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"sqlanywhere-standin-{os.getuid()}-{digest}"
    target = folder / f"libdbodbc{version}_r.so"
    if not target.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        part = folder / f"{os.getpid()}.so"
        _compile(source, part, words, [sqlite_driver, library("libsqlite3.so.0")])
        part.replace(target)
    return target


def _compile(source: Path, target: Path, words: dict[str, str], libraries: list[Path]) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "the stand-in's ODBC driver needs gcc"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-w", "-Wl,--no-as-needed", "-Wl,-Bsymbolic", "-o", str(target)]
        + [f"-D{name}={json.dumps(word)}" for name, word in words.items()]
        + [str(source), *map(str, libraries), "-ldl", f"-Wl,-rpath,{libraries[0].parent}"],
        check=True,
    )


def library(name: str) -> Path:
    """A library where Linux distributions have it."""
    for root in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"):
        if (Path(root) / name).exists():
            return Path(root) / name
    raise AssertionError(f"{name} is not installed: the stand-in needs libsqliteodbc")
