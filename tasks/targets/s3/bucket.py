"""Looking at a bucket before it becomes a target: what it has, what it lacks, what could not be seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.errors import TargetError
from tasks.targets.s3.connection import Connection, Role
from tasks.targets.s3.errors import cannot, code_of, denied, translated

_NO_RULES = frozenset({"NoSuchLifecycleConfiguration", "NoSuchLifecycle"})
_OTHERS: tuple[Role, ...] = ("reader", "pruner")
_NOT_SEEN = "could not look (these keys may not)"


def survey(connection: Connection) -> str:
    """One sentence about each thing that matters. Raises TargetError where nothing could be stored at all."""
    operation = f"cannot look at {connection.target}"
    own: list[Role] = [role for role in _OTHERS if getattr(connection.options, role)]
    roles: list[Role] = ["writer", *own]
    for role in roles:
        with translated(f"{operation} with the keys of the {role}"):
            connection.client(role).list_objects_v2(Bucket=connection.bucket, MaxKeys=1)
    others = f", with the keys of {' and '.join(own)} too" if own else ""
    found = [
        f"the bucket {connection.bucket} answers{others}",
        f"versioning: {_versioning(connection, operation)}",
        f"Object Lock: {_lock(connection, operation)}",
        f"leftover pieces of cut-off uploads: {_lifecycle(connection, operation)}",
    ]
    return "; ".join(found) + ". Nothing was changed"


def _versioning(connection: Connection, operation: str) -> str:
    answer = _ask(
        lambda: connection.client("writer").get_bucket_versioning(Bucket=connection.bucket), operation
    )
    if isinstance(answer, str):
        return answer
    if answer.get("Status") == "Enabled":
        return "on"
    return "OFF: whoever can write can overwrite a backup for good. Switch it on"


def _lock(connection: Connection, operation: str) -> str:
    client, bucket = connection.client("writer"), connection.bucket
    answer = _ask(lambda: client.get_object_lock_configuration(Bucket=bucket), operation)
    if isinstance(answer, str):
        return answer
    on = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
    if connection.options.lock is None:
        return "on, but the plan asks for no `lock`" if on else "not there, and the plan asks for none"
    if on:
        return "on, as the plan asks"
    raise TargetError(
        f"{operation}: the plan asks for a lock, and the bucket {bucket} has no Object Lock",
        hint="Create a bucket with Object Lock switched on, or remove `lock` from the plan.",
        permanent=True,
    )


def _lifecycle(connection: Connection, operation: str) -> str:
    client, bucket = connection.client("writer"), connection.bucket
    answer = _ask(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket), operation)
    if isinstance(answer, str):
        return answer
    rules = [rule for rule in answer.get("Rules", ()) if rule.get("Status") == "Enabled"]
    days = [
        rule["AbortIncompleteMultipartUpload"] for rule in rules if "AbortIncompleteMultipartUpload" in rule
    ]
    if days:
        return f"removed after {min(entry['DaysAfterInitiation'] for entry in days)} days"
    return "NEVER removed, and paid for. Add a lifecycle rule AbortIncompleteMultipartUpload of 7 days"


def _ask(call: Callable[[], Any], operation: str) -> Any:
    """The answer to a question about the bucket, {} where the thing is not there, or why it is not known."""
    from botocore.exceptions import ClientError

    with translated(operation):
        try:
            return call()
        except ClientError as error:
            if denied(error):
                return _NOT_SEEN
            if cannot(error):
                return "this service does not know it"
            if code_of(error) in _NO_RULES or code_of(error) == "ObjectLockConfigurationNotFoundError":
                return {}
            raise
