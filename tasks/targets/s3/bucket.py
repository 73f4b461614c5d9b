"""The bucket itself: what it has and lacks before it becomes a target, and the rights that its keys need.

Three sets of access keys, each with as few rights as will do. The writer, on the machine that takes the
backups, can neither delete nor read: whoever takes that machine over finds keys that cannot undo what was
sent. It can overwrite; versioning and Object Lock are for that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tasks.errors import TargetError
from tasks.targets.s3.connection import Role, S3Client
from tasks.targets.s3.errors import cannot, code_of, denied, translated

_NO_RULES = frozenset({"NoSuchLifecycleConfiguration", "NoSuchLifecycle"})
_OTHERS: tuple[Role, ...] = ("reader", "pruner")
_NOT_SEEN = "could not look (these keys may not)"


def survey(connection: S3Client) -> str:
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


def _versioning(connection: S3Client, operation: str) -> str:
    answer = _ask(
        lambda: connection.client("writer").get_bucket_versioning(Bucket=connection.bucket), operation
    )
    if isinstance(answer, str):
        return answer
    if answer.get("Status") == "Enabled":
        return "on"
    return "OFF: whoever can write can overwrite a backup for good. Switch it on"


def _lock(connection: S3Client, operation: str) -> str:
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


def _lifecycle(connection: S3Client, operation: str) -> str:
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


_ON_OBJECTS = {
    "writer": (
        "s3:PutObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
        "s3:PutObjectRetention",
        "s3:GetObjectRetention",
    ),
    "reader": (
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetObjectAttributes",
        "s3:GetObjectVersionAttributes",
        "s3:GetObjectRetention",
        "s3:RestoreObject",
    ),
    "pruner": ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObjectRetention"),
}
_ON_BUCKET = {
    "writer": (
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketVersioning",
        "s3:GetLifecycleConfiguration",
    ),
    "reader": ("s3:ListBucket", "s3:ListBucketVersions"),
    "pruner": ("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"),
}
_NEVER = {
    "writer": (
        # On Ceph whoever stored an object owns it, and an owner reads it unless that is refused.
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:BypassGovernanceRetention",
        "s3:PutBucket*",
        "s3:PutLifecycleConfiguration",
        "s3:DeleteBucket*",
    ),
    "pruner": ("s3:BypassGovernanceRetention", "s3:PutObject*"),
}


def policies(bucket: str, folder: str) -> dict[str, str]:
    """The policies of ``writer``, ``reader`` and ``pruner`` as JSON text, in Amazon's language.

    ``folder`` is the machine's own folder in the bucket, "" for all of it: it bounds the writer, so that
    one machine cannot overwrite another's backups.
    """
    return {role: json.dumps(_policy(role, bucket, folder), indent=1) for role in _ON_OBJECTS}


def _policy(role: str, bucket: str, folder: str) -> dict[str, Any]:
    whole = f"arn:aws:s3:::{bucket}"
    own = f"{whole}/{folder}/*" if folder and role == "writer" else f"{whole}/*"
    statements = [
        _statement("Objects", "Allow", _ON_OBJECTS[role], [own]),
        _statement("Bucket", "Allow", _ON_BUCKET[role], [whole]),
    ]
    if role in _NEVER:
        # A refusal outweighs whatever another policy may grant the same keys.
        statements.append(_statement("Never", "Deny", _NEVER[role], [whole, f"{whole}/*"]))
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(name: str, effect: str, actions: tuple[str, ...], resources: list[str]) -> dict[str, Any]:
    return {"Sid": name, "Effect": effect, "Action": list(actions), "Resource": resources}
