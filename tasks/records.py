"""The frozen records that pass between steps, and that targets are written from.

They hold paths, sizes in bytes, digests in lowercase hex and UTC times; never bytes of data, a key or a
patient's value: a step's result is kept by Prefect in the clear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Progress = Callable[[int, int], None]
"""Called with (done, total), both in the step's own unit (bytes, pages, rows); total 0 = unknown."""


def no_progress(_done: int, _total: int) -> None:
    """A Progress for callers that want none."""


class Record(BaseModel):
    """Immutable, closed to unknown fields, JSON both ways."""

    # A field that was renamed is still written and read under its first name, its alias.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class Published(Record):
    """A record that is signed as JSON. ``later``: fields that its first readers did not know.

    They are left out where they have their default: signatures made before there was such a field match.
    """

    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        for name in self.later:
            if getattr(self, name) == type(self).model_fields[name].default:
                found.pop(name, None)
        return found


class Engine(Record):
    """The engine that answered when the source was checked. ``bytes``: how large a copy will be, about.

    ``data`` is the path of its live data on this machine; "" where that is elsewhere or it doesn't say.
    """

    kind: str
    version: str
    bytes: int
    data: str = ""


class Scope(Record):
    """Which of a plan's sources a step works on. ``source_name`` is "" for the main one.

    ``id`` is the name of the source's folder in staging: the flow run's id, for a further source with its
    name behind it, after a dot; "" for steps that need none.
    """

    plan: Path
    id: str = ""
    source_name: str = Field(default="", alias="part")


class Run(Scope):
    """One backup run of a source: what the first step settles and every later step is handed.

    ``sequence`` grows by one a run and orders backups. ``not_due``: targets left out, and why.
    """

    source: str
    sequence: int
    started: datetime
    engine: Engine
    not_due: dict[str, str] = {}


class CopiedFile(Record):
    """One file of a copy. ``path`` is relative to the copy's folder, with forward slashes."""

    path: str
    bytes: int
    sha256: str


class LiveCopy(Record):
    """A source's live copy in staging: a folder of its own, and what is in it."""

    folder: Path
    engine: Engine
    files: tuple[CopiedFile, ...]
    started: datetime
    finished: datetime

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)


class Table(Record):
    """A table as the engine names it. ``reference`` and ``columns`` are quoted, ready for SQL.

    ``digest`` is an SQL aggregate over the table's rows, computed by the server: a hexadecimal text, the same
    in whatever order the rows are read, in which duplicates count and any changed value shows. Without one
    (version 1) the values of ``columns`` are carried over and hashed here.
    """

    name: str
    reference: str
    columns: tuple[str, ...]
    digest: str = ""

    @property
    def query(self) -> str:
        """SQL for the row count and the digest, in one row."""
        return f"SELECT count(*), {self.digest} FROM {self.reference}"  # noqa: S608 - quoted names

    @property
    def counting(self) -> str:
        """SQL for the row count alone."""
        return f"SELECT count(*) FROM {self.reference}"  # noqa: S608 - quoted names

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns without their quotation marks."""
        return tuple(column.strip('"`[]') for column in self.columns)


class TableProfile(Record):
    """Row count and content fingerprint of one table (see tasks/checks/measure.py), names of its columns."""

    name: str
    rows: int
    fingerprint: str
    columns: tuple[str, ...] = ()

    @classmethod
    def digested(cls, table: Table, rows: int, digest: str | None) -> TableProfile:
        """From what ``table.query`` gave: a fingerprint of version 2, ``2:<rows>:<digest>``."""
        text = f"2:{rows}:{(digest or '0').lower()}"
        return cls(name=table.name, rows=rows, fingerprint=text, columns=table.column_names)

    @property
    def version(self) -> int:
        """2 where the server computed the fingerprint, 1 where it reads ``<rows>:<hex>``."""
        return 2 if self.fingerprint.count(":") == 2 else 1


class Profile(Record):
    """What a copy holds: every table, in name order. It is compared after each restore."""

    tables: tuple[TableProfile, ...]

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(table.rows for table in self.tables)

    @property
    def version(self) -> int:
        """Of its fingerprints: the highest, for an engine may have tables without a digest."""
        return max((table.version for table in self.tables), default=2)


class Finding(Published):
    """One result of one check. ``table`` is set where the finding is about a single table.

    ``unchecked``: the check could not be made. It has not passed then, and has found nothing wrong either;
    ``detail`` says what kept it from being made, and what to do about that.
    """

    later = ("unchecked",)

    check: str
    passed: bool
    detail: str
    table: str | None = None
    unchecked: bool = False

    @model_validator(mode="after")
    def _one_outcome(self) -> Finding:
        if self.passed and self.unchecked:
            raise ValueError("a check that could not be made has not passed")
        return self

    @property
    def failed(self) -> bool:
        """Whether the check was made and something was wrong."""
        return not self.passed and not self.unchecked


def unchecked_in(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Names of the checks that could not be made, each once."""
    return tuple(dict.fromkeys(finding.check for finding in findings if finding.unchecked))


class Validated(Record):
    """The engine's own checks of the copy, all passed, and its profile."""

    findings: tuple[Finding, ...]
    profile: Profile


class Sealed(Record):
    """The sealed archive in staging (.tar.zst.age). ``name`` is its file name without a folder.

    ``archive_bytes`` and ``archive_sha256`` are of the plain archive (.tar.zst) inside. An earlier version
    didn't write them down in staging; the manifest has them.
    """

    path: Path
    name: str
    bytes: int
    sha256: str
    archive_bytes: int = 0
    archive_sha256: str = ""


class Rehearsed(Record):
    """Evidence that the sealed archive was opened and counted; ``manifest`` in staging states it, signed.

    ``anomalies`` say in words why the backup is marked (tasks/policy/trend_rules.py), if it is.
    """

    findings: tuple[Finding, ...]
    seconds: float
    manifest: Path
    anomalies: tuple[str, ...] = Field(default=(), alias="suspicions")


class Placed(Record):
    """A sealed archive at rest on a target, under its full name there."""

    target: str
    name: str
    bytes: int
    seconds: float


class Removed(Record):
    """A backup that was removed from a target: its full name there, its number, and why it went."""

    name: str
    sequence: int
    reason: str


def _as_removed(value: object) -> object:
    # Runs on record from before removals had reasons hold their names alone.
    return {"name": value, "sequence": 0, "reason": ""} if isinstance(value, str) else value


Removals = tuple[Annotated[Removed, BeforeValidator(_as_removed)], ...]


class Pruned(Record):
    """What retention did at one target: what was removed, number of verified backups left.

    ``kept`` is 0 where they were not counted: where nothing is ever removed, or ``note`` says why not.
    ``broken`` names what was delivered there and is damaged or missing, a sentence each.
    """

    target: str
    removed: Removals
    kept: int
    note: str = ""
    broken: tuple[str, ...] = ()


class Stat(Record):
    """An object on a target. ``name`` uses forward slashes and may begin with a slot's folder.

    ``stamp``, of a listing alone, is another one whenever the object was written again, "" where the service
    shows nothing of the kind; see Properties.stamps_prove.
    """

    name: str
    bytes: int
    stamp: str = ""


class Properties(Record):
    """In what targets differ; callers ask for these and never for the kind."""

    removable: bool = False
    immutable_until: datetime | None = None
    thaw_seconds: int = 0
    readers: int = 1
    """How many objects are best read at the same time."""
    stamps_prove: bool = False
    """Whether the stamps of its listing are the service's own digests, which nobody can keep who writes."""


UNTIL = "@"


def ended_key(machine: str, until: int) -> str:
    """A machine's public key whose signatures count up to that number of a backup, among trusted ones."""
    return f"{machine}{UNTIL}{until}"


def key_of(signer: str) -> str:
    """The public key alone of a machine that is trusted, for good or until it ended."""
    return signer.partition(UNTIL)[0]


class Holder(Record):
    """A person or safe that can open backups. ``recipient`` is the public ``age1…`` text."""

    name: str
    recipient: str


class Contents(Record):
    """The part of a manifest that only holders can read: what is inside the archive."""

    files: tuple[CopiedFile, ...]
    profile: Profile
    findings: tuple[Finding, ...]
    anomalies: tuple[str, ...] = Field(default=(), alias="suspicions")


class JournalHead(Record):
    """Where the journal of a machine stood: number and sha256 of its last line; 0 and "" for an empty one."""

    length: int
    sha256: str


class Manifest(Published):
    """The signed JSON beside each sealed archive; what a backup is, and how it was proven.

    ``contents`` is an armored age file for the holders. ``checks`` are names and outcomes only: no
    table names, no counts. ``marks`` name the signs of damage or ransomware that were seen (the words
    are in ``contents``); without any the field is left out, as it was before there were marks.
    ``journal`` is where the machine's journal stood, left out in manifests of before there was one.
    ``machine`` is the backup machine's Ed25519 public key, ``signature`` covers everything else
    (tasks/manifests/manifest.py says how).
    """

    later = ("marks", "journal")

    format: Literal[1] = 1
    source: str
    kind: str
    engine_version: str
    program_version: str
    sequence: int
    taken: datetime
    sealed_at: datetime
    sealed_name: str
    copy_bytes: int
    archive_bytes: int
    archive_sha256: str
    sealed_bytes: int
    sealed_sha256: str
    recipients: tuple[Holder, ...]
    checks: tuple[Finding, ...]
    marks: tuple[str, ...] = ()
    journal: JournalHead | None = None
    contents: str
    machine: str
    signature: str = ""


class BackupEntry(Record):
    """One backup as found on a target.

    ``slot`` is the folder on the target, "" for its root. ``defect`` says why the backup does not
    count (unsigned, forged, dated in the future, archive missing or of another size); empty means
    verified. ``manifest_name`` is the manifest's name on the target. ``manifest`` is None where it
    could not be read at all. ``certificates`` are the names of its drill certificates, ``signature`` that of
    the manifest's signature for ssh-keygen, "" where there is none. ``marks`` are the manifest's, empty once
    someone accepted them here. ``standing`` is what is known beside that:
    ``elsewhere``: it lies in a folder that is no slot (``slot`` names it); it was not looked at, counts
    nowhere and is nobody's to remove. ``delivered``: it has no manifest, but had one. ``damaged``: it was
    read and is not what its manifest states.
    """

    name: str
    slot: str
    manifest_name: str
    manifest: Manifest | None
    defect: str
    bytes: int
    certificates: tuple[str, ...] = ()
    signature: str = ""
    marks: tuple[str, ...] = ()
    standing: Literal["", "elsewhere", "delivered", "damaged"] = ""

    @property
    def elsewhere(self) -> bool:
        """Whether it lies in a folder that is no slot."""
        return self.standing == "elsewhere"

    @property
    def damaged(self) -> bool:
        """Whether it was read and found damaged."""
        return self.standing == "damaged"

    @property
    def verified(self) -> bool:
        """Whether this backup counts: for pruning, for restore by default, for posture."""
        return self.manifest is not None and not self.defect

    @property
    def good(self) -> bool:
        """Whether it counts and is not marked: what retention relies on."""
        return self.verified and not self.marks

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Names of the checks that could not be made when the backup was taken."""
        return unchecked_in(self.manifest.checks) if self.manifest else ()

    @property
    def full_name(self) -> str:
        """The archive's name on the target, its slot included."""
        return f"{self.slot}/{self.name}" if self.slot else self.name

    @property
    def unfinished(self) -> bool:
        """Whether this is what an interrupted delivery left: an archive that no manifest tells of."""
        return not self.manifest_name and not self.standing


class Verdict(Record):
    """What retention decides about one backup: kept or removed, and why, in words for people.

    ``waiting``: the plan would let it go, but kept it before it was changed, and nobody has accepted that.
    """

    backup: BackupEntry
    kept: bool
    reasons: tuple[str, ...]
    waiting: bool = False


class Certificate(Published):
    """Signed evidence that a backup was restored from a target with a holder's key.

    ``seconds`` is the measured recovery time: from the first byte fetched to the last check, and before
    that the wait for cold storage, which ``checks`` then names.
    ``machine`` and ``signature`` as in Manifest. Findings name tables and counts only inside
    ``contents``, an armored age file for the holders. ``objective_seconds`` is within what time the plan
    wanted the data back, left out where it says nothing.
    """

    later = ("objective_seconds",)

    format: Literal[1] = 1
    source: str
    sequence: int
    sealed_name: str
    sealed_sha256: str
    target: str
    holder: str
    drilled: datetime
    seconds: float
    objective_seconds: float | None = None
    passed: bool
    checks: tuple[Finding, ...]
    contents: str
    machine: str
    signature: str = ""

    @property
    def in_time(self) -> bool:
        """Whether the recovery time is within the objective, if there is one."""
        return self.objective_seconds is None or self.seconds <= self.objective_seconds

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Names of the checks that could not be made."""
        return unchecked_in(self.checks)
