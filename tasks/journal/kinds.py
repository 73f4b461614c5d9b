"""What entries of the journal are about, and the facts of each. This is the one place that lists them."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A kind of entry. Facts are names, numbers, sizes in bytes, digests, places and who.

    Never a patient's datum. ``target`` is a target's name in the plan, ``source`` the full name of what is
    backed up, ``sequence`` the number of a backup, ``name`` an archive's full name on its target, slot
    included. Times among facts are UTC text ending in ``Z``, days ISO dates. ``who`` is the account's name
    on this machine.

    A reader takes facts that it does not know, and kinds, as they come: they are of a newer version.
    """

    BEGUN = "begun"
    """{plan, program}: the journal of a plan, begun by that version of the program."""
    TAKEN_OVER = "taken_over"
    """{store, aside}: a file or folder of state of before there was a journal; where it is kept now."""
    TORN = "torn"
    """{bytes}: the last line was not whole, as a power cut leaves it, and was dropped."""
    JOURNAL_ACCEPTED = "journal_accepted"
    """{defects, length, who, forgets}: someone looked at damage of the journal, and at what places knew, up
    to that entry of theirs; from here on that is no reason to stop. ``forgets``, left out where it isn't so:
    what people said may be forgotten, and nothing is removed until it is accepted once more."""
    RECOVERED = "recovered"
    """{from_target, length, machines, who}: the journal before this came back from a target. It was written
    by these machines (public keys), whose entries and backups count here. ``length``: how far the journals
    went that are settled by it."""
    KEY_ENDED = "key_ended"
    """{ended, who}: this machine signs with a new key, that of this entry. ``ended``: the keys before it,
    each ``ed25519:…@number``: a backup of a higher number, signed by it, does not count."""
    DOUBT = "doubt"
    """{target, detail, length, sha256}: a place knows what this journal doesn't. It stands until the journal
    is recovered, or someone accepts it."""

    REFUSED = "refused"
    """{detail, run}: what a Prefect server asked for and was not done; ``run`` is the id of its run there."""

    NUMBER = "number"
    """{sequence, run}: a run took the next number. ``run`` tells the run and its attempt."""
    RUN = "run"
    """{…health.history.PastRun}: how a run ended."""
    TREND = "trend"
    """{source, …policy.trend_rules.Snapshot}, as trend_facts.py writes it: what later runs are held to."""
    ACCEPTED = "accepted"
    """{source, through, who}: marks of backups up to that number, looked at and accepted."""

    DELIVERED = "delivered"
    """{target, source, sequence, name, bytes, sha256}: read back whole, and its manifest is in place."""
    REMOVING = "removing"
    """{target, source, sequence, name, reason}: about to be removed by us."""
    REMOVED = "removed"
    """{target, source, sequence, name, reason}: removed by us."""
    SPARED = "spared"
    """{target, source, sequence, name, reason}: the removal was given up, and nothing was removed."""
    DAMAGED = "damaged"
    """{target, source, sequence, name, found_by, detail}: seen to be damaged. It doesn't count until it is
    repaired or found sound."""
    SOUND = "sound"
    """{target, source, sequence, name}: read whole again, and right."""
    REPAIRING = "repairing"
    """{target, source, sequence, name, from_target}: about to be put back from another place."""
    REPAIRED = "repaired"
    """{target, source, sequence, name, from_target}: a good copy was put in its place and read back."""
    HELD = "held"
    """{source, sequence, reason, until, who}: kept out of retention; ``until`` a day or null."""
    RELEASED = "released"
    """{source, sequence, who}: under retention again."""

    PLAN = "plan"
    """{…what was promised…, sha256}: the plan as a run found it, noted when it changed."""
    PLAN_ACCEPTED = "plan_accepted"
    """{…, who}: someone confirmed a change that loosens what was promised."""
    HOLDERS = "holders"
    """{holders: [{name, recipient, since}], signers}: whose keys open backups, whose signatures count."""
    REWRAPPED = "rewrapped"
    """{target, source, sequence, name, old_name}: sealed anew for other holders."""

    RESTORED = "restored"
    """{source, sequence, name, target, who, where, how}: data was opened. ``how``: restore, rescue, file,
    in place, drill. ``where`` is a folder or a host."""
    DRILL = "drill"
    """{target, name, certificate}: a drill's certificate as it lies on the target, its JSON as text."""
    PROOF = "proof"
    """{recipient, target, sealed_name, at, how}: a holder's key was seen to open what is sealed for it."""
    MEDIUM = "medium"
    """{target, label, id, made, held, day}: a medium made ready, or (with a ``day``) used."""
    THAW = "thaw"
    """{target, name, at, expected, done}: an archive was asked for from cold storage, or is done with."""
    RUNBOOK = "runbook"
    """{target, edition}: an edition of the runbook was written there."""
