"""What the operating system says -> the TargetError branch, and the registry of kinds."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pydantic
import pytest

from tasks.errors import ObjectMissing, TargetError, TargetFull, TargetMissing, TargetReadOnly
from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.registry import make_target, option_models
from tasks.targets.shared.errors import is_permanent, translate

WRITES = [
    ("ENOSPC", TargetFull, True),
    ("EDQUOT", TargetFull, True),
    ("EROFS", TargetReadOnly, True),
    ("EACCES", TargetReadOnly, True),
    ("EPERM", TargetReadOnly, True),
    ("ENODEV", TargetMissing, True),
    ("ENXIO", TargetMissing, True),
    ("ESTALE", TargetMissing, False),
    ("ENOTCONN", TargetMissing, False),
    ("ETIMEDOUT", TargetMissing, False),
    ("EHOSTUNREACH", TargetMissing, False),
    ("EIO", TargetError, False),
    ("EBUSY", TargetError, False),
    ("EAGAIN", TargetError, False),
    ("ENOENT", TargetError, False),
    ("EFBIG", TargetError, True),
    ("ENAMETOOLONG", TargetError, True),
    ("ENOTDIR", TargetError, True),
]
READS = [
    ("ENOENT", ObjectMissing, True),
    ("ENOTDIR", ObjectMissing, True),
    ("EACCES", TargetError, True),
    ("EIO", TargetError, False),
    ("ESTALE", TargetMissing, False),
]
WINDOWS = [
    (19, errno.EACCES, TargetReadOnly, True),
    (21, errno.EACCES, TargetMissing, True),
    (32, errno.EACCES, TargetError, False),
    (53, errno.ENOENT, TargetMissing, False),
    (64, errno.EINVAL, TargetMissing, False),
    (67, errno.ENOENT, TargetMissing, True),
    (112, errno.ENOSPC, TargetFull, True),
    (5, errno.EACCES, TargetReadOnly, True),
    (1167, errno.EINVAL, TargetMissing, True),
]


@pytest.mark.parametrize(
    ("code", "writing", "kind", "permanent"),
    [(code, True, kind, permanent) for code, kind, permanent in WRITES]
    + [(code, False, kind, permanent) for code, kind, permanent in READS],
)
def test_translate(code: str, writing: bool, kind: type[TargetError], permanent: bool) -> None:
    number = getattr(errno, code)
    error = translate(OSError(number, os.strerror(number)), "cannot store a on nas", writing=writing)
    assert type(error) is kind
    assert (error.permanent, is_permanent(error)) == (permanent, permanent)
    assert error.message == f"cannot store a on nas: {os.strerror(number)}"
    assert error.hint.endswith(".")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.permanent, again.hint) == (kind, permanent, error.hint)


@pytest.mark.parametrize(("winerror", "number", "kind", "permanent"), WINDOWS)
def test_translate_windows(winerror: int, number: int, kind: type[TargetError], permanent: bool) -> None:
    """Python gives the errno of the second column, which alone would mislead."""
    said = OSError(number, "what Windows says")
    said.winerror = winerror  # type: ignore[attr-defined, unused-ignore]
    error = translate(said, "cannot store a on nas", writing=True)
    assert type(error) is kind
    assert error.permanent is permanent


def test_errors_without_a_number() -> None:
    error = translate(TimeoutError("timed out"), "cannot read a on nas", writing=False)
    assert error.message == "cannot read a on nas: timed out"
    assert not error.permanent
    assert translate(TimeoutError(), "x", writing=False).message == "x: TimeoutError"


def test_is_permanent_of_other_errors() -> None:
    assert is_permanent(OSError(errno.ENOSPC, "full"))
    assert not is_permanent(OSError(errno.ESTALE, "stale"))
    assert is_permanent(KeyError("a fault in the program"))


def test_registry_makes_every_kind(tmp_path: Path) -> None:
    models = option_models()
    options = models["folder"].model_validate({"kind": "folder", "path": str(tmp_path)})
    target = make_target("nas", options)
    assert type(target) is FolderTarget
    assert target.name == "nas"
    target.prepare()
    assert target.list() == []
    for kind, model in models.items():
        assert model.model_fields["kind"].default == kind


def test_only_real_places_can_be_chosen() -> None:
    assert "memory" not in option_models()


def test_folder_options_are_closed_and_described() -> None:
    with pytest.raises(pydantic.ValidationError, match="pfad"):
        FolderOptions.model_validate({"kind": "folder", "path": "/a", "pfad": "/b"})
    with pytest.raises(pydantic.ValidationError, match="path"):
        FolderOptions.model_validate({"kind": "folder"})
    for name, field in FolderOptions.model_fields.items():
        assert field.description, name
