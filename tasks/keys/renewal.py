"""The end of a machine's signing key: a new one takes its place, and what the old one signed still counts."""

from __future__ import annotations

from typing import NamedTuple

from tasks.backup.workspace import exclusively
from tasks.context import PlanContext
from tasks.journal.journal import Journal
from tasks.journal.kinds import Kind
from tasks.manifests.signing import load_or_create_key, public_text
from tasks.platform.accounts import account_name
from tasks.platform.files import kept_in_state, sync_folder
from tasks.records import ended_key, key_of


class Renewed(NamedTuple):
    """The key that ended, with the number of its last backup, and the one in its place."""

    old: str
    until: int
    new: str


def renew_key(context: PlanContext) -> Renewed:
    """Sign with a new key from now on. Raises BusyError beside a run, StateError.

    The journal says so first, signed with the new key; a renewal that was cut off between the two is finished
    by the next one. Nothing of the old private key is kept: whoever took it can forge no newer backup, and of
    older numbers none that this machine did not deliver.
    """
    with exclusively(context.staging), kept_in_state("renew the machine's key"):
        path = context.state / "machine.key"
        following = path.with_name("machine.key.next")
        old = public_text(context.machine_key().public_key())
        key = load_or_create_key(following)
        numbers = (entry.facts["sequence"] for entry in context.journal.entries(Kind.NUMBER, Kind.DELIVERED))
        until = max(numbers, default=0)
        trusted = [old, *context.journal.machines(), *(key_of(signer) for signer in context.plan.signers)]
        journal = Journal(context.journal.folder, key, trusted)
        earlier = (signer for signer in context.journal.ended() if key_of(signer) != old)
        journal.append(Kind.KEY_ENDED, ended=[*earlier, ended_key(old, until)], who=account_name())
        following.replace(path)
        sync_folder(path.parent)
    return Renewed(old, until, public_text(key.public_key()))
