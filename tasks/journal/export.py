"""An auditor's pack: a period of the journal as one signed JSON, and as a page in plain words.

What is signed: the line "datasave journal export v1", then the document without its signature as canonical
JSON (sorted keys, no spaces, UTF-8), as for manifests. Tables, counts and what only holders can read are left
out; certificates are there without their sealed part.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tasks.journal.journal import Journal
from tasks.journal.kinds import Kind
from tasks.journal.lines import Entry
from tasks.manifests.signing import PUBLIC_PREFIX, json_ready, public_text
from tasks.notices.journal_page import JournalPage, JournalSection, journal_html
from tasks.notices.journal_words import drilled, entry_words
from tasks.notices.wording import count_text, when_text
from tasks.options import Json

_FORMAT = b"datasave journal export v1\n"
# What an auditor asks, and the kinds of entries that answer; in this order on the page.
SECTIONS: Mapping[str, tuple[str, tuple[Kind, ...]]] = {
    "What was backed up, and where it was put": ("Nothing in this period.", (Kind.DELIVERED,)),
    "What was proved, and with whose key": ("Nothing in this period.", (Kind.DRILL, Kind.PROOF, Kind.SOUND)),
    "What was removed, and why": ("Nothing in this period.", (Kind.REMOVED, Kind.SPARED)),
    "What was found damaged, and repaired": ("Nothing in this period.", (Kind.DAMAGED, Kind.REPAIRED)),
    "Who restored or copied what, and where to": ("Nobody in this period.", (Kind.RESTORED,)),
    "What changed in plan, keys and holds": (
        "Nothing in this period.",
        (
            Kind.PLAN,
            Kind.PLAN_ACCEPTED,
            Kind.HOLDERS,
            Kind.KEY_ENDED,
            Kind.REWRAPPED,
            Kind.HELD,
            Kind.RELEASED,
            Kind.ACCEPTED,
        ),
    ),
    "What a Prefect server asked for that was not done": ("Nothing in this period.", (Kind.REFUSED,)),
    "What happened to the journal itself": (
        "Nothing in this period.",
        (Kind.TAKEN_OVER, Kind.TORN, Kind.DOUBT, Kind.JOURNAL_ACCEPTED, Kind.RECOVERED),
    ),
    "Which runs there were": ("None in this period.", (Kind.RUN,)),
}
_RUN_FACTS = ("flow", "started", "finished", "succeeded", "headline")
_STILL = "What lay on the targets at the end of the period"


class Pack(NamedTuple):
    """The two files of an export."""

    document: bytes
    page: str


def export(
    journal: Journal, key: Ed25519PrivateKey, plan: str, first: date, last: date, timezone: tzinfo, name: str
) -> Pack:
    """The pack of the days from ``first`` to ``last``, both in it; ``name``: that of the document's file."""
    begin = datetime.combine(first, datetime.min.time(), timezone)
    end = datetime.combine(last + timedelta(days=1), datetime.min.time(), timezone)
    told = [entry for entry in journal.entries() if entry.time < end]
    within = [entry for entry in told if entry.time >= begin]
    made, head, defects = datetime.now(UTC).replace(microsecond=0), journal.head(), journal.defects()
    lying = resting(told)
    document = {
        "format": 1,
        "plan": plan,
        "from": first.isoformat(),
        "to": last.isoformat(),
        "made": json_ready(made),
        "journal": {"length": head.length, "sha256": head.sha256, "defects": defects},
        "entries": [
            _shown(entry) for _, kinds in SECTIONS.values() for entry in within if entry.kind in kinds
        ],
        "resting": [entry.number for entry in lying],
    }
    page = JournalPage(
        office=plan,
        period=f"{first.isoformat()} to {last.isoformat()}",
        made=when_text(made, timezone),
        machine=public_text(key.public_key()),
        entries=count_text(len(within), "entry", "entries"),
        head=f"{head.length}: {head.sha256}",
        signature_file=name,
        defects=tuple(defects),
        sections=_sections(within, lying, timezone),
    )
    return Pack(_signed(document, key), journal_html(page))


def pack_defect(data: bytes) -> str:
    """Why the document of a pack is not what the machine it names signed, "" if it is."""
    try:
        document = json.loads(data)
        public = base64.b64decode(document["machine"].removeprefix(PUBLIC_PREFIX), validate=True)
        signature = base64.b64decode(document.pop("signature"), validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _FORMAT + _canonical(document))
        _ = document["plan"], document["from"], document["to"], document["journal"]["defects"]
    except (InvalidSignature, ValueError, KeyError, TypeError, AttributeError):
        return "signature does not match"
    return ""


def resting(entries: Iterable[Entry]) -> list[Entry]:
    """Of what was delivered, the entries of what was not removed since."""
    lying: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        facts = entry.facts
        if entry.kind == Kind.DELIVERED:
            lying[facts["target"], facts["name"]] = entry
        elif entry.kind == Kind.REMOVED:
            lying.pop((facts["target"], facts["name"]), None)
        elif entry.kind == Kind.REWRAPPED and (facts["target"], facts["old_name"]) in lying:
            lying[facts["target"], facts["name"]] = lying.pop((facts["target"], facts["old_name"]))
    return list(lying.values())


def _sections(
    within: Sequence[Entry], lying: Sequence[Entry], timezone: tzinfo
) -> tuple[JournalSection, ...]:
    found = []
    for number, (title, (none, kinds)) in enumerate(SECTIONS.items()):
        found.append(_section(title, none, [entry for entry in within if entry.kind in kinds], timezone))
        if not number:
            found.append(_section(_STILL, "Nothing.", lying, timezone))
    return tuple(found)


def _section(title: str, none: str, entries: Sequence[Entry], timezone: tzinfo) -> JournalSection:
    rows = tuple((when_text(entry.time, timezone), entry_words(entry.kind, entry.facts)) for entry in entries)
    return JournalSection(title, none, rows)


def _shown(entry: Entry) -> Json:
    facts = entry.facts
    if entry.kind == Kind.DRILL:
        facts = drilled(facts)
    elif entry.kind == Kind.RUN:
        facts = {name: facts[name] for name in _RUN_FACTS if name in facts}
    said = entry_words(entry.kind, entry.facts)
    return {
        "number": entry.number,
        "time": json_ready(entry.time),
        "kind": entry.kind,
        "facts": facts,
        "said": said,
    }


def _signed(document: Json, key: Ed25519PrivateKey) -> bytes:
    named = {**document, "machine": public_text(key.public_key())}
    signature = base64.b64encode(key.sign(_FORMAT + _canonical(named))).decode("ascii")
    return (json.dumps({**named, "signature": signature}, indent=2, ensure_ascii=False) + "\n").encode()


def _canonical(document: Json) -> bytes:
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
