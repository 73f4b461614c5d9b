"""What an S3 service, botocore or the network says -> the TargetError branch, with a hint.

Codes are those of Amazon's "Error responses" and of the services that imitate it. A message of theirs is
never quoted: it can be missing, and it can hold names and keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tasks.errors import DatasaveError, ObjectMissing, TargetError, TargetFull, TargetMissing, TargetReadOnly

_KEYS = "Correct `access_key_id` and `secret_access_key`, or make new keys at the provider."
_AGAIN = "The service is busy or failing. Nothing is wrong here; it is tried again."
_NETWORK = "Look at the internet connection, and whether `endpoint` is right."
_SKEW = 15 * 60

_UNKNOWN_CALL = ("NotImplemented", "MethodNotAllowed", "501", "405")

_Rule = tuple[type[TargetError], bool, str, str]

# code -> what it becomes, whether another try is pointless, the cause in plain words, what to do.
_CODES: dict[str, _Rule] = {
    **dict.fromkeys(
        ("InvalidAccessKeyId", "NotSignedUp", "InvalidClientTokenId"),
        (TargetError, True, "the service does not know the access key", _KEYS),
    ),
    "SignatureDoesNotMatch": (TargetError, True, "the secret key is wrong", _KEYS),
    **dict.fromkeys(
        ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException"),
        (TargetError, True, "the login has expired", "Log in again, or use keys that do not expire."),
    ),
    "NoSuchBucket": (
        TargetMissing,
        True,
        "there is no such bucket",
        "Create the bucket, or correct `bucket`, `region` and `endpoint` in the plan.",
    ),
    **dict.fromkeys(
        ("NoSuchKey", "NoSuchVersion", "404", "NotFound"),
        (ObjectMissing, True, "there is no such object", "`datasave list` shows what is there."),
    ),
    **dict.fromkeys(
        ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
        (TargetError, True, "the bucket is in another region", "Set `region` to the bucket's region."),
    ),
    **dict.fromkeys(
        ("QuotaExceeded", "InsufficientStorage", "StorageFull", "XMinioStorageFull", "507"),
        (
            TargetFull,
            True,
            "the bucket or the account is full",
            "Raise the quota, or let the plan keep fewer backups.",
        ),
    ),
    **dict.fromkeys(
        ("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
        (TargetError, False, "the data was damaged on its way", "Look at the network, if it happens again."),
    ),
    **dict.fromkeys(
        ("InvalidPart", "InvalidPartOrder", "NoSuchUpload"),
        (
            TargetError,
            False,
            "the service lost pieces of the upload",
            "It is sent again. Look whether another machine sends the same backup.",
        ),
    ),
    **dict.fromkeys(
        ("EntityTooLarge", "EntityTooSmall"),
        (TargetError, True, "the service takes no object of that size", "Ask the provider about its limits."),
    ),
    "InvalidStorageClass": (
        TargetError,
        True,
        "the service has no such storage class",
        "Correct `storage_class`.",
    ),
    "PreconditionFailed": (
        TargetError,
        False,
        "it was replaced while it was being read",
        "Try again when no backup is running.",
    ),
    **dict.fromkeys(
        _UNKNOWN_CALL,
        (TargetError, True, "the service cannot do this", "Leave out the option that asks for it."),
    ),
}

_DENIED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"})
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_BUSY = frozenset({"SlowDown", "RequestTimeout", "Throttling", "TooManyRequests", "OperationAborted"})
# What OpenSSL says of a certificate or of a server that does not speak TLS; anything else may pass.
_TRUST = re.compile("CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|certificate|No such file|PEM")


def code_of(error: BaseException | None) -> str:
    """The service's own code for a refusal, "" for errors of another sort."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or "")


def denied(error: BaseException) -> bool:
    """Whether these keys lack the right."""
    return code_of(error) in _DENIED


def cannot(error: BaseException) -> bool:
    """Whether the service has no such call."""
    return code_of(error) in _UNKNOWN_CALL


@contextmanager
def translated(operation: str, *, writing: bool = False) -> Iterator[None]:
    """Turn what botocore raises in the block into TargetErrors that begin with ``operation``."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (ClientError, BotoCoreError, HTTPError, OSError) as error:
        raise translate(error, operation, writing=writing) from error


def translate(error: BaseException, operation: str, *, writing: bool = False) -> TargetError:
    """The error to raise for ``error``; ``writing`` tells a refused write from a refused read."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return _refusal(error.response, operation, writing=writing)
    return _trouble(error, operation)


def is_permanent(error: BaseException) -> bool:
    """Whether trying again is pointless; an error we do not know is a fault in the program, so yes."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, DatasaveError):
        return error.permanent
    if isinstance(error, ClientError | BotoCoreError | OSError):
        return translate(error, "").permanent
    return True


def _refusal(response: Mapping[str, Any], operation: str, *, writing: bool) -> TargetError:
    code = str(response.get("Error", {}).get("Code") or "unknown")
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode") or 0)
    skew = _clock_skew(metadata.get("HTTPHeaders", {}))
    # A HEAD is refused without a code, so the Date of the answer is looked at too.
    if code in _CLOCK or (code in _DENIED and abs(skew) > _SKEW):
        return TargetError(
            f"{operation}: this machine's clock is {_off(skew)}",
            hint="Set the clock, and let the system keep it right (NTP).",
            permanent=True,
        )
    if code in _DENIED:
        kind = TargetReadOnly if writing else TargetError
        right = "write or delete" if writing else "read or list"
        return kind(
            f"{operation}: these keys may not do that (AccessDenied)",
            hint=f"They may not {right} there. `datasave doctor --policies` prints the rights to give; "
            "`reader` and `pruner` in the plan name keys of their own.",
            permanent=True,
        )
    if code in _CODES:
        fault, permanent, cause, hint = _CODES[code]
        region = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region", "")
        known = f" ({region})" if region and "region" in cause else ""
        return fault(f"{operation}: {cause}{known}", hint=hint, permanent=permanent)
    if code in _BUSY or status >= 500 or status in (408, 429) or status < 300:
        return TargetError(f"{operation}: the service failed ({code})", hint=_AGAIN, permanent=False)
    return TargetError(
        f"{operation}: the service refused ({code}, {status})",
        hint="Look the code up at the provider, and compare the plan's options with the bucket's settings.",
        permanent=True,
    )


def _trouble(error: BaseException, operation: str) -> TargetError:
    """What never got an answer of the service: no keys, no connection, no trust, a cut, silence."""
    from botocore import exceptions as boto
    from urllib3.exceptions import ReadTimeoutError

    if setting := _setting(error):
        cause, hint = setting
        return TargetError(f"{operation}: {cause}", hint=hint, permanent=True)
    if isinstance(error, boto.SSLError) and _TRUST.search(str(error)):
        return TargetMissing(
            f"{operation}: the server's certificate is not trusted",
            hint="Set `ca_bundle` to its certificate if it is your own server; otherwise do not go on: "
            "someone may be in between.",
            permanent=True,
        )
    silent = boto.ReadTimeoutError | boto.ConnectTimeoutError | ReadTimeoutError | TimeoutError
    if isinstance(error, silent) or _timed_out_sending(error):
        return TargetMissing(f"{operation}: the service does not answer", hint=_NETWORK, permanent=False)
    if isinstance(error, boto.EndpointConnectionError | boto.ProxyConnectionError):
        return TargetMissing(f"{operation}: the service cannot be reached", hint=_NETWORK, permanent=False)
    return TargetMissing(
        f"{operation}: the connection broke ({type(error).__name__})", hint=_NETWORK, permanent=False
    )


def _timed_out_sending(error: BaseException) -> bool:
    """Whether a broken connection is one on which nothing moved any more: urllib3 tells by its arguments."""
    inner = getattr(error, "kwargs", {}).get("error")
    return any(isinstance(cause, TimeoutError) for cause in getattr(inner, "args", ()))


def _setting(error: BaseException) -> tuple[str, str] | None:
    """(cause, hint) of what botocore refuses before it sends anything."""
    from botocore import exceptions as boto

    no_keys = boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError
    if isinstance(error, no_keys | boto.TokenRetrievalError | boto.SSOError):
        hint = "Set `access_key_id` and `secret_access_key` in the plan, or log in with Amazon's tools."
        return "no access keys were found", hint
    if isinstance(error, boto.ProfileNotFound):
        return "there is no such profile", "Correct `profile` in the plan, or the settings in ~/.aws."
    if isinstance(error, boto.NoRegionError):
        return "the region is not known", "Set `region` in the plan."
    if isinstance(error, boto.ParamValidationError | boto.InvalidEndpointConfigurationError):
        return f"an option is not usable ({type(error).__name__})", "Compare the plan with the bucket."
    return None


def _clock_skew(headers: Mapping[str, str]) -> float:
    """Seconds that this machine's clock is ahead of the service's, by the answer's Date; 0.0 if unknown."""
    try:
        there = parsedate_to_datetime(headers["date"])
    except (KeyError, TypeError, ValueError):
        return 0.0
    return (datetime.now(UTC) - there.astimezone(UTC)).total_seconds()


def _off(skew: float) -> str:
    if abs(skew) < 1:
        return "too far from the service's"
    minutes = max(1, round(abs(skew) / 60))
    length = f"{minutes} minutes" if minutes < 180 else f"{round(minutes / 60)} hours"
    return f"{length} {'ahead of' if skew > 0 else 'behind'} the service's"
