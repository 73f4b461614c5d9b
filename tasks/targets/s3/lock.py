"""Object Lock, and removing objects for good.

Nobody deletes a backup before its time is up, and that this is so is checked each time. The lock is put on
after an object is complete: several services accept lock headers at the beginning of an upload in parts, and
ignore them. An object that ended without its lock is an error, never a warning.

With versioning, deleting alone only hides an object and frees nothing: removing takes all its versions.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.errors import TargetError, TargetLocked, TargetUnlocked
from tasks.targets.s3.connection import Role, S3Client
from tasks.targets.s3.errors import cannot, code_of, denied, translated
from tasks.targets.s3.options import S3Lock

# Services keep the date to the second or better.
_ROUNDING = timedelta(minutes=1)
_NO_LOCK = frozenset(
    {
        "ObjectLockConfigurationNotFoundError",
        "NoSuchObjectLockConfiguration",
        "InvalidRequest",
        "InvalidBucketState",
    }
)
_MAKE = "Create a bucket with Object Lock switched on, and name it in the plan."


def locked_until(lock: S3Lock, start: datetime) -> datetime:
    """When a lock that begins at ``start`` ends; 29 February is followed by 1 March."""
    if lock.days:
        return start + timedelta(days=lock.days)
    year = start.year + (lock.years or 0)
    try:
        return start.replace(year=year)
    except ValueError:
        return start.replace(year=year, month=3, day=1)


class ObjectLock:
    """Puts the plan's lock on objects, and looks whether it is there."""

    def __init__(self, connection: S3Client, lock: S3Lock) -> None:
        self._connection = connection
        self._lock = lock
        self._bucket_can = False

    def check_bucket(self, operation: str) -> None:
        """Raise TargetUnlocked where the bucket cannot lock, before anything is sent to it."""
        from botocore.exceptions import ClientError

        if self._bucket_can:
            return
        client = self._connection.client("writer")
        with translated(operation):
            try:
                answer = client.get_object_lock_configuration(Bucket=self._connection.bucket)
                on = answer["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled"
            except ClientError as error:
                if denied(error):
                    return  # it shows at the latest when the lock is put on
                if code_of(error) not in _NO_LOCK:
                    raise
                on = False
        if not on:
            raise TargetUnlocked(
                f"{operation}: the bucket {self._connection.bucket} has no Object Lock", hint=_MAKE
            )
        self._bucket_can = True

    def hold(self, name: str, version: str, operation: str) -> None:
        """Lock an object that was just stored, and look.

        Raises TargetUnlocked, whatever kept it from being locked: it is there, and it is not safe.
        """
        until = locked_until(self._lock, datetime.now(UTC))
        where = self._connection.where(name, version)
        retention = {"Mode": self._lock.mode.upper(), "RetainUntilDate": until}
        try:
            with translated("the lock could not be put on", writing=True):
                self._connection.client("writer").put_object_retention(**where, Retention=retention)
            self._demand(name, version, until, operation)
        except TargetUnlocked:
            raise
        except TargetError as error:
            raise self._unlocked(name, operation, error.message, permanent=error.permanent) from error

    def check(self, name: str, stored: datetime, operation: str) -> None:
        """Look at the lock of an object stored at ``stored``, if it must still last. Raises as hold."""
        until = locked_until(self._lock, stored)
        if until > datetime.now(UTC):
            self._demand(name, "", until, operation)

    def end_of(self, name: str, stored: datetime, operation: str) -> datetime:
        """When the lock of an object stored at ``stored`` ends. Raises as hold; also once it has ended."""
        return self._demand(name, "", locked_until(self._lock, stored), operation)

    def _demand(self, name: str, version: str, until: datetime, operation: str) -> datetime:
        with translated(operation):
            mode, end = retention_of(self._connection, name, version, "writer")
        if end is None:
            raise self._unlocked(name, operation, "it has no lock")
        if end < until - _ROUNDING:
            raise self._unlocked(
                name, operation, f"locked until {end:%Y-%m-%d} only, not until {until:%Y-%m-%d}"
            )
        if self._lock.mode == "compliance" and mode != "COMPLIANCE":
            raise self._unlocked(name, operation, "an administrator can lift its lock")
        return end

    def _unlocked(self, name: str, operation: str, cause: str, *, permanent: bool = True) -> TargetUnlocked:
        return TargetUnlocked(
            f"{operation}: {name} is there but UNLOCKED: {cause}",
            hint="It is not safe from deletion. The bucket must have Object Lock, and these keys the right "
            "s3:PutObjectRetention.",
            permanent=permanent,
        )


def retention_of(connection: S3Client, name: str, version: str, role: Role) -> tuple[str, datetime | None]:
    """(mode, end) of an object's lock, ("", None) where it has none. Raises botocore's errors."""
    from botocore.exceptions import ClientError

    try:
        answer = connection.client(role).get_object_retention(**connection.where(name, version))
    except ClientError as error:
        if code_of(error) in _NO_LOCK:
            return "", None
        raise
    found = answer.get("Retention", {})
    return found.get("Mode", ""), found.get("RetainUntilDate")


def refuse_removal(
    error: BaseException, connection: S3Client, name: str, version: str, operation: str
) -> None:
    """Raise TargetLocked, saying until when, where it is a lock that kept a version from being removed."""
    from botocore.exceptions import BotoCoreError, ClientError

    if not denied(error):
        return
    end = None
    roles: tuple[Role, ...] = ("pruner", "writer", "reader")
    for role in roles:
        try:
            _, end = retention_of(connection, name, version, role)
            break
        except (ClientError, BotoCoreError):
            continue  # these keys may not look
    if end is not None and end > datetime.now(UTC):
        raise TargetLocked(
            f"{operation}: it is locked until {end.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            hint="Nobody can remove it before that. It goes by itself when pruning runs after that day.",
        ) from error


def remove(connection: S3Client, name: str, operation: str) -> None:
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


def _versions(connection: S3Client, name: str, operation: str) -> list[str]:
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


def _keeps_versions(connection: S3Client) -> bool:
    from botocore.exceptions import ClientError

    try:
        answer = connection.client("writer").get_bucket_versioning(Bucket=connection.bucket)
    except ClientError:
        return False  # nobody says so
    return "Status" in answer


def _remove_version(connection: S3Client, name: str, version: str, operation: str) -> None:
    from botocore.exceptions import ClientError

    with translated(operation, writing=True):
        try:
            connection.client("pruner").delete_object(**connection.where(name, version))
        except ClientError as error:
            refuse_removal(error, connection, name, version, operation)
            raise
