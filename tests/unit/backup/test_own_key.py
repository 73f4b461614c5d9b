"""Who has a delivered archive and the backup machine's old disk opens nothing without a holder's key."""

from __future__ import annotations

import base64
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from deployments.cli.demo_clinic import make_clinic
from tasks.age.file import stanza_kinds
from tasks.age.keys import HybridIdentity, parse_recipient
from tasks.age.x25519 import X25519Identity
from tasks.backup.rehearse import unpack
from tasks.backup.seal import own_keys
from tasks.context import PlanContext
from tasks.errors import HeaderError, StateError
from tasks.platform.files import private_folder
from tests.flows.nights import night
from tests.flows.site import Site
from tests.unit.backup.desk import Desk

SEAL_AND_DIE = """
import os, signal, sys
from pathlib import Path
from tests.unit.backup.desk import Desk
from tasks.backup.seal import own_keys
from tasks.platform.files import private_folder

desk = Desk.make(Path(sys.argv[1]))
(desk.copy / "clinic.db").write_bytes(os.urandom(1 << 20))
sealed = desk.seal()
print(own_keys(sealed)[0].secret.hex(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def kinds(path: Path) -> list[str]:
    with path.open("rb") as stream:
        return stanza_kinds(stream)


@pytest.mark.parametrize("quantum", [False, True])
def test_s5_the_header_names_the_holders_alone(tmp_path: Path, quantum: bool) -> None:
    desk = Desk.make(tmp_path)
    if quantum:
        plan = yaml.safe_load(desk.site.plan.read_text("utf-8"))
        for holder in plan["holders"]:
            holder["recipient"] = str(HybridIdentity.generate().recipient())
        desk.site.plan.write_text(yaml.safe_dump(plan), "utf-8")
        desk.context = PlanContext(desk.site.plan)
    (desk.copy / "clinic.db").write_bytes(b"patients")
    sealed = desk.seal()
    assert kinds(sealed.path) == ["mlkem768x25519" if quantum else "X25519"] * 2
    restored = private_folder(tmp_path / "restored")
    with sealed.path.open("rb") as stream:
        unpack(stream, own_keys(sealed), restored, 1 << 20)
    assert (restored / "clinic.db").read_bytes() == b"patients"
    assert "secret" not in repr(own_keys(sealed))


def test_s5_a_killed_run_leaves_no_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SEAL_AND_DIE, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == -9, said.stderr
    key = bytes.fromhex(said.stdout)
    shapes = (key, key.hex().encode(), base64.b64encode(key).rstrip(b"="), b"AGE-SECRET-KEY")
    staged = [path for path in (tmp_path / ".datasave").rglob("*") if path.is_file()]
    assert any(path.name.endswith(".age") for path in staged)
    for path in staged:
        assert not any(shape in path.read_bytes() for shape in shapes), path


def test_s5_no_other_process_can_rehearse_it(tmp_path: Path) -> None:
    sealed = Desk.make(tmp_path).seal()
    elsewhere = sealed.model_copy(update={"path": sealed.path.with_name("another.tar.zst.age")})
    with pytest.raises(StateError, match="memory of a process that has ended"):
        own_keys(elsewhere)


def test_s5_a_recipient_that_no_manifest_names_is_not_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a careless change of this program would add one."""
    make_clinic(tmp_path / "clinic.db", 100_000, wal=False)
    site = Site.make(tmp_path, ["nas"])
    honest = PlanContext.recipients
    stranger = parse_recipient(str(X25519Identity.generate().recipient()))
    monkeypatch.setattr(PlanContext, "recipients", lambda context: [*honest(context), stranger])
    with pytest.raises(HeaderError, match="can be opened by 3 keys, and its manifest would name 2"):
        night(site, datetime(2026, 11, 23, 2, tzinfo=UTC))
    assert not site.archives("nas")
