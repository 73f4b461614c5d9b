"""A real SSH server for tests: Debian's openssh-server on a free loopback port, ended by process id.

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

from tasks.targets.sftp.options import SftpOptions
from tasks.targets.sftp.target import SftpTarget
from tests import mounts
from tests.servers.account import PASSWORD, USER, USER_ID, knowing, make_account, own
from tests.servers.ports import free_ports
from tests.servers.radosgw import wait_for_port
from tests.servers.trees import frozen_tree, kill_tree

__all__ = ["PASSWORD"]

SSHD = "/usr/sbin/sshd"

CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/{host_key}
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
UseDNS no
KbdInteractiveAuthentication no
PasswordAuthentication yes
AllowTcpForwarding no
PermitTTY no
MaxStartups 100
MaxAuthTries 100
{sftp}
LogLevel VERBOSE
"""


@dataclass
class Sshd:
    """A running server. ``data`` is a folder of its account, whose home is ``folder``."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def disk(self) -> Path:
        """A folder on a disk of 32 MB."""
        return self.folder / "disk"

    def host_key(self, kind: str = "ed25519") -> str:
        return (self.folder / f"host_{kind}.pub").read_text().strip()

    def place(self, name: str) -> Path:
        """A new folder that the account may write to."""
        return own(self.data / name)

    def options(self, path: Path | str, **changes: Any) -> SftpOptions:
        """Options of a plan for this server, with the account's key and short waits."""
        given: dict[str, Any] = {
            "kind": "sftp",
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "path": str(path),
            "host_key": self.host_key(),
            "key": self.folder / "client",
            "timeout": 20,
        }
        merged = {key: value for key, value in {**given, **changes}.items() if value is not None}
        return SftpOptions.model_validate(merged)

    def target(self, path: Path | str, name: str = "vault", **changes: Any) -> SftpTarget:
        return SftpTarget(name, self.options(path, **changes))

    def start(self, *, host_key: str = "host_ed25519", sftp: str = "Subsystem sftp internal-sftp") -> None:
        """Start it, on the same port each time. ``sftp`` are its settings of SFTP."""
        text = CONFIGURATION.format(folder=self.folder, port=self.port, host_key=host_key, sftp=sftp)
        (self.folder / "sshd_config").write_text(text)
        command = knowing(self.folder, SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config"))
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
def sshd_server() -> Iterator[Sshd]:
    """A server of its own for the block."""
    mounts.need("unshare", SSHD, "ssh-keygen", "openssl")
    # Not below pytest's folders: the account may not enter those.
    folder = Path(tempfile.mkdtemp(prefix="datasave-sshd-"))
    (port,) = free_ports(1)
    server = Sshd(folder, port)
    try:
        _prepare(server)
        # Mounted before the server has its own view of what is mounted.
        with mounts.tmpfs(server.disk, 32):
            os.chown(server.disk, USER_ID, USER_ID)
            try:
                server.start()
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(server: Sshd) -> None:
    folder = server.folder
    folder.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    for name, kind in (("host_ed25519", "ed25519"), ("host_other", "ed25519"), ("host_ecdsa", "ecdsa")):
        _make_key(folder / name, kind)
    _make_key(folder / "client", "ed25519")
    _make_key(folder / "client_sealed", "ed25519", "pass phrase")
    shown = [(folder / f"{name}.pub").read_text() for name in ("client", "client_sealed")]
    (folder / "authorized_keys").write_text("".join(shown))
    make_account(folder)
    own(server.data)


def _make_key(path: Path, kind: str, passphrase: str = "") -> None:
    mounts.run("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", path)


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    """A server for the tests of one module."""
    with sshd_server() as server:
        yield server
