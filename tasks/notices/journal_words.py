"""Entries of the journal in plain words, for a terminal and for an auditor. No word names a patient."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from tasks.notices.wording import plain_text, size_text

_LIMIT = 400
WORDS: Mapping[str, str] = {
    "begun": "the journal was begun",
    "taken_over": "what an older version kept in {store} was taken over",
    "torn": "the last line was not whole ({bytes} bytes, as a power cut leaves it) and was dropped",
    "journal_accepted": "{who} looked at what was doubted of the journal and accepted it",
    "recovered": "the journal was brought back from {from_target} by {who}",
    "doubt": "{detail}",
    "refused": "{detail}",
    "number": "a run took number {sequence}",
    "run": "{flow}: {outcome}; {headline}",
    "trend": "sizes and counts of {source} #{sequence} were noted",
    "accepted": "{who} accepted the marks of {source} up to #{through}",
    "delivered": "{source} #{sequence} lies on {target} as {name}, {size}, read back whole",
    "removing": "{source} #{sequence} is about to be removed from {target}: {reason}",
    "removed": "{source} #{sequence} was removed from {target}: {reason}",
    "spared": "{source} #{sequence} was not removed from {target}: {reason}",
    "damaged": "{source} #{sequence} on {target} was found damaged: {detail}",
    "sound": "{source} #{sequence} on {target} was read whole and is right",
    "repairing": "{source} #{sequence} on {target} is about to be repaired from {from_target}",
    "repaired": "{source} #{sequence} on {target} was repaired from {from_target} and read back",
    "held": "{who} keeps {source} #{sequence} out of retention{until}: {reason}",
    "released": "{who} put {source} #{sequence} under retention again",
    "plan": "what the plan promises was noted",
    "plan_accepted": "{who} confirmed a change of the plan that keeps less",
    "holders": "these keys open backups: {names}",
    "key_ended": "{who} gave this machine a new signing key; those before it count until {until}",
    "rewrapped": "{source} #{sequence} on {target} was sealed anew for other holders",
    "restored": "{who} brought {source}{number} back{origin} to {where} ({how})",
    "drill": "{source} #{sequence} was restored from {target} with the key of {holder}: {outcome}",
    "proof": "a holder's key opened {sealed_name} on {target} ({how})",
    "medium": "the medium {label} of {target} was {used}",
    "thaw": "{name} on {target} was {thawed} cold storage",
    "runbook": "the runbook on {target} was written anew",
}


def entry_words(kind: str, facts: Mapping[str, Any]) -> str:
    """What an entry says; its facts as they are, where the kind is of a newer version."""
    told: dict[str, Any] = defaultdict(lambda: "?", {**facts, **_derived(kind, facts)})
    pattern = WORDS.get(kind)
    text = (
        pattern.format_map(told) if pattern else f"{kind}: {', '.join(f'{k} {v}' for k, v in facts.items())}"
    )
    return plain_text(text, _LIMIT)


def drilled(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What of a drill's certificate anybody may read."""
    try:
        certificate = json.loads(facts["certificate"])
        shown = (
            "source",
            "sequence",
            "target",
            "holder",
            "drilled",
            "seconds",
            "passed",
            "sealed_name",
            "machine",
        )
        return {name: certificate[name] for name in shown}
    except (ValueError, KeyError, TypeError):
        return {}


def _derived(kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Words that take more than putting a fact in its place."""
    make = _DERIVED.get(kind)
    return make(facts) if make else {}


def _held(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"until": f" until {facts['until']}" if facts.get("until") else ""}


def _ended(facts: Mapping[str, Any]) -> dict[str, Any]:
    numbers = [str(key).rpartition("@")[2] for key in facts.get("ended", ())]
    return {**facts, "until": ", ".join(f"#{number}" for number in numbers)}


def _holders(facts: Mapping[str, Any]) -> dict[str, Any]:
    names = [holder.get("name") or "a key" for holder in facts.get("holders", ())]
    return {"names": ", ".join(names) or "none"}


def _restored(facts: Mapping[str, Any]) -> dict[str, Any]:
    number = f" #{facts['sequence']}" if facts.get("sequence") else ""
    return {"number": number, "origin": f" from {facts['target']}" if facts.get("target") else ""}


def _drill(facts: Mapping[str, Any]) -> dict[str, Any]:
    shown = drilled(facts)
    return {**shown, "outcome": "passed" if shown.get("passed") else "FAILED"}


_DERIVED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "delivered": lambda facts: {"size": size_text(facts.get("bytes", 0))},
    "run": lambda facts: {"outcome": "succeeded" if facts.get("succeeded") else "FAILED"},
    "held": _held,
    "holders": _holders,
    "key_ended": _ended,
    "restored": _restored,
    "drill": _drill,
    "medium": lambda facts: {"used": f"used on {facts['day']}" if facts.get("day") else "made ready"},
    "thaw": lambda facts: {"thawed": "out of" if facts.get("done") else "asked for from"},
}
