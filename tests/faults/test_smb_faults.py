"""The SMB target with wrong accounts, strange servers and broken connections. Failure stories 15 and 16."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from tasks.errors import TargetError, TargetMissing, TargetReadOnly
from tasks.targets.smb.options import SmbOptions
from tasks.targets.smb.target import SmbTarget
from tests.contract.target_contract import SEALED, get, put
from tests.faults.remote_faults import RemoteFaults, refused
from tests.servers.account import PASSWORD
from tests.servers.samba import Samba, samba

__all__ = ["samba"]


@pytest.fixture
def server(samba: Samba, monkeypatch: pytest.MonkeyPatch) -> Samba:
    monkeypatch.setenv("SMB_PASSWORD", PASSWORD)
    monkeypatch.setenv("SMB_WRONG", "something:else")
    return samba


class TestSmb(RemoteFaults):
    def secret(self) -> str:
        return PASSWORD

    def test_wrong_accounts(self, server: Samba, root: Path) -> None:
        for changes in ({"password": "env:SMB_WRONG"}, {"user": "nobody-there"}):
            with server.target(root, **changes) as target:
                error = refused(target.list, TargetError, "does not let this account in", permanent=True)
                assert "something" not in str(error)
        with server.target(root, domain="LAB") as target:
            put(target, SEALED, b"x")

    def test_shares(self, server: Samba, root: Path) -> None:
        with server.target(root, share="nothing") as target:
            refused(target.list, TargetMissing, "no such share", permanent=True)
        with server.target(root, share="others") as target:
            refused(target.list, TargetError, "access denied", permanent=True)
        with server.target(root) as target:
            put(target, SEALED, b"x")
        with server.target(root, share="shown") as target:
            assert get(target, SEALED) == b"x"
            refused(lambda: put(target, "new", b"x"), TargetReadOnly, permanent=True)
            refused(lambda: target.delete(SEALED), TargetReadOnly, permanent=True)

    def test_encryption(self, server: Samba, root: Path) -> None:
        """It is insisted on, unless the plan says otherwise; a server that insists is always obeyed."""
        server.stop()
        server.start("server max protocol = SMB2_10")
        try:
            with server.target(root) as target:
                refused(lambda: put(target, SEALED, b"x"), TargetError, "no encryption", permanent=True)
            with server.target(root, encrypt=False) as target:
                put(target, SEALED, b"x")
            server.stop()
            server.start("smb encrypt = required")
            for encrypt in (True, False):
                with server.target(root, encrypt=encrypt) as target:
                    put(target, SEALED, b"x")
                    assert get(target, SEALED) == b"x"
        finally:
            server.stop()
            server.start()

    def test_what_is_sent_is_encrypted(self, server: Samba, root: Path) -> None:
        connection = server.target(root)._remote._session  # type: ignore[attr-defined]
        import smbclient

        try:
            connection.call(smbclient.listdir, f"\\\\127.0.0.1\\backup\\{root.name}")
            (link,) = connection._cache.values()
            (session,) = link.session_table.values()
            assert session.encrypt_data
        finally:
            connection.close()
        assert connection._cache == {}, "nothing stays open"

    def test_an_object_in_use(self, server: Samba, root: Path, target: SmbTarget) -> None:
        """Another program that shares nothing: a passing fault."""
        import smbclient

        put(target, SEALED, b"old")
        connection = server.target(root)._remote._session  # type: ignore[attr-defined]
        path = f"\\\\127.0.0.1\\backup\\{root.name}\\{SEALED}"
        held = connection.call(smbclient.open_file, path, mode="r+b", buffering=0, share_access=None)
        try:
            for call in (
                lambda: get(target, SEALED),
                lambda: put(target, SEALED, b"new"),
                lambda: target.delete(SEALED),
            ):
                refused(call, TargetError, "has it open", permanent=False)
        finally:
            connection.run(held.close)
            connection.close()
        assert get(target, SEALED) == b"old"
        put(target, SEALED, b"new")

    def test_names(self, root: Path, target: SmbTarget) -> None:
        """A colon would write to another stream of another file."""
        for name in ("a:b", "TUE/a?", "a.", "TUE /a", "a\x01"):
            with pytest.raises(ValueError, match="name"):
                put(target, name, b"x")
        assert [path.name for path in root.iterdir()] == [".datasave-target.json"]

    def test_options(self, server: Samba, root: Path) -> None:
        given = server.options(root).model_dump()
        assert SmbOptions.model_validate({**given, "path": "\\a\\b/"}).path == "a/b"
        for changes in (
            {"path": "a/../b"},
            {"path": "a:b"},
            {"share": "a/b"},
            {"server": "//nas"},
            {"user": ""},
        ):
            with pytest.raises(pydantic.ValidationError):
                SmbOptions.model_validate({**given, **changes})
