"""The machine's key on disk, and what a signature does and does not vouch for."""

from __future__ import annotations

import base64
import os
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tasks.errors import StateError
from tasks.manifests.signing import (
    Signed,
    load_key,
    load_or_create_key,
    public_text,
    sign_record,
    signature_defect,
    signed_bytes,
)
from tasks.records import Certificate, Finding, Holder, JournalHead, Manifest
from tests.unit.manifests.shelves import KEY, MACHINE, STRANGER, TAKEN, certificate, manifest, signed

posix_only = pytest.mark.skipif(os.name != "posix", reason="Windows has no mode bits")

OTHER_VALUES: dict[str, Any] = {
    "taken": TAKEN + timedelta(seconds=1),
    "sealed_at": TAKEN + timedelta(seconds=1),
    "drilled": TAKEN,
    "recipients": (Holder(name="Thief", recipient="age1thief"),),
    "checks": (Finding(check="integrity", passed=False, detail="1 of 1 passed"),),
    "marks": ("row counts",),
    "journal": JournalHead(length=812, sha256="b" * 64),
    "machine": public_text(STRANGER.public_key()),
    "passed": False,
    "objective_seconds": 3600.0,
    "format": 2,
}


def _tampered(record: Signed, field: str) -> Signed:
    value = getattr(record, field)
    if field in OTHER_VALUES:
        other = OTHER_VALUES[field]
    else:
        other = f"{value}x" if isinstance(value, str) else value + 1
    assert other != value
    return record.model_copy(update={field: other})


def _refusal(record: Manifest | Certificate, trusted: set[str] | None) -> str:
    defect = signature_defect(record, trusted)
    assert defect
    return defect


def test_signed_record_verifies() -> None:
    assert signature_defect(signed(), {MACHINE}) == ""
    assert signature_defect(signed(), None) == ""
    assert signature_defect(sign_record(certificate(), KEY), {MACHINE}) == ""


@pytest.mark.parametrize("field", sorted(set(Manifest.model_fields) - {"signature"}))
@pytest.mark.parametrize("trusted", [{MACHINE}, None])
def test_any_changed_field_of_a_manifest_shows(field: str, trusted: set[str] | None) -> None:
    assert "signature does not match" in _refusal(_tampered(signed(), field), trusted)


@pytest.mark.parametrize("field", sorted(set(Certificate.model_fields) - {"signature"}))
def test_any_changed_field_of_a_certificate_shows(field: str) -> None:
    record = sign_record(certificate(), KEY)
    assert "signature does not match" in _refusal(_tampered(record, field), {MACHINE})


def test_unsigned_forged_and_strange_are_told_apart() -> None:
    assert "not signed" in _refusal(manifest(), {MACHINE})
    forged = signed().model_copy(update={"signature": sign_record(manifest(418), KEY).signature})
    assert "signature does not match" in _refusal(forged, {MACHINE})
    strange = sign_record(manifest(), STRANGER)
    assert f"signed by another machine ({strange.machine[:16]}" in _refusal(strange, {MACHINE})
    assert "signed by another machine" in _refusal(signed(), set())


def test_a_stranger_naming_our_machine_does_not_pass() -> None:
    lying = sign_record(manifest(), STRANGER).model_copy(update={"machine": MACHINE})
    assert "signature does not match" in _refusal(lying, {MACHINE})


def test_a_signature_of_one_record_type_is_none_of_the_other() -> None:
    record = signed()
    covered = signed_bytes(record)
    assert covered.startswith(b"datasave manifest v1\n{")
    right = base64.b64encode(KEY.sign(covered)).decode("ascii")
    assert signature_defect(record.model_copy(update={"signature": right}), {MACHINE}) == ""
    as_certificate = covered.replace(b"manifest", b"certificate", 1)
    crossed = base64.b64encode(KEY.sign(as_certificate)).decode("ascii")
    assert "does not match" in _refusal(record.model_copy(update={"signature": crossed}), {MACHINE})


def test_a_certificate_is_signed_as_a_certificate() -> None:
    assert signed_bytes(certificate()).startswith(b"datasave certificate v1\n{")


@pytest.mark.parametrize("change", ["", "\n", "=", "é", "!!", "AAAA"])
def test_only_the_canonical_spelling_of_key_and_signature_passes(change: str) -> None:
    record = signed()
    if change:
        _refusal(record.model_copy(update={"signature": record.signature + change}), {MACHINE})
    _refusal(record.model_copy(update={"machine": MACHINE[8:] + change}), None)
    # The last letter before == carries four bits that decode to nothing.
    loose = record.signature[:-3] + chr(ord(record.signature[-3]) + 1) + "=="
    _refusal(record.model_copy(update={"signature": loose}), {MACHINE})


def test_a_machine_is_named_with_its_kind_of_key() -> None:
    bare = manifest().model_copy(update={"machine": MACHINE.removeprefix("ed25519:")})
    signature = base64.b64encode(KEY.sign(signed_bytes(bare))).decode("ascii")
    assert "does not match" in _refusal(bare.model_copy(update={"signature": signature}), None)


def test_times_are_signed_as_instants() -> None:
    same_instant = signed().model_copy(update={"taken": TAKEN.astimezone(timezone(timedelta(hours=-5)))})
    assert signature_defect(same_instant, {MACHINE}) == ""
    with pytest.raises(ValueError, match="without a zone"):
        sign_record(manifest().model_copy(update={"taken": datetime(2026, 1, 1)}), KEY)
    fine = manifest(taken=TAKEN + timedelta(microseconds=5))
    assert b'"taken":"2026-11-23T02:00:00.000005Z"' in signed_bytes(fine)


def test_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "machine.key"
    first = load_or_create_key(path)
    assert public_text(load_or_create_key(path).public_key()) == public_text(first.public_key())
    assert public_text(load_key(path).public_key()) == public_text(first.public_key())
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert [entry.name for entry in tmp_path.iterdir()] == ["machine.key"]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_runs_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    found: set[tuple[int, str]] = set()

    def start(round_: int, barrier: threading.Barrier) -> None:
        barrier.wait()
        found.add((round_, public_text(load_or_create_key(tmp_path / f"{round_}.key").public_key())))

    for round_ in range(20):
        barrier = threading.Barrier(8)
        threads = [threading.Thread(target=start, args=(round_, barrier)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 20


def test_a_key_that_appears_meanwhile_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "machine.key"
    winner = load_or_create_key(path)
    monkeypatch.setattr(Path, "exists", lambda *_, **__: False)
    assert public_text(load_or_create_key(path).public_key()) == public_text(winner.public_key())


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o777])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "machine.key"
    load_or_create_key(path)
    path.chmod(mode)
    with pytest.raises(StateError, match="others can read it") as caught:
        load_or_create_key(path)
    assert "chmod 600" in caught.value.hint
    path.chmod(0o400)
    load_key(path)


def test_missing_and_damaged_keys_are_state_errors(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot read the machine key"):
        load_key(tmp_path / "machine.key")
    with pytest.raises(StateError, match="cannot make the machine key"):
        load_or_create_key(tmp_path / "nowhere" / "machine.key")
    damaged = tmp_path / "damaged.key"
    damaged.touch(0o600)
    with pytest.raises(StateError, match="damaged"):
        load_or_create_key(damaged)
    wrong = tmp_path / "wrong.key"
    wrong.touch(0o600)
    pem = ec_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    wrong.write_bytes(pem)
    with pytest.raises(StateError, match="not an Ed25519 key"):
        load_key(wrong)
