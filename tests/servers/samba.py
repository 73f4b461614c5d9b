"""A real SMB server for tests: Debian's samba on a free loopback port, ended by process id.

Its account is known to this server alone (account.py), which needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.targets.smb.options import SmbOptions
from tasks.targets.smb.target import SmbTarget
from tests import mounts
from tests.servers.account import PASSWORD, USER, USER_ID, knowing, make_account, own
from tests.servers.ports import free_ports
from tests.servers.radosgw import wait_for_port
from tests.servers.trees import frozen_tree, kill_tree

SMBD = "/usr/sbin/smbd"

CONFIGURATION = """
[global]
server role = standalone server
workgroup = LAB
netbios name = LAB
interfaces = lo
bind interfaces only = yes
smb ports = {port}
disable netbios = yes
server min protocol = SMB2_02
private dir = {folder}/private
lock directory = {folder}/lock
state directory = {folder}/state
cache directory = {folder}/cache
pid directory = {folder}/pid
ncalrpc dir = {folder}/ncalrpc
log file = {folder}/smbd.log
passdb backend = tdbsam:{folder}/private/passdb.tdb
load printers = no
printing = bsd
printcap name = /dev/null
disable spoolss = yes
unix charset = UTF-8
{more}
[backup]
path = {folder}/data
read only = no
valid users = {user}
[disk]
path = {folder}/disk
read only = no
valid users = {user}
[shown]
path = {folder}/data
read only = yes
valid users = {user}
[others]
path = {folder}/data
read only = no
valid users = root
"""


@dataclass
class Samba:
    """A running server. ``data`` is the share "backup", ``disk`` the share "disk" on a disk of 32 MB."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    def place(self, name: str) -> Path:
        """A new folder on the share that the account may write to."""
        return own(self.data / name)

    def options(self, path: Path, **changes: Any) -> SmbOptions:
        """Options of a plan for this server, with short waits; the password is in SMB_PASSWORD."""
        on_disk = path == self.disk
        given: dict[str, Any] = {
            "kind": "smb",
            "server": "127.0.0.1",
            "port": self.port,
            "share": "disk" if on_disk else "backup",
            "path": "" if on_disk else path.relative_to(self.data).as_posix(),
            "user": USER,
            "password": "env:SMB_PASSWORD",
            "timeout": 20,
        }
        return SmbOptions.model_validate({**given, **changes})

    def target(self, path: Path, name: str = "vault", **changes: Any) -> SmbTarget:
        return SmbTarget(name, self.options(path, **changes))

    def start(self, more: str = "") -> None:
        """Start it, on the same port each time. ``more`` are further settings."""
        text = CONFIGURATION.format(folder=self.folder, port=self.port, user=USER, more=more)
        (self.folder / "smb.conf").write_text(text)
        command = knowing(self.folder, SMBD, "--foreground", "--no-process-group", "--debug-stdout")
        command += ["--debuglevel=0", f"--configfile={self.folder}/smb.conf"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for_port(self.port)

    def stop(self) -> None:
        """Kill it and all its sessions."""
        if self.process is not None:
            kill_tree(self.process)
            self.process = None

    def frozen(self) -> AbstractContextManager[None]:
        assert self.process is not None
        return frozen_tree(self.process)


@contextmanager
def samba_server() -> Iterator[Samba]:
    """A server of its own for the block."""
    mounts.need("unshare", SMBD, "smbpasswd", "openssl")
    # Not below pytest's folders: the account may not enter those.
    folder = Path(tempfile.mkdtemp(prefix="datasave-smbd-"))
    folder.chmod(0o755)
    (port,) = free_ports(1)
    server = Samba(folder, port)
    try:
        make_account(folder)
        own(server.data)
        for name in ("private", "lock", "state", "cache", "pid", "ncalrpc"):
            (folder / name).mkdir()
        # Mounted before the server has its own view of what is mounted.
        with mounts.tmpfs(server.disk, 32):
            os.chown(server.disk, USER_ID, USER_ID)
            try:
                server.start()
                _set_password(folder)
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _set_password(folder: Path) -> None:
    command = knowing(folder, "smbpasswd", "-c", f"{folder}/smb.conf", "-s", "-a", USER)
    subprocess.run(command, input=f"{PASSWORD}\n" * 2, text=True, check=True, capture_output=True)


@pytest.fixture(scope="module")
def samba() -> Iterator[Samba]:
    """A server for the tests of one module."""
    with samba_server() as server:
        yield server
