"""``datasave fetch``: backups kept by a second machine, out of reach of the one that makes them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN
from deployments.cli.rescue import BY_ADDRESS, places_at
from deployments.cli.screen import good, say, steps, warning
from deployments.cli.signers import SignerOption, vouched
from tasks.errors import PlanError
from tasks.notices.wording import count_text, size_text
from tasks.recovery.fetch import doubts, fetch_one, fetched_to, folder_for, lacking, write_recover
from tasks.recovery.find import Choice, Origin, shelves
from tasks.targets.base import Target
from tasks.targets.shared.addresses import Access


def fetch(
    place: Annotated[str, Parameter(help="Where the backups are.")],
    /,
    *,
    to: Annotated[Path, Parameter(help="A new or empty folder, or the one that was given before.")],
    signer: SignerOption = None,
    list: Annotated[bool, Parameter(negative=(), help="Only show what would be fetched.")] = False,
    access: Annotated[Access, Parameter(name="*")] = BY_ADDRESS,
) -> int:
    """Fetch new verified backups from a place into a folder of this machine; nothing is ever removed.

    For a second machine, of which the one that makes the backups knows nothing: whoever takes over the first
    can delete what that one can delete, and cannot reach what was fetched. It needs no key, no plan, and no
    right but to read. Each archive is read whole and held to its signed manifest. Run it each day, by cron
    or the task scheduler. Exit status 1 where a backup there is damaged or not signed by that machine, or
    where the place has lost what was fetched before.

    **Examples:**

        datasave fetch /mnt/nas/datasave --to /srv/second --signer academic-acid-acne-acquire-acrobat-…

        datasave fetch sftp://reader@nas.office/datasave --key id_ed25519 --host-key nas.pub --to D:/second

        datasave fetch s3://office/front-office --region us-east-1 --to D:/second --list
    """
    with ExitStack() as stack:
        places = [stack.enter_context(one) for one in places_at(place, access, None)]
        _refuse_overlap(place, to.absolute())
        origins, mine = [Origin(one) for one in places], fetched_to(to.absolute())
        # What was fetched says whose backups they are also where the place was emptied.
        trusted = vouched([*origins, *mine], signer, (), DEFAULT_PLAN)
        found = shelves([replace(one, trusted=trusted) for one in origins])
        kept = shelves([replace(one, trusted=trusted) for one in mine])
        new = lacking(found, kept)
        if list:
            return _show(new)
        folder = stack.enter_context(folder_for(to.absolute()))
        fetched = all([_fetched(one, folder) for one in new])
        write_recover(found, folder, trusted)
    doubted = [*doubts(found, kept)]
    for finding in doubted:
        warning(f"{finding.check}: {finding.detail}")
    good(f"{count_text(len(new), 'new backup')} there")
    return 0 if fetched and not doubted else 1


def _refuse_overlap(place: str, to: Path) -> None:
    if "://" in place:
        return
    there, here = Path(place).expanduser().resolve(), to.resolve()
    if there.is_relative_to(here) or here.is_relative_to(there):
        raise PlanError(
            f"{to} and {place} lie in each other",
            hint="Give a folder on another disk, which the machine that makes the backups can't reach.",
        )


def _show(new: Sequence[Choice]) -> int:
    for choice in new:
        say(f"{choice.backup.full_name}, {size_text(choice.backup.bytes)}")
    say(f"{count_text(len(new), 'backup')} would be fetched.")
    return 0


def _fetched(choice: Choice, folder: Target) -> bool:
    title = f"fetch {choice.backup.name}"
    with steps() as progress:
        finding = fetch_one(choice, folder, lambda done, total: progress(title, done, total))
    (good if finding.passed else warning)(f"{finding.check}: {finding.detail}")
    return finding.passed
