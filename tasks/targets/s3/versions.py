"""Removing an object for good: with versioning, deleting alone only hides it and frees nothing."""

from __future__ import annotations

from typing import Any

from tasks.targets.s3.connection import Connection
from tasks.targets.s3.errors import cannot, denied, translated
from tasks.targets.s3.lock import refuse_removal


def remove(connection: Connection, name: str, operation: str) -> None:
    """Remove all versions of an object that is there. Raises ObjectMissing, TargetLocked, TargetError.

    The newest goes last: where an older one is locked, the object stays as it was. An object that
    someone merely hid with a delete marker counts as missing, and its versions are left alone: they may
    be all that is left after an attack.
    """
    connection.find(name, operation, role="pruner")
    versions = _versions(connection, name, operation)
    for version in versions:
        _remove_version(connection, name, version, operation)
    if not versions:
        _remove_version(connection, name, "", operation)


def _versions(connection: Connection, name: str, operation: str) -> list[str]:
    """Ids of all versions and delete markers of an object, oldest first; none where there are none.

    Raises TargetError where there are some and these keys may not see them: a plain deletion would hide the
    object, locked or not, and free nothing.
    """
    from botocore.exceptions import ClientError

    key = connection.key(name)
    pages = connection.client("pruner").get_paginator("list_object_versions")
    found: list[dict[str, Any]] = []
    with translated(operation, writing=True):
        try:
            for page in pages.paginate(Bucket=connection.bucket, Prefix=key):
                found += [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        except ClientError as error:
            if cannot(error) or (denied(error) and not _keeps_versions(connection)):
                return []
            raise
    own = [entry for entry in found if entry["Key"] == key]
    own.sort(key=lambda entry: (entry["IsLatest"], entry["LastModified"]))
    return [str(entry["VersionId"]) for entry in own]


def _keeps_versions(connection: Connection) -> bool:
    from botocore.exceptions import ClientError

    try:
        answer = connection.client("writer").get_bucket_versioning(Bucket=connection.bucket)
    except ClientError:
        return False  # nobody says so
    return "Status" in answer


def _remove_version(connection: Connection, name: str, version: str, operation: str) -> None:
    from botocore.exceptions import ClientError

    where = {"Bucket": connection.bucket, "Key": connection.key(name)}
    with translated(operation, writing=True):
        try:
            connection.client("pruner").delete_object(**where, **({"VersionId": version} if version else {}))
        except ClientError as error:
            refuse_removal(error, connection, name, version, operation)
            raise
