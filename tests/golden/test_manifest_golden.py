"""The exact bytes of a manifest, of a certificate and of what their signatures cover.

They must never change within format 1: backups of years past are checked by them. Ed25519 signatures
are deterministic, so they stand in the files too.
"""

from __future__ import annotations

import base64

from tasks.manifests.manifest import read_certificate, read_manifest, to_json
from tasks.manifests.signing import sign_record, signature_defect, signed_bytes
from tests.golden.goldens import FOLDER, same_as_golden
from tests.unit.manifests.shelves import KEY, MACHINE, certificate, signed


def test_public_key_is_that_of_the_rfc() -> None:
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert "ed25519:" + base64.b64encode(raw).decode("ascii") == MACHINE


def test_manifest_bytes() -> None:
    same_as_golden("manifests/manifest.json", to_json(signed()))


def test_manifest_signed_bytes() -> None:
    same_as_golden("manifests/manifest.signed", signed_bytes(signed()))


def test_certificate_bytes() -> None:
    same_as_golden("manifests/certificate.json", to_json(sign_record(certificate(), KEY)))


def test_golden_files_read_and_verify() -> None:
    manifest = read_manifest((FOLDER / "manifests/manifest.json").read_bytes())
    assert signature_defect(manifest, {MACHINE}) == ""
    assert manifest == signed()
    drilled = read_certificate((FOLDER / "manifests/certificate.json").read_bytes())
    assert signature_defect(drilled, {MACHINE}) == ""
    assert drilled == sign_record(certificate(), KEY)
