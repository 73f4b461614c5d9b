"""The SFTP target with wrong keys, wrong servers and broken connections. Failure stories 15 and 16."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pydantic
import pytest

from tasks.errors import ObjectMissing, TargetError
from tasks.targets.sftp.options import SftpOptions
from tasks.targets.sftp.target import SftpTarget
from tests import mounts
from tests.contract.target_contract import SEALED, get, put
from tests.faults.remote_faults import RemoteFaults, refused
from tests.servers.sshd import PASSWORD, Sshd, sshd

__all__ = ["sshd"]


@pytest.fixture
def server(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    monkeypatch.setenv("SFTP_PASSWORD", PASSWORD)
    monkeypatch.setenv("SFTP_PASSPHRASE", "pass phrase")
    monkeypatch.setenv("SFTP_WRONG", "something:else")
    return sshd


class TestSftp(RemoteFaults):
    def secret(self) -> str:
        return PASSWORD

    @pytest.fixture
    def target(self, server: Sshd, root: Path) -> Iterator[SftpTarget]:
        with server.target(root, key=None, password="env:SFTP_PASSWORD") as target:
            yield target

    # Who the server is

    def test_changed_host_key(self, server: Sshd, root: Path) -> None:
        """Of the same kind or of another, it is named and never accepted."""
        for kind in ("other", "ecdsa"):
            with server.target(root, host_key=server.host_key(kind)) as target:
                error = refused(
                    lambda: put(target, SEALED, b"x"), TargetError, "not the known one", permanent=True
                )
                assert fingerprint(server, "ed25519") in error.message, "of the key that the server has"
                assert "read it out on the server itself" in error.hint
        assert not (root / SEALED).exists()

    def test_unknown_host_key(self, server: Sshd, root: Path, tmp_path: Path) -> None:
        known = tmp_path / "known_hosts"
        known.write_text(f"elsewhere.example {server.host_key()}\n")
        with server.target(root, host_key=None, known_hosts=known) as target:
            error = refused(target.list, TargetError, "key is unknown", permanent=True)
            assert fingerprint(server, "ed25519") in error.message
        before = known.read_bytes()
        assert known.read_bytes() == before, "nothing is learned by itself"

    def test_known_hosts(self, server: Sshd, root: Path, tmp_path: Path) -> None:
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} {server.host_key()}\n")
        with server.target(root, host_key=None, known_hosts=known) as target:
            put(target, SEALED, b"x")
        known.write_text(f"[127.0.0.1]:{server.port} {server.host_key('other')}\n")
        with server.target(root, host_key=None, known_hosts=known) as target:
            refused(target.list, TargetError, "not the known one", permanent=True)
        with server.target(root, host_key=None, known_hosts=tmp_path / "missing") as target:
            refused(target.list, TargetError, "missing", "cannot be read", permanent=True)

    def test_a_server_that_changes_its_key(self, server: Sshd, root: Path) -> None:
        with server.target(root) as target:
            put(target, SEALED, b"x")
            for host_key in ("host_other", "host_ecdsa"):
                server.stop()
                server.start(host_key=host_key)
                try:
                    with server.target(root) as anew:
                        refused(anew.list, TargetError, "not the known one", permanent=True)
                finally:
                    server.stop()
                    server.start()

    # Who we are

    def test_passwords(self, server: Sshd, root: Path) -> None:
        with server.target(root, key=None, password="env:SFTP_PASSWORD") as target:
            put(target, SEALED, b"x")
        for changes in (
            {"password": "env:SFTP_WRONG"},
            {"password": "env:SFTP_PASSWORD", "user": "nobody-there"},
        ):
            with server.target(root, key=None, **changes) as target:
                error = refused(target.list, TargetError, "does not let this account in", permanent=True)
                assert "something" not in str(error)
                assert PASSWORD not in str(error)

    def test_keys(self, server: Sshd, root: Path, tmp_path: Path) -> None:
        sealed = server.folder / "client_sealed"
        with server.target(root, key=sealed, key_passphrase="env:SFTP_PASSPHRASE") as target:
            put(target, SEALED, b"x")
        wide = tmp_path / "wide"
        wide.write_bytes((server.folder / "client").read_bytes())
        wide.chmod(0o640)
        for key, secret, words in (
            (sealed, "env:SFTP_WRONG", "does not open with that passphrase"),
            (sealed, None, "needs a passphrase"),
            (server.folder / "passwd_as_key", None, "no private key"),
            (tmp_path / "missing", None, "cannot be read"),
            (wide, None, "others can read"),
            (server.folder / "host_other", None, "does not let this account in"),
        ):
            if key.name == "passwd_as_key":
                key.touch(mode=0o600)
            with server.target(root, key=key, key_passphrase=secret) as target:
                refused(target.list, TargetError, words, permanent=True)

    def test_options(self, server: Sshd, root: Path) -> None:
        for changes, words in (
            ({"host_key": None}, "the server's key"),
            ({"known_hosts": "/x"}, "the server's key"),
            ({"host_key": "AAAA"}, "not a server's public key"),
            ({"host_key": "ssh-rsa " + server.host_key().split()[1]}, "type and contents differ"),
            ({"key": None}, "either `key` or `password`"),
            ({"key": None, "password": "env:X", "key_passphrase": "env:X"}, "belongs to `key`"),
        ):
            with pytest.raises(pydantic.ValidationError, match=words):
                server.options(root, **changes)
        assert server.options(root, host_key=server.host_key() + " root@nas").host_key == server.host_key()
        assert type(server.options(root)) is SftpOptions

    # What servers lack

    def test_a_bare_server(self, server: Sshd, root: Path) -> None:
        """No fsync, no atomic rename, no statvfs: it can be used, and `target init` says what is missing."""
        server.stop()
        server.start(sftp="Subsystem sftp internal-sftp -P posix-rename,fsync,statvfs,limits")
        try:
            with server.target(root) as target:
                assert "lacks posix_rename, fsync, statvfs" in target.prepare()
                put(target, SEALED, b"old")
                put(target, SEALED, b"new")
                assert get(target, SEALED) == b"new"
                assert target.free_space() is None
        finally:
            server.stop()
            server.start()

    def test_no_sftp(self, server: Sshd, root: Path) -> None:
        server.stop()
        server.start(sftp="")
        try:
            with server.target(root) as target:
                refused(target.list, TargetError, "offers no SFTP", permanent=True)
        finally:
            server.stop()
            server.start()

    def test_a_path_below_the_home_folder(self, server: Sshd, root: Path) -> None:
        with server.target(f"data/{root.name}/") as target:
            put(target, SEALED, b"x")
        assert (root / SEALED).read_bytes() == b"x"

    def test_links_and_pipes(self, root: Path, target: SftpTarget) -> None:
        """They are neither listed nor followed, and no object is written through them."""
        put(target, "a", b"a")
        (root / "link").symlink_to("/etc/passwd")
        (root / "slot").symlink_to("/tmp", target_is_directory=True)
        os.mkfifo(root / "pipe")
        (root / "back\\slash").write_bytes(b"x")
        Path(os.fsdecode(os.fsencode(root) + b"/latin-\xe9")).write_bytes(b"x")
        assert [item.name for item in target.list()] == ["a"]
        for name in ("link", "pipe"):
            with pytest.raises(ObjectMissing, match="no regular file"):
                get(target, name)
        refused(lambda: put(target, "slot/new", b"x"), TargetError, "no folder", permanent=True)
        put(target, "link", b"x")
        assert not (root / "link").is_symlink()

    def test_private_files(self, server: Sshd, root: Path) -> None:
        with server.target(root) as target:
            put(target, "TUE/a", b"x")
        assert (root / "TUE").stat().st_mode & 0o777 == 0o700
        assert (root / "TUE/a").stat().st_mode & 0o777 == 0o600


def fingerprint(server: Sshd, kind: str) -> str:
    return mounts.run("ssh-keygen", "-lf", server.folder / f"host_{kind}.pub").split()[1]
