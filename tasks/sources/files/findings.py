"""What there is to say about a copied folder: whether it is whole, and what nobody should be surprised by."""

from __future__ import annotations

from tasks.platform.names import listed
from tasks.records import Finding
from tasks.sources.files.index import Notes
from tasks.sources.files.tables import Measured

MOST_NAMES = 5
MOST_FINDINGS = 20
"""Files that are listed as wrong before the rest is only counted."""

_TOLD = {
    "databases": ("left out: live databases", "{}; back them up with a plan of their own kind"),
    "excluded": ("left out: by `exclude`", "{}"),
    "special": ("left out: no files", "sockets, pipes, devices or junctions: {}"),
    "late": ("left out: too new", "made after the copy's last look, in the next backup: {}"),
    "vanished": ("while copying: vanished", "gone before they could be copied: {}"),
    "deleted": ("while copying: deleted", "deleted or renamed after they were copied, still in the copy: {}"),
    "grew": ("while copying: growing", "held as they were when their copying began: {}"),
    "changed": ("while copying: changing", "may be half old and half new: {}"),
    "outside": ("links that lead out", "kept as links; what they lead to is not in this backup: {}"),
}


def findings_of(measured: Measured) -> list[Finding]:
    """All findings about a copy; names of files stand in details, never in a check's name."""
    index = Finding(check="index", passed=True, detail=f"whole, {len(measured.index.entries):,} entries")
    extra = _nothing_else(measured.extra)
    return [index, *_files_whole(measured), extra, *_told(measured.index.notes)]


def _files_whole(measured: Measured) -> list[Finding]:
    check, wrong = "files whole", measured.wrong
    if not wrong:
        sizes = [entry.size for entry in measured.index.entries if entry.kind == "file"]
        detail = f"{len(sizes):,} files, {sum(sizes):,} bytes, each with its recorded sha256"
        return [Finding(check=check, passed=bool(sizes), detail=detail)]
    findings = [Finding(check=check, passed=False, detail=text) for text in wrong[:MOST_FINDINGS]]
    if len(wrong) > MOST_FINDINGS:
        detail = f"{len(wrong) - MOST_FINDINGS:,} more files are not as they were copied"
        findings.append(Finding(check=check, passed=False, detail=detail))
    return findings


def _nothing_else(extra: list[str]) -> Finding:
    named = listed(extra[:MOST_NAMES], len(extra))
    detail = f"not in the index: {named}" if extra else "no file that the index does not know"
    return Finding(check="nothing else", passed=not extra, detail=detail)


def _told(notes: Notes) -> list[Finding]:
    """What nobody should be surprised by after a restore: findings that passed, for the report."""
    findings = []
    for sort, (check, detail) in _TOLD.items():
        count = notes.counts.get(sort, 0)
        if count:
            named = f"{count:,}: {listed(notes.names[sort], count)}"
            findings.append(Finding(check=check, passed=True, detail=detail.format(named)))
    return findings
