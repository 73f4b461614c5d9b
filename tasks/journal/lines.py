"""One line of the journal: how it is written, read and signed.

A line is JSON without spaces, its fields in one order, the signature last::

    {"number":2,"kind":"number","time":"2026-11-23T02:00:00Z","facts":{"run":"…","sequence":417},
     "previous":"<sha256>","machine":"ed25519:…","signature":"…"}

``previous`` is the sha256 of the line before, without its line feed, "" in the first line. The signature
covers a line that names the format, then the line itself as if it ended before ``,"signature"``: exactly
the bytes that lie there are checked, and nothing is written anew for it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tasks.manifests.signing import PUBLIC_PREFIX, json_ready, public_text
from tasks.options import Json
from tasks.records import Record

UNREADABLE = "is no entry"
ALTERED = "was altered after it was signed"
_SIGNED_FORMAT = b"datasave journal v1\n"
_BEGIN = re.compile(rb'\{"number":([1-9][0-9]{0,15}),"kind":"([a-z_]{1,40})","time":"')
_LINE = re.compile(
    rb'(?P<signed>\{"number":[1-9][0-9]{0,15},"kind":"[a-z_]{1,40}","time":"[0-9T:.-]{19,26}Z","facts":\{.*\}'
    rb',"previous":"(?P<previous>(?:[0-9a-f]{64})?)","machine":"ed25519:(?P<machine>[A-Za-z0-9+/]{43}=)")'
    rb',"signature":"(?P<signature>[A-Za-z0-9+/]{86}==)"\}'
)


class Entry(Record):
    """One thing that was done or seen. ``previous`` and the rest as the module says; ``time`` is UTC."""

    number: int
    time: datetime
    kind: str
    facts: Json
    previous: str
    machine: str
    signature: str


class Line:
    """A line as it lies there, without its line feed. What it says is looked at when it is asked for.

    ``kind`` is "" and ``number`` 0 where it doesn't even begin as an entry does.
    """

    __slots__ = ("_parts", "_sha256", "kind", "number", "raw")

    def __init__(self, raw: bytes) -> None:
        begin = _BEGIN.match(raw)
        self.raw = raw
        self.number = int(begin[1]) if begin else 0
        self.kind = begin[2].decode("ascii") if begin else ""
        self._sha256 = ""
        self._parts: re.Match[bytes] | None = None

    @property
    def sha256(self) -> str:
        """What the next line names as the one before it."""
        self._sha256 = self._sha256 or hashlib.sha256(self.raw).hexdigest()
        return self._sha256

    @property
    def parts(self) -> re.Match[bytes] | None:
        """The whole line taken apart, None where it is no entry."""
        self._parts = self._parts or _LINE.fullmatch(self.raw)
        return self._parts

    @property
    def previous(self) -> str:
        """The sha256 of the line before it as it was written, "" for the first and where it is no entry."""
        return self.parts["previous"].decode("ascii") if self.parts else ""

    @property
    def machine(self) -> str:
        """Whose signature it states, as manifests have it."""
        return PUBLIC_PREFIX + self.parts["machine"].decode("ascii") if self.parts else ""

    @property
    def entry(self) -> Entry:
        """What it says, of a line that is believed: such a line is as `signed_line` made it."""
        return Entry.model_validate_json(self.raw)


def signed_line(
    number: int, kind: str, time: datetime, facts: Json, previous: str, key: Ed25519PrivateKey
) -> Line:
    """The line of an entry. Raises ValueError for a kind or facts that cannot be written."""
    fields = {
        "number": number,
        "kind": str(kind),
        "time": time,
        "facts": {name: facts[name] for name in sorted(facts)},
        "previous": previous,
        "machine": public_text(key.public_key()),
    }
    text = json.dumps(
        fields, default=json_ready, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
    signature = base64.b64encode(key.sign(_SIGNED_FORMAT + text)).decode("ascii")
    line = Line(text[:-1] + f',"signature":"{signature}"}}'.encode())
    if not line.parts:
        raise ValueError(f"{kind!r} is no kind of entry")
    return line


def line_defect(line: Line, trusted: frozenset[str]) -> str:
    """Why a line is not to be believed, to follow "entry 7", "" if it is.

    ``trusted`` holds public keys as manifests/signing.py writes them.
    """
    parts = line.parts
    if parts is None:
        return UNREADABLE
    try:
        public = Ed25519PublicKey.from_public_bytes(_decoded(parts["machine"]))
        public.verify(_decoded(parts["signature"]), _SIGNED_FORMAT + parts["signed"] + b"}")
    except (InvalidSignature, ValueError):
        return ALTERED
    if line.machine not in trusted:
        return f"was signed by another machine ({line.machine[: len(PUBLIC_PREFIX) + 8]}…)"
    return ""


def _decoded(text: bytes) -> bytes:
    """Raises ValueError but for the one spelling of these bytes: stray bits would be an edit unseen."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw) != text:
        raise ValueError("not canonical")
    return raw
