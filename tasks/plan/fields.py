"""The texts that a plan is made of: names, recipients, time zones, each with its own check."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from tasks.options import problem
from tasks.plan.problems import did_you_mean
from tasks.records import ended_key

PLAN_NAME = r"[a-z0-9][a-z0-9-]{0,40}"
TARGET_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}"
# Bech32 (BIP 173): of 32 bytes, and of the 1216 bytes of an ML-KEM-768 and an X25519 key.
RECIPIENT = r"(age1[02-9ac-hj-np-z]{58}|age1pq1[02-9ac-hj-np-z]{1952})"
# Base64 of 32 bytes; its last letter carries four bits only.
SIGNER = r"ed25519:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="
# Names that Windows gives to devices; the state folder is called after the plan.
DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}


def _matching(pattern: str, cause: str, hint: str = "") -> Callable[[str], str]:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise problem(cause, hint=hint)
        return value

    return check


def _no_device(value: str) -> str:
    if value in DEVICES:
        raise problem("is a name that Windows keeps for itself; choose another")
    return value


def _holder_name(value: str) -> str:
    if not value.strip() or len(value) > 80 or not value.isprintable():
        raise problem("must be a name of 1 to 80 characters on one line")
    return value.strip()


def _no_private_key(value: str) -> str:
    if "SECRET-KEY" in value.upper():
        raise problem(
            "is a private key, which never stands in a plan",
            hint="Give the public half (age1…) of a new key: this private key has been where it may be read.",
        )
    return value


def _no_ssh_key(value: str) -> str:
    if value.startswith(("ssh-", "ecdsa-", "sk-")):
        raise problem(
            "is an SSH key, which opens no backup here",
            hint="Make a key with `datasave keys new`, and give its recipient, which begins with age1.",
        )
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError):
        guess = did_you_mean(value, available_timezones())
        raise problem(f"is not the name of a time zone, such as America/New_York{guess}") from None
    return value


PlanName = Annotated[
    str,
    AfterValidator(_matching(PLAN_NAME, "must be 1 to 41 of a-z, 0-9 and -, and not begin with -")),
    AfterValidator(_no_device),
    WithJsonSchema({"type": "string", "pattern": f"^{PLAN_NAME}$"}),
]
TargetName = Annotated[
    str,
    AfterValidator(
        _matching(TARGET_NAME, "must be 1 to 41 of A-Z, a-z, 0-9, - and _, and not begin with - or _")
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{TARGET_NAME}$"}),
]
HolderName = Annotated[str, AfterValidator(_holder_name)]
Recipient = Annotated[
    str,
    AfterValidator(_no_private_key),
    AfterValidator(_no_ssh_key),
    AfterValidator(
        _matching(
            RECIPIENT,
            "is not a recipient of age (age1… or age1pq1…), or was not copied whole",
            "Copy the whole text that begins with age1 from the holder's key file.",
        )
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{RECIPIENT}$"}),
]
Timezone = Annotated[str, AfterValidator(_timezone)]
_NO_SIGNER = "is not the public key of a machine (ed25519:…)"
_NO_END = "is not the number of a backup; write `{key: ed25519:…, until: 419}`"
_LARGEST_NUMBER = 10**18


def _signer(value: object) -> object:
    """A key, or ``{key: …, until: NUMBER}`` as the text that says both (records.ended_key)."""
    if not isinstance(value, dict):
        return _matching(SIGNER, _NO_SIGNER)(value) if isinstance(value, str) else value
    if unknown := sorted(str(name) for name in value if name not in ("key", "until")):
        raise problem(f"is no option there is: {unknown[0]}", place="signer")
    key, until = value.get("key"), value.get("until")
    if not isinstance(key, str) or not re.fullmatch(SIGNER, key):
        raise problem(_NO_SIGNER, place="key")
    if type(until) is not int or not 0 <= until < _LARGEST_NUMBER:
        raise problem(_NO_END, place="until")
    return ended_key(key, until)


_KEY = {"type": "string", "pattern": f"^{SIGNER}$"}
Signer = Annotated[
    str,
    BeforeValidator(_signer),
    WithJsonSchema(
        {
            "anyOf": [
                _KEY,
                {
                    "type": "object",
                    "properties": {"key": _KEY, "until": {"type": "integer", "minimum": 0}},
                    "required": ["key", "until"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
