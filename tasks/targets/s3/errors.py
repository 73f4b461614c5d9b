"""What an S3 service, botocore or the network says -> the TargetError branch, with a hint.

Codes are those of Amazon's "Error responses" and of the services that imitate it. A message of theirs is
never quoted: it can be missing, and it can hold names and keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tasks.errors import TargetError, TargetFull, TargetMissing
from tasks.targets.shared.errors import NO_OBJECT, TargetFault, Translator, by_code, refused

_KEYS = "Correct `access_key_id` and `secret_access_key`, or make new keys at the provider."
_NETWORK = "Look at the internet connection, and whether `endpoint` is right."
_SKEW = 15 * 60

_UNKNOWN_CALL = ("NotImplemented", "MethodNotAllowed", "501", "405")
_OTHER_REGION = TargetFault(
    TargetError, "the bucket is in another region", "Set `region` to the bucket's region."
)

_CODES = by_code(
    (
        ("InvalidAccessKeyId", "NotSignedUp", "InvalidClientTokenId"),
        TargetFault(TargetError, "the service does not know the access key", _KEYS),
    ),
    (("SignatureDoesNotMatch",), TargetFault(TargetError, "the secret key is wrong", _KEYS)),
    (
        ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException"),
        TargetFault(TargetError, "the login has expired", "Log in again, or use keys that do not expire."),
    ),
    (
        ("NoSuchBucket",),
        TargetFault(
            TargetMissing,
            "there is no such bucket",
            "Create the bucket, or correct `bucket`, `region` and `endpoint` in the plan.",
        ),
    ),
    (("NoSuchKey", "NoSuchVersion", "404", "NotFound"), NO_OBJECT),
    (
        ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
        _OTHER_REGION,
    ),
    (
        ("QuotaExceeded", "InsufficientStorage", "StorageFull", "XMinioStorageFull", "507"),
        TargetFault(
            TargetFull,
            "the bucket or the account is full",
            "Raise the quota, or let the plan keep fewer backups.",
        ),
    ),
    (
        ("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
        TargetFault(
            TargetError,
            "the data was damaged on its way",
            "Look at the network, if it happens again.",
            permanent=False,
        ),
    ),
    (
        ("InvalidPart", "InvalidPartOrder", "NoSuchUpload"),
        TargetFault(
            TargetError,
            "the service lost pieces of the upload",
            "It is sent again. Look whether another machine sends the same backup.",
            permanent=False,
        ),
    ),
    (
        ("EntityTooLarge", "EntityTooSmall"),
        TargetFault(
            TargetError, "the service takes no object of that size", "Ask the provider about its limits."
        ),
    ),
    (
        ("InvalidStorageClass",),
        TargetFault(TargetError, "the service has no such storage class", "Correct `storage_class`."),
    ),
    (
        ("PreconditionFailed",),
        TargetFault(
            TargetError,
            "it was replaced while it was being read",
            "Try again when no backup is running.",
            permanent=False,
        ),
    ),
    (
        _UNKNOWN_CALL,
        TargetFault(TargetError, "the service cannot do this", "Leave out the option that asks for it."),
    ),
)

_DENIED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"})
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_BUSY = frozenset({"SlowDown", "RequestTimeout", "Throttling", "TooManyRequests", "OperationAborted"})
_FAILED = TargetFault(
    TargetError,
    "the service failed",
    "The service is busy or failing. Nothing is wrong here; it is tried again.",
    permanent=False,
)
_REFUSED = TargetFault(
    TargetError,
    "the service refused",
    "Look the code up at the provider, and compare the plan's options with the bucket's settings.",
)

_UNTRUSTED = TargetFault(
    TargetMissing,
    "the server's certificate is not trusted",
    "Set `ca_bundle` to its certificate if it is your own server; otherwise do not go on: someone may be in "
    "between.",
)
_SILENT = TargetFault(TargetMissing, "the service does not answer", _NETWORK, permanent=False)
_UNREACHABLE = TargetFault(TargetMissing, "the service cannot be reached", _NETWORK, permanent=False)
_BROKEN = TargetFault(TargetMissing, "the connection broke", _NETWORK, permanent=False)
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


class S3Errors(Translator):
    """What botocore raises, and urllib3 beneath it."""

    def raised(self) -> tuple[type[BaseException], ...]:
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        return ClientError, BotoCoreError, HTTPError, OSError

    def translate(self, error: BaseException, operation: str, *, writing: bool = False) -> TargetError:
        from botocore.exceptions import ClientError

        if isinstance(error, ClientError):
            return _refusal(error.response, operation, writing=writing)
        if setting := _setting(error):
            return setting.error(operation)
        fault = _unanswered(error)
        return fault.error(operation, f" ({type(error).__name__})" if fault is _BROKEN else "")


S3_ERRORS = S3Errors()
translate, translated, is_permanent = S3_ERRORS.translate, S3_ERRORS.translated, S3_ERRORS.is_permanent


def _refusal(response: Mapping[str, Any], operation: str, *, writing: bool) -> TargetError:
    code = str(response.get("Error", {}).get("Code") or "unknown")
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode") or 0)
    headers = metadata.get("HTTPHeaders", {})
    skew = _clock_skew(headers)
    # A HEAD is refused without a code, so the Date of the answer is looked at too.
    if code in _CLOCK or (code in _DENIED and abs(skew) > _SKEW):
        hint = "Set the clock, and let the system keep it right (NTP)."
        return TargetFault(TargetError, f"this machine's clock is {_off(skew)}", hint).error(operation)
    if code in _DENIED:
        return _no_right(writing=writing).error(operation)
    if fault := _CODES.get(code):
        region = headers.get("x-amz-bucket-region", "")
        return fault.error(operation, f" ({region})" if region and fault is _OTHER_REGION else "")
    if code in _BUSY or status >= 500 or status in (408, 429) or status < 300:
        return _FAILED.error(operation, f" ({code})")
    return _REFUSED.error(operation, f" ({code}, {status})")


def _no_right(*, writing: bool) -> TargetFault:
    return refused(
        "these keys may not do that (AccessDenied)",
        f"They may not {'write or delete' if writing else 'read or list'} there. "
        "`datasave doctor --policies` prints the rights to give; `reader` and `pruner` in the plan name keys "
        "of their own.",
        writing=writing,
    )


def _unanswered(error: BaseException) -> TargetFault:
    """What never got an answer of the service: no connection, no trust, a cut, silence."""
    from botocore import exceptions as boto
    from urllib3.exceptions import ReadTimeoutError

    if isinstance(error, boto.SSLError) and _TRUST.search(str(error)):
        return _UNTRUSTED
    silent = boto.ReadTimeoutError | boto.ConnectTimeoutError | ReadTimeoutError | TimeoutError
    if isinstance(error, silent) or _timed_out_sending(error):
        return _SILENT
    if isinstance(error, boto.EndpointConnectionError | boto.ProxyConnectionError):
        return _UNREACHABLE
    return _BROKEN


def _timed_out_sending(error: BaseException) -> bool:
    """Whether a broken connection is one on which nothing moved any more: urllib3 tells by its arguments."""
    inner = getattr(error, "kwargs", {}).get("error")
    return any(isinstance(cause, TimeoutError) for cause in getattr(inner, "args", ()))


def _setting(error: BaseException) -> TargetFault | None:
    """What botocore refuses before it sends anything; None for errors of another sort."""
    from botocore import exceptions as boto

    no_keys = boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError
    if isinstance(error, no_keys | boto.TokenRetrievalError | boto.SSOError):
        hint = "Set `access_key_id` and `secret_access_key` in the plan, or log in with Amazon's tools."
        return TargetFault(TargetError, "no access keys were found", hint)
    if isinstance(error, boto.ProfileNotFound):
        hint = "Correct `profile` in the plan, or the settings in ~/.aws."
        return TargetFault(TargetError, "there is no such profile", hint)
    if isinstance(error, boto.NoRegionError):
        return TargetFault(TargetError, "the region is not known", "Set `region` in the plan.")
    if isinstance(error, boto.ParamValidationError | boto.InvalidEndpointConfigurationError):
        cause = f"an option is not usable ({type(error).__name__})"
        return TargetFault(TargetError, cause, "Compare the plan with the bucket.")
    return None


def _clock_skew(headers: Mapping[str, str]) -> float:
    """Seconds that this machine's clock is ahead of the service's, by the answer's Date; 0.0 if unknown."""
    try:
        there = parsedate_to_datetime(headers["date"])
    except (KeyError, TypeError, ValueError):
        return 0.0
    return (datetime.now(UTC) - there.astimezone(UTC)).total_seconds()


def _off(skew: float) -> str:
    """How far the clock is off, in minutes up to three hours: humanize would round to "2 hours"."""
    if abs(skew) < 1:
        return "too far from the service's"
    minutes = max(1, round(abs(skew) / 60))
    length = f"{minutes} minutes" if minutes < 180 else f"{round(minutes / 60)} hours"
    return f"{length} {'ahead of' if skew > 0 else 'behind'} the service's"
