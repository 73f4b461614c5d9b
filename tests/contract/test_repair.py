"""A broken backup is repaired on a target of each kind, on the real thing; killed midway, nothing is lost."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tasks.backup.condition import damaged
from tasks.context import PlanContext
from tasks.errors import ObjectMissing
from tasks.health import repair as repairing
from tasks.health.audit import audit_target
from tasks.manifests.manifest import manifest_name
from tasks.targets.base import Target
from tests.contract.s3_targets import credentials, secrets_in
from tests.contract.target_contract import get, put
from tests.faults.media import CALENDAR, medium
from tests.flows.site import Site
from tests.servers.account import PASSWORD
from tests.servers.radosgw import Radosgw, s3
from tests.servers.samba import Samba, samba
from tests.servers.sshd import Sshd, sshd
from tests.unit.health.stocked import SIZE, archive, failed, stated, stock
from tests.unit.health.test_condition import NOW

__all__ = ["s3", "samba", "sshd"]

Fixture = Callable[[str], Any]


@contextmanager
def _folder(root: Path, _fixture: Fixture) -> Iterator[dict[str, Any]]:
    yield {"kind": "folder", "path": "vault"}


@contextmanager
def _drive(root: Path, _fixture: Fixture) -> Iterator[dict[str, Any]]:
    with medium(root / "media", "TUE", target="vault", plan="clinic"):
        yield {"kind": "drive", "calendar": CALENDAR, "mounts": [f"{root}/media/*"]}


@contextmanager
def _s3(root: Path, fixture: Fixture, *, lock: bool = False) -> Iterator[dict[str, Any]]:
    server: Radosgw = fixture("s3")
    secrets_in(fixture("monkeypatch"), server.admin)
    entry = {"kind": "s3", "bucket": server.bucket(lock=lock), "endpoint": server.endpoint}
    locked = {"lock": {"mode": "compliance", "days": 3}} if lock else {}
    yield entry | credentials(server.admin) | locked


def _locked(root: Path, fixture: Fixture) -> Any:
    return _s3(root, fixture, lock=True)


@contextmanager
def _sftp(root: Path, fixture: Fixture) -> Iterator[dict[str, Any]]:
    server: Sshd = fixture("sshd")
    place = server.place(f"repair-{root.name}")
    yield server.options(place).model_dump(mode="json", exclude_none=True)


@contextmanager
def _smb(root: Path, fixture: Fixture) -> Iterator[dict[str, Any]]:
    server: Samba = fixture("samba")
    fixture("monkeypatch").setenv("SMB_PASSWORD", PASSWORD)
    place = server.place(f"repair-{root.name}")
    yield server.options(place).model_dump(mode="json", exclude_none=True)


@pytest.fixture(params=[_folder, _drive, _s3, _locked, _sftp, _smb], ids=lambda kind: kind.__name__[1:])
def context(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[PlanContext]:
    """Four backups on a nas and on the target ``vault``, which is one of each kind."""
    site = Site.make(tmp_path, [])
    with request.param(tmp_path, request.getfixturevalue) as entry:
        site.change_plan(
            targets=[{"name": "nas", "kind": "folder", "path": "nas"}, {"name": "vault", **entry}]
        )
        for name in ("nas", "vault"):
            if entry["kind"] != "drive" or name == "nas":
                site.init_target(name)
            stock(site.context, name, 1, 2, 3, 4)
        yield site.context


def _name(context: PlanContext) -> str:
    return stated(context, 3).sealed_name


def _archive(context: PlanContext) -> bytes | None:
    """What lies where the third backup should."""
    with context.target("vault") as place:
        try:
            return get(place, _name(context))
        except ObjectMissing:
            return None


def _audit(context: PlanContext) -> dict[str, str]:
    found = failed(audit_target(context, "vault", read_all=True, now=NOW))
    return {check: detail for check, detail in found.items() if check != "newest is fresh"}


def _spoil(context: PlanContext) -> bytes:
    """Other bytes of the same size lie there; where versions are kept, as the newest."""
    rotten = archive(3)[:-1] + bytes([archive(3)[-1] ^ 1])
    with context.target("vault") as place:
        put(place, _name(context), rotten)
    return rotten


def _repair(context: PlanContext) -> None:
    for mend in repairing.look(context, ["vault"]).mends:
        assert repairing.repair(context, mend) == "nas"


def test_damage_is_repaired(context: PlanContext) -> None:
    _spoil(context)
    assert "archive reads back" in _audit(context)
    _repair(context)
    assert _archive(context) == archive(3)
    assert _audit(context) == {} and damaged(context) == ()


def test_what_is_gone_is_put_back(context: PlanContext) -> None:
    if context.entry("vault").model_dump().get("lock"):
        pytest.skip("nobody can delete it")
    with context.target("vault") as place:
        place.delete(manifest_name(_name(context).removesuffix(".tar.zst.age")))
        place.delete(_name(context))
    assert "#3 (clinic-" in _audit(context)["what was delivered is there"]
    _repair(context)
    assert _archive(context) == archive(3)
    assert _audit(context) == {}


def test_killed_midway_nothing_is_lost(context: PlanContext) -> None:
    rotten = _spoil(context)
    _audit(context)
    for point in range(20):
        if not _dies_at(context, point):
            break
        assert _archive(context) in (rotten, archive(3))
        again = PlanContext(context.path)
        assert [one.sequence for one in damaged(again)] == [3], "it counts when it was read back, not before"
    assert point >= 4
    assert _archive(context) == archive(3)
    assert _audit(context) == {}


# Connections of this process have threads, and their locks would be held for ever in a fork of it: children
# are forked from a process that has everything imported and does nothing.
CLEAN = multiprocessing.get_context("forkserver")
CLEAN.set_forkserver_preload([__name__])


def _dies_at(context: PlanContext, point: int) -> bool:
    """Repair in a process of its own that is killed at its n-th sign of life; whether it was."""
    child = CLEAN.Process(target=_repair_dying, args=(context.path, point, dict(os.environ)))
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def _repair_dying(plan: Path, point: int, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    signs = 0

    def sign() -> None:
        nonlocal signs
        signs += 1
        if signs > point:
            os.kill(os.getpid(), signal.SIGKILL)

    class Dying(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            sign()
            return super().read(min(SIZE // 2, SIZE if size is None or size < 0 else size))

    def put_dying(target: Target, name: str, manifest: Any, path: Path) -> None:
        stream: BinaryIO = Dying(path.read_bytes())
        target.put(name, stream, manifest.sealed_bytes)
        sign()

    repairing._put = put_dying
    _repair(PlanContext(plan))
