"""The rights that three sets of access keys need, each as few as will do.

The writer, on the machine that takes the backups, can neither delete nor read: whoever takes that machine
over finds keys that cannot undo what was sent. It can overwrite; versioning and Object Lock are for that.
"""

from __future__ import annotations

import json
from typing import Any

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
