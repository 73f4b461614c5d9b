"""Where the program's packages come from: a list of parts, their licences, their known vulnerabilities.

Usage: ``python -m tests.supply sbom`` prints a CycloneDX list of parts; ``licences`` lists that of each
package, ``vulnerabilities`` asks osv.dev about them. Exit status 1 where a licence or a vulnerability forbids
that a release is made. Only what the program itself uses is looked at, not what tests use.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import httpx
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"
OSV = "https://api.osv.dev"
# What may not be handed on in a program under the MIT licence, or not be used by an office. The LGPL, the MPL
# and the EPL ask nothing of who only imports a package.
FORBIDDEN = re.compile(
    r"\b(A?GPL|Affero|GNU General|SSPL|BUSL|Commons.Clause|NonCommercial|CC-BY-NC|Proprietary)", re.IGNORECASE
)


@dataclass(frozen=True)
class Locked:
    """A package of a lock file: its name and version, for which systems, the sha256 of each of its files."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def address(self) -> str:
        """Its package URL (purl specification, type pypi)."""
        return f"pkg:pypi/{self.name}@{self.version.replace('+', '%2B')}"


def locked(lock: Path = LOCK) -> list[Locked]:
    """The packages of a lock file, in its order."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock.read_text("utf-8"), flags=re.MULTILINE)
    return [_entry(text) for text in entries if "==" in text]


def _entry(text: str) -> Locked:
    one = Requirement(text.partition("\n")[0].rstrip("\\ "))
    (pinned,) = one.specifier
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", text)
    name = re.sub(r"[-_.]+", "-", one.name).lower()
    return Locked(name, pinned.version, str(one.marker or ""), tuple(hashes))


def bill_of_materials(lock: Path = LOCK) -> str:
    """The list of parts, as CycloneDX 1.6 JSON; the same for the same lock file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    parts = locked(lock)
    itself = {
        "type": "application",
        "bom-ref": "datasave",
        "name": project["name"],
        "version": project["version"],
    }
    made = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, lock.read_text('utf-8'))}",
        "version": 1,
        "metadata": {"component": {**itself, "licenses": [{"license": {"id": project["license"]}}]}},
        "components": [_component(part) for part in parts],
        "dependencies": [{"ref": "datasave", "dependsOn": [part.address for part in parts]}],
    }
    return json.dumps(made, indent=2) + "\n"


def _component(part: Locked) -> dict[str, object]:
    made: dict[str, object] = {
        "type": "library",
        "bom-ref": part.address,
        "name": part.name,
        "version": part.version,
        "purl": part.address,
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in part.hashes],
    }
    if part.marker:
        made["properties"] = [{"name": "datasave:marker", "value": part.marker}]
    return made


def licence_of(name: str) -> str | None:
    """A package's licence in its own words; None where it is not installed here, "" where it says nothing."""
    try:
        said: Message = metadata(name)  # type: ignore[assignment]
    except PackageNotFoundError:
        return None
    own = [text for text in said.get_all("Classifier", []) if text.startswith("License ::")]
    classifiers = [text.rpartition(" :: ")[2] for text in own]
    classifiers = [text for text in classifiers if text != "OSI Approved"]  # which of them, it says elsewhere
    named = (said["License"] or "").strip().partition("\n")[0]
    return str(said["License-Expression"] or " or ".join(classifiers) or named)


def forbids(licence: str) -> bool:
    """Whether a licence forbids the project's use. Of several to choose from one that doesn't is enough."""
    # The lesser GPL is none of those that are meant.
    words = re.sub(r"GNU (Lesser|Library) General|LGPL", "Lesser", licence, flags=re.IGNORECASE)
    return all(FORBIDDEN.search(choice) for choice in re.split(r"\s+or\s+", words, flags=re.IGNORECASE))


def licences() -> Iterator[tuple[Locked, str | None]]:
    """Each package with its licence."""
    return ((part, licence_of(part.name)) for part in locked())


def _print_licences() -> int:
    bad = 0
    for part, licence in licences():
        forbidden = licence is not None and (not licence or forbids(licence))
        bad += forbidden
        said = (
            f"not installed on this system ({part.marker})" if licence is None else licence or "says nothing"
        )
        print(f"{part.name} {part.version}: {said}{'  <- forbids the project' if forbidden else ''}")
    print(f"{bad} of them may not be used" if bad else "none of them forbids the project's use")
    return 1 if bad else 0


def vulnerabilities(parts: Sequence[Locked], service: str = OSV) -> dict[str, list[str]]:
    """The known vulnerabilities by package, in one request (OSV, POST /v1/querybatch). Raises HTTPError."""
    queries = [{"package": {"purl": part.address}} for part in parts]
    answer = httpx.post(f"{service}/v1/querybatch", json={"queries": queries}, timeout=30.0)
    results = answer.raise_for_status().json()["results"]
    if len(results) != len(parts):
        raise httpx.HTTPError(f"asked about {len(parts)} packages, {len(results)} answers came")
    found = zip(parts, results, strict=True)
    return {
        f"{part.name} {part.version}": [one["id"] for one in got["vulns"]]
        for part, got in found
        if got.get("vulns")
    }


def _print_vulnerabilities(service: str = OSV) -> int:
    parts = locked()
    try:
        found = vulnerabilities(parts, service)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        print(f"NOT CHECKED: {service} cannot be asked about {len(parts)} packages ({error})")
        return 0
    for name, numbers in found.items():
        print(f"{name}: {', '.join(numbers)}: {service}/v1/vulns/{numbers[0]}")
    print(f"{len(found)} of {len(parts)} packages have known vulnerabilities")
    return 1 if found else 0


def main(word: str) -> int:
    """Do what ``word`` asks for; the exit status."""
    if word == "sbom":
        print(bill_of_materials(), end="")
        return 0
    return {"licences": _print_licences, "vulnerabilities": _print_vulnerabilities}[word]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
