"""Who has no Datasave checks with OpenSSH's own program whose backup it is: the real ``ssh-keygen``."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.backup.deliver import publish
from tasks.manifests.manifest import to_json
from tasks.manifests.shelf import read_shelf
from tasks.manifests.signing import allowed_signer, public_text, ssh_signature
from tasks.manifests.strays import renamed_manifests, told_of
from tasks.targets.memory.target import MemoryTarget
from tests import mounts
from tests.contract.target_contract import put
from tests.unit.manifests.shelves import KEY, MACHINE, SEALED, TAKEN, signed

NAME = signed().sealed_name
DATA = to_json(signed())


def verify(folder: Path, data: bytes, signature: bytes, line: str, namespace: str = "datasave") -> bool:
    mounts.need("ssh-keygen")
    (folder / "allowed_signers").write_text(f"{line}\n", "utf-8")
    (folder / "m.sig").write_bytes(signature)
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "datasave", "-n", namespace]
    done = subprocess.run([*command, "-s", "m.sig"], cwd=folder, input=data, capture_output=True, check=False)
    assert done.stdout.startswith(b'Good "datasave" signature') == (done.returncode == 0)
    return done.returncode == 0


def test_s3_ssh_keygen_knows_the_machine(tmp_path: Path) -> None:
    assert verify(tmp_path, DATA, ssh_signature(DATA, KEY), allowed_signer(MACHINE))


@pytest.mark.parametrize("change", ["data", "signature", "machine", "namespace", "copied"])
def test_s3_ssh_keygen_refuses_what_the_machine_did_not_sign(tmp_path: Path, change: str) -> None:
    other = Ed25519PrivateKey.generate()
    line = allowed_signer(public_text(other.public_key()) if change == "machine" else MACHINE)
    data = DATA.replace(b"417", b"419") if change == "data" else DATA
    signature = ssh_signature(DATA, other if change == "signature" else KEY)
    if change == "copied":  # that of another manifest of the same machine
        signature = ssh_signature(DATA + b" ", KEY)
    assert not verify(tmp_path, data, signature, line, "file" if change == "namespace" else "datasave")


def test_s3_the_signature_lies_beside_its_manifest_and_is_no_stray(tmp_path: Path) -> None:
    nas = MemoryTarget("nas")
    put(nas, NAME, SEALED)
    publish(nas, DATA, NAME, KEY)
    (backup,) = read_shelf(nas, trusted={MACHINE}, now=TAKEN + timedelta(days=1))
    assert backup.verified and backup.signature == f"{backup.manifest_name}.sig"
    with nas.open(backup.signature) as stream:
        assert verify(tmp_path, DATA, stream.read(), allowed_signer(MACHINE))
    assert list(renamed_manifests(nas, {stat.name: stat.bytes for stat in nas.list()})) == []
    nas.delete(backup.manifest_name)
    assert told_of(nas, NAME) == ""
    (left,) = read_shelf(nas, trusted={MACHINE}, now=TAKEN + timedelta(days=1))
    assert left.unfinished and left.signature, "a removal that was cut off finds it again"
