"""Names on a target, and the strict reading of manifests and certificates."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ManifestError
from tasks.manifests import manifest as module
from tasks.manifests.manifest import (
    anew_name,
    certificate_name,
    manifest_name,
    parse_name,
    read_certificate,
    read_manifest,
    sealed_name,
    stem,
    to_json,
)
from tasks.manifests.signing import sign_record, signature_defect
from tasks.options import Json
from tests.unit.manifests.shelves import KEY, MACHINE, TAKEN, certificate, signed

SOURCES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
SEQUENCES = st.integers(0, 10**18 - 1)


def test_names() -> None:
    own = stem("clinic", datetime(2026, 11, 22, 21, tzinfo=timezone(timedelta(hours=-5))), 417)
    assert own == "clinic-20261123T020000Z-000417"
    assert sealed_name(own) == "clinic-20261123T020000Z-000417.tar.zst.age"
    assert manifest_name(own) == "clinic-20261123T020000Z-000417.manifest.json"
    assert (
        certificate_name(sealed_name(own), TAKEN)
        == "clinic-20261123T020000Z-000417.drill-20261123T020000Z.json"
    )
    assert stem("clinic", TAKEN, 1234567).endswith("-1234567")


@settings(deadline=None)
@given(SOURCES, TIMES, SEQUENCES, TIMES)
def test_every_name_parses_to_what_it_was_made_of(
    source: str, taken: datetime, sequence: int, drilled: datetime
) -> None:
    own = stem(source, taken, sequence)
    facts = (own, source, taken.replace(microsecond=0), sequence)
    assert parse_name(sealed_name(own)) == (*facts, "sealed", None, 0)
    assert parse_name(manifest_name(own)) == (*facts, "manifest", None, 0)
    drill = drilled.replace(microsecond=0)
    assert parse_name(certificate_name(sealed_name(own), drilled)) == (*facts, "certificate", drill, 0)


def test_a_backup_that_is_sealed_anew_says_so_in_its_name() -> None:
    name = sealed_name(stem("clinic", TAKEN, 417))
    for count in (1, 2, 3):
        name = anew_name(name)
        parts = parse_name(name)
        assert parts
        assert (parts.anew, parts.sequence, parts.kind) == (count, 417, "sealed")
    assert name == "clinic-20261123T020000Z-000417.r3.tar.zst.age"
    drilled = parse_name(certificate_name(name, TAKEN))
    assert drilled
    assert (drilled.kind, drilled.anew, drilled.stem) == ("certificate", 3, name.removesuffix(".tar.zst.age"))
    with pytest.raises(ValueError, match="not the name of a sealed archive"):
        anew_name(manifest_name(stem("clinic", TAKEN, 417)))


def test_its_manifest_is_read_under_that_name_and_no_other_backups() -> None:
    anew = anew_name(sealed_name(stem("clinic", TAKEN, 417)))
    assert read_manifest(to_json(signed(sealed_name=anew))).sealed_name == anew
    for foreign in (
        anew.replace("000417", "000418"),
        anew.replace(".r1", ".r0"),
        anew.replace(".r1", ".r01"),
    ):
        with pytest.raises(ManifestError):
            read_manifest(to_json(signed(sealed_name=foreign)))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "RECOVER.md",
        "clinic-20261123T020000Z-000417",
        "clinic-20261123T020000Z-000417.tar.zst",
        "clinic-20261123T020000Z-417.tar.zst.age",
        "clinic-20261123T020000Z-000417.r0.tar.zst.age",
        "clinic-20261123T020000Z-000417.r.tar.zst.age",
        "clinic-20261123T020000Z-000417.r1.r2.tar.zst.age",
        "clinic-20261123T020000Z-0000417.tar.zst.age",
        "clinic-20261323T020000Z-000417.tar.zst.age",
        "clinic-20261123T020060Z-000417.tar.zst.age",
        "clinic-20261123T020000Z-000417 (copy).manifest.json",
        "clinic-20261123T020000Z-000417.manifest.json\n",
        "TUE/clinic-20261123T020000Z-000417.manifest.json",
        "-20261123T020000Z-000417.manifest.json",
        "clinic-20261123T020000Z-٠٠٠٤١٧.manifest.json",
        "clinic-20261123T020000Z-000417.drill-20261199T020000Z.json",
        "clinic-20261123T020000Z-" + "9" * 5000 + ".manifest.json",
    ],
)
def test_foreign_names_are_none(name: str) -> None:
    assert parse_name(name) is None


@settings(deadline=None)
@given(st.text())
def test_any_text_parses_or_is_none(name: str) -> None:
    parts = parse_name(name)
    assert parts is None or name.startswith(parts.stem)


@pytest.mark.parametrize("source", ["", "a/b", "a b", ".hidden", "-x", "ä", "..", "a\n"])
def test_a_source_that_cannot_be_a_file_name_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="not a source name"):
        stem(source, TAKEN, 1)


def test_naive_times_and_negative_numbers_make_no_name() -> None:
    with pytest.raises(ValueError, match="zone"):
        stem("clinic", datetime(2026, 1, 1), 1)
    with pytest.raises(ValueError, match="sequence"):
        stem("clinic", TAKEN, -1)


def test_json_round_trip() -> None:
    record = signed()
    assert read_manifest(to_json(record)) == record
    drilled = sign_record(certificate(), KEY)
    assert read_certificate(to_json(drilled)) == drilled
    assert to_json(record).endswith(b"}\n")


def _altered(change: Callable[[Json], object]) -> bytes:
    document = json.loads(to_json(signed()))
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "it is empty"),
        (b"\xff\xfe\x00", "not JSON"),
        (to_json(signed())[:-20], "not JSON"),
        (b"[]", "states no format version"),
        (b"null", "states no format version"),
        (_altered(lambda d: d.update(format=2)), "written by a newer version \\(format 2\\)"),
        (_altered(lambda d: d.update(format=True)), "states no format version"),
        (_altered(lambda d: d.update(format="1")), "states no format version"),
        (_altered(lambda d: d.pop("format")), "states no format version"),
        (to_json(signed()).replace(b'"source"', b'"source": "other", "source"', 1), "twice"),
        (to_json(signed()).replace(b'"check":', b'"check": "x", "check":', 1), "twice"),
        (_altered(lambda d: d.update(extra=1)), "extra"),
        (_altered(lambda d: d.update({"\x1b[2Jextra": 1})), "x1b.2Jextra"),
        (_altered(lambda d: d.pop("source")), "source"),
        (_altered(lambda d: d.update(sequence="417")), "sequence"),
        (_altered(lambda d: d.update(sequence=417.0)), "sequence"),
        (_altered(lambda d: d.update(sequence=-1)), "sequence"),
        (_altered(lambda d: d.update(taken="2026-11-23T02:00:00")), "taken is not a UTC time"),
        (_altered(lambda d: d.update(taken="2026-11-22T21:00:00-05:00")), "taken is not a UTC time"),
        (_altered(lambda d: d.update(taken="1795399200")), "taken is not a UTC time"),
        (_altered(lambda d: d.update(taken="0001-01-01T00:00:00+14:00")), "taken is not a UTC time"),
        (_altered(lambda d: d.update(taken=1795399200)), "taken"),
        (_altered(lambda d: d.update(sealed_at="2026-11-23T02:00:00")), "sealed_at is not a UTC time"),
        (_altered(lambda d: d.update(source="other")), "source, time and number give other-"),
        (_altered(lambda d: d.update(source="../up")), "not a source name"),
        (_altered(lambda d: d.update(sequence=418)), "000418"),
        (_altered(lambda d: d.update(sealed_name="x" * 10**6)), "it names 'xxx"),
        (_altered(lambda d: d.update(sealed_bytes=float("nan"))), "NaN is not a number"),
        (b'{"format": 1, "source": "\\ud800"}', "JSON"),
        (b'{"format": ' + b"9" * 5000 + b"}", "it is not JSON"),
        (b"[" * 200_000, "nested too deep"),
    ],
)
def test_what_is_not_exactly_a_manifest_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(ManifestError, match=cause) as caught:
        read_manifest(data)
    assert caught.value.hint
    assert len(caught.value.message) < 500
    assert "\x1b" not in caught.value.message


def test_size_cap() -> None:
    assert module.MAX_BYTES == 16 << 20
    data = to_json(signed())
    assert read_manifest(data + b" " * (module.MAX_BYTES - len(data))) == signed()
    with pytest.raises(ManifestError, match="over 16 MiB"):
        read_manifest(data + b" " * (module.MAX_BYTES - len(data) + 1))


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"sealed_name": "clinic-20261123T020000Z-000418.tar.zst.age"}, "is not backup 417 of 'clinic'"),
        ({"sealed_name": "clinic-20261123T020000Z-000417.manifest.json"}, "is not backup 417"),
        ({"source": "other"}, "is not backup 417 of 'other'"),
        ({"seconds": -1.0}, "recovery time"),
    ],
)
def test_a_certificate_that_contradicts_itself_is_refused(changes: Json, cause: str) -> None:
    with pytest.raises(ManifestError, match=cause):
        read_certificate(to_json(certificate(**changes)))


def test_an_endless_recovery_time_is_refused() -> None:
    data = to_json(certificate()).replace(b"12.5", b"1e400")
    with pytest.raises(ManifestError, match="recovery time"):
        read_certificate(data)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_read_or_are_a_manifest_error(data: bytes) -> None:
    with suppress(ManifestError):
        read_manifest(data)


@settings(deadline=None)
@given(st.data())
def test_a_manifest_with_any_one_value_replaced_reads_or_is_a_manifest_error(data: st.DataObject) -> None:
    document = json.loads(to_json(signed()))
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    values = st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4
    )
    document[data.draw(st.sampled_from(sorted(document)))] = data.draw(values)
    text = json.dumps(document)
    with suppress(ManifestError):
        record = read_manifest(text.encode("utf-8", "surrogatepass"))
        assert read_manifest(to_json(record)) == record


@settings(deadline=None)
@given(st.integers(0, len(to_json(signed())) - 1), st.integers(1, 255))
def test_no_damaged_byte_leaves_a_manifest_that_still_verifies(position: int, flip: int) -> None:
    data = bytearray(to_json(signed()))
    data[position] ^= flip
    with suppress(ManifestError):
        record = read_manifest(bytes(data))
        # Space between the values may change, what was signed may not.
        assert record == signed() or signature_defect(record, {MACHINE})


def test_marks_are_signed_and_left_out_where_there_are_none() -> None:
    assert b"marks" not in to_json(signed())
    marked = signed(marks=("row counts",))
    read = read_manifest(to_json(marked))
    assert read == marked
    assert signature_defect(read, {MACHINE}) == ""
    bleached = read.model_copy(update={"marks": ()})
    assert signature_defect(bleached, {MACHINE}) == "signature does not match"


def test_b5_a_manifest_that_an_editor_saved_again_is_the_same() -> None:
    data = to_json(signed(417))
    assert read_manifest(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")) == read_manifest(data)
