"""How a bucket stands in the plan: the options of the S3 target."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.parse import quote as escaped

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tasks.options import Place, is_this_machine, problem
from tasks.platform.secrets import SecretReference
from tasks.records import Record
from tasks.targets.base import TargetOptions, check_name
from tasks.targets.shared.addresses import Access, checked, option, server_name

MIB = 1 << 20
# Limits of the service: Amazon S3, "multipart upload limits". The last part alone may be smaller.
SMALLEST_PART = 5
MOST_PARTS = 10_000

# Names that no server on the internet has.
NEAR = (".local", ".lan", ".internal", ".home", ".home.arpa", ".localhost", ".test")

AMAZON = ".amazonaws.com"
_BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]"
_ENDPOINT = r"https?://[^\s/@?#]+(/[^\s@?#]*)?"


# Until an object can be read, at most as a rule. Source: Amazon S3, "Archive retrieval options".
_THAW_SECONDS = {
    ("GLACIER", "Expedited"): 5 * 60,
    ("GLACIER", "Standard"): 5 * 3600,
    ("GLACIER", "Bulk"): 12 * 3600,
    ("DEEP_ARCHIVE", "Standard"): 12 * 3600,
    ("DEEP_ARCHIVE", "Bulk"): 48 * 3600,
}


def _pattern(pattern: str, cause: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise problem(cause)
        return value

    return AfterValidator(check)


def _address(value: str) -> str:
    """An address that the service's client can take apart as well: it raises a bare ValueError."""
    try:
        parts = urlsplit(value)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or not re.fullmatch(_ENDPOINT, value):
        raise problem("must be an address such as https://s3.example.com")
    return value


def _folder(value: str) -> str:
    folder = value.strip("/")
    try:
        return check_name(folder) if folder else ""
    except ValueError:
        raise problem("is not a folder in a bucket, such as front-office") from None


def thaw_seconds(storage_class: str | None, tier: str) -> int:
    """Seconds until an archive of that class can be read after it was asked for; 0 for those at hand."""
    return _THAW_SECONDS.get((storage_class or "STANDARD", tier), 0)


def is_near(host: str) -> bool:
    """Whether a server's name or address is one of the office's own network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(NEAR)
    return address.is_private


def _group(value: object) -> object:
    """A heading with every line under it switched off is a group left at its defaults."""
    return {} if value is None else value


class S3Credentials(Record):
    """Access keys with rights of their own."""

    access_key_id: str = Field(min_length=1, description="the access key's id", examples=["AKIA…"])
    secret_access_key: SecretReference = Field(
        description="where the secret key is found: env:NAME, file:path or prefect:name",
        examples=["env:S3_SECRET_KEY"],
    )


class S3Thaw(Record):
    """How to ask for an archive out of cold storage."""

    tier: Literal["Standard", "Bulk", "Expedited"] = Field(
        "Standard",
        description="how fast it comes, and what that costs: Expedited (minutes, not from DEEP_ARCHIVE), "
        "Standard (3 to 12 hours), Bulk (5 to 48 hours, the cheapest)",
    )
    days: int = Field(7, ge=1, le=365, description="how many days it stays readable then")


class S3Lock(Record):
    """How long nobody can delete a backup."""

    mode: Literal["governance", "compliance"] = Field(
        description="governance: an administrator with a special right can lift the lock; compliance: nobody "
        "can, neither you nor the provider",
        examples=["compliance"],
    )
    days: int | None = Field(None, ge=1, le=36_500, description="days that the lock lasts", examples=[90])
    years: int | None = Field(None, ge=1, le=100, description="or years", examples=[7])

    @model_validator(mode="after")
    def _one_period(self) -> S3Lock:
        if (self.days is None) == (self.years is None):
            raise problem("needs either `days` or `years`")
        return self


class S3Options(TargetOptions):
    """How an S3 target stands in the plan."""

    kind: Literal["s3"] = Field("s3", description="a bucket at AWS or at another service that speaks S3")
    bucket: Annotated[str, _pattern(_BUCKET, "is not the name of a bucket")] = Field(
        description="The bucket's name. It must exist; versioning and Object Lock are switched on there.",
        examples=["office-backups"],
    )
    prefix: Annotated[str, AfterValidator(_folder)] = Field(
        "",
        description="The folder in the bucket; give each machine its own. Left out: the bucket's root.",
        examples=["front-office"],
    )
    endpoint: Annotated[str, AfterValidator(_address)] | None = Field(
        None,
        description="The service's address. Left out: Amazon S3.",
        examples=["https://s3.eu-central-1.example.com"],
    )
    region: str | None = Field(None, description="The bucket's region.", examples=["us-east-1"])
    access_key_id: str | None = Field(
        None,
        min_length=1,
        description="The access key's id. Left out: where Amazon's own tools look (environment, ~/.aws, the "
        "machine's role).",
        examples=["AKIA…"],
    )
    secret_access_key: SecretReference | None = Field(
        None,
        description="Where the secret key is found: env:NAME, file:path or prefect:name. Best are keys that "
        "may write but not delete: `datasave doctor --policies` prints the rights to give them.",
        examples=["env:S3_SECRET_KEY"],
    )
    profile: str | None = Field(
        None, min_length=1, description="A profile in ~/.aws to use instead.", examples=["backup"]
    )
    reader: S3Credentials | None = Field(
        None,
        description="Other keys, for reading: needed to restore where the keys above may only write.",
        examples=[{"access_key_id": "AKIA…", "secret_access_key": "env:S3_READER_KEY"}],
    )
    pruner: S3Credentials | None = Field(
        None,
        description="Other keys, for removing old backups: needed where the keys above may not delete. "
        "Best kept off the machine that takes the backups.",
        examples=[{"access_key_id": "AKIA…", "secret_access_key": "env:S3_PRUNER_KEY"}],
    )
    storage_class: Annotated[str, _pattern("[A-Z0-9_]{1,40}", "is not a storage class")] | None = Field(
        None,
        description="Where the service puts the archives: STANDARD_IA, GLACIER_IR, GLACIER, DEEP_ARCHIVE … "
        "Manifests and RECOVER.md always stay in STANDARD, at hand.",
        examples=["DEEP_ARCHIVE"],
    )
    thaw: Annotated[S3Thaw, BeforeValidator(_group, json_schema_input_type=S3Thaw | None)] = Field(
        default=S3Thaw(), description="How archives come back from GLACIER and DEEP_ARCHIVE."
    )
    lock: S3Lock | None = Field(
        None,
        description="Object Lock: no one can delete or change a backup before its time is up. The bucket "
        "must have been created with it.",
        examples=[{"mode": "compliance", "years": 7}],
    )
    checksums: Literal["when_required", "when_supported"] | None = Field(
        None,
        description="Whether to send checksums in Amazon's newer form as well; some services refuse them. "
        "Left out: when_supported at Amazon, when_required elsewhere.",
        examples=["when_required"],
    )
    part_size: int = Field(
        16,
        ge=SMALLEST_PART,
        le=1024,
        description="Size in MB of the pieces in which an archive is sent; memory holds `parallel` and one.",
    )
    parallel: int = Field(2, ge=1, le=16, description="Pieces sent at the same time.")
    timeout: int = Field(60, ge=1, le=3600, description="Seconds without a sign of life until we give up.")
    ca_bundle: Path | None = Field(
        None,
        description="A file with the certificates to trust, for a server with one of its own.",
        examples=["/etc/ssl/office-ca.pem"],
    )
    path_style: bool | None = Field(
        None,
        description="Whether the bucket's name stands in the path and not before the server's name. "
        "Left out: no at Amazon, yes elsewhere.",
        examples=[True],
    )

    @property
    def in_the_clear(self) -> str:
        """See Options.in_the_clear: names, sizes and what the key may do are seen; the archive is sealed."""
        parts = urlsplit(self.endpoint or "")
        return "endpoint" if parts.scheme == "http" and not is_this_machine(parts.hostname or "") else ""

    @property
    def at_vendor(self) -> bool:
        """Whether the service is beyond the office's own network."""
        return self.endpoint is None or not is_near(urlsplit(self.endpoint).hostname or "")

    @property
    def place(self) -> Place:
        """The folder in the bucket. Amazon's buckets have names of their own in all regions together."""
        address = urlsplit(self.endpoint or f"https://s3{AMAZON}")
        host = server_name(address.hostname or "")
        port = address.port or (80 if address.scheme == "http" else 443)
        server = "amazon" if host.endswith(AMAZON) else f"{host}:{port}{address.path.rstrip('/')}"
        return Place(f"s3 {server} {self.bucket}", self.prefix)

    @property
    def locks_objects(self) -> bool:
        """By Object Lock."""
        return self.lock is not None

    @property
    def thaw_seconds(self) -> int:
        """By the storage class, and how it is asked for."""
        return thaw_seconds(self.storage_class, self.thaw.tier)

    @model_validator(mode="after")
    def _options_go_together(self) -> S3Options:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise problem("access_key_id and secret_access_key go together: give both or neither")
        if self.storage_class == "DEEP_ARCHIVE" and self.thaw.tier == "Expedited":
            raise problem("must be Standard or Bulk with DEEP_ARCHIVE", place="thaw.tier")
        return self

    @classmethod
    def from_address(cls, address: str, parts: SplitResult, access: Access) -> S3Options:
        """See shared.addresses: s3://bucket/prefix."""
        return checked(
            cls,
            address,
            bucket=parts.netloc,
            prefix=unquote(parts.path),
            endpoint=access.endpoint,
            region=access.region,
            ca_bundle=access.ca_bundle,
        )

    @classmethod
    def needs_password(cls, _access: Access) -> bool:
        """See shared.addresses. The bucket's keys are found where Amazon's own tools look for them."""
        return False

    def rescue_words(self) -> tuple[str, ...]:
        """See shared.addresses."""
        address = f"s3://{self.bucket}/{escaped(self.prefix)}".rstrip("/")
        return quote(address), *option("--endpoint", self.endpoint), *option("--region", self.region)

    def access_needed(self) -> str:
        """See shared.addresses."""
        return "Have the bucket's reading key at hand: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
