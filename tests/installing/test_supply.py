"""The list of parts, licences, and what is known of vulnerabilities."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import jsonschema
import pytest

from tests import supply
from tests.supply import Locked, bill_of_materials, forbids, licences, locked, vulnerabilities

# What CycloneDX 1.6 (JSON, ECMA-424) asks of the parts that are used here.
_COMPONENT = {
    "type": "object",
    "required": ["type", "name"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["application", "library"]},
        "bom-ref": {"type": "string", "minLength": 1},
        "name": {"type": "string"},
        "version": {"type": "string"},
        "purl": {"type": "string", "pattern": "^pkg:pypi/[a-z0-9-]+@[^@/ ]+$"},
        "licenses": {"type": "array", "items": {"required": ["license"]}},
        "hashes": {
            "type": "array",
            "minItems": 1,
            "items": {
                "required": ["alg", "content"],
                "additionalProperties": False,
                "properties": {"alg": {"const": "SHA-256"}, "content": {"pattern": "^[a-f0-9]{64}$"}},
            },
        },
        "properties": {"type": "array", "items": {"required": ["name", "value"]}},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["bomFormat", "specVersion"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "serialNumber": {
            "pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
        },
        "version": {"type": "integer", "minimum": 1},
        "metadata": {"additionalProperties": False, "properties": {"component": _COMPONENT}},
        "components": {"type": "array", "items": _COMPONENT, "uniqueItems": True},
        "dependencies": {
            "type": "array",
            "items": {"required": ["ref"], "properties": {"dependsOn": {"uniqueItems": True}}},
        },
    },
}


def test_the_list_of_parts_is_cyclonedx_and_names_each_package_with_its_hashes() -> None:
    parts = json.loads(bill_of_materials())
    jsonschema.Draft7Validator(SCHEMA).validate(parts)
    text = supply.LOCK.read_text("utf-8")
    lines = re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==([^ ;]+)", text, re.MULTILINE)
    assert len(lines) > 100
    assert [(one["name"], one["version"]) for one in parts["components"]] == lines
    digests = [digest["content"] for one in parts["components"] for digest in one["hashes"]]
    assert digests == re.findall(r"--hash=sha256:([0-9a-f]{64})", text)
    assert parts["dependencies"][0]["dependsOn"] == [one["bom-ref"] for one in parts["components"]]
    assert bill_of_materials() == bill_of_materials()


def test_the_program_s_packages_are_those_that_tests_use() -> None:
    """And no tool of the developers is among them; neither file says where packages are fetched from."""
    program, tests = locked(), locked(supply.ROOT / "requirements-dev.lock")
    assert set(program) <= set(tests)
    tools = {"pytest", "mypy", "ruff", "hypothesis", "playwright", "ministack"}
    assert not tools & {one.name for one in program}
    assert all(one.hashes for one in tests)
    for path in (supply.LOCK, supply.ROOT / "requirements-dev.lock"):
        assert not re.search(r"https?://|--(extra-)?index|--find-links|file:", path.read_text("utf-8"))


def test_no_licence_forbids_the_project_s_use() -> None:
    found = dict(licences())
    assert len(found) > 100
    said = {part.name: licence for part, licence in found.items() if licence is not None}
    assert [name for name, licence in said.items() if not licence or forbids(licence)] == []
    absent = [part for part, licence in found.items() if licence is None]
    assert all(part.marker for part in absent), "only what this system doesn't need may be missing"


@pytest.mark.parametrize(
    ("licence", "forbidden"),
    [
        ("MIT", False),
        ("Apache-2.0 AND CNRI-Python", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False),
        ("EPL-2.0 OR GPL-2.0-or-later", False),
        ("Artistic License or GNU General Public License (GPL)", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("LGPL-2.1-only", False),
        ("GPL-3.0-only", True),
        ("GNU General Public License v2 or later (GPLv2+)", True),
        ("MIT AND AGPL-3.0-or-later", True),
        ("GNU Affero General Public License v3", True),
        ("SSPL-1.0", True),
        ("CC-BY-NC-4.0", True),
        ("Other/Proprietary License", True),
    ],
)
def test_which_licences_forbid_it(licence: str, forbidden: bool) -> None:
    assert forbids(licence) is forbidden


PARTS = [Locked("rich", "13.0.0", "", ()), Locked("local", "1.0+cpu", "", ())]


@contextmanager
def service(answer: object) -> Iterator[tuple[str, list[object]]]:
    """A stand-in that answers as OSV's /v1/querybatch is documented to."""
    asked: list[object] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            data = json.dumps(answer).encode()
            self.send_response(200 if self.path == "/v1/querybatch" else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_vulnerabilities_are_asked_for_in_one_request() -> None:
    with service({"results": [{"vulns": [{"id": "GHSA-1"}, {"id": "PYSEC-2"}]}, {}]}) as (url, asked):
        assert vulnerabilities(PARTS, url) == {"rich 13.0.0": ["GHSA-1", "PYSEC-2"]}
    purls = ["pkg:pypi/rich@13.0.0", "pkg:pypi/local@1.0%2Bcpu"]
    assert asked == [{"queries": [{"package": {"purl": purl}} for purl in purls]}]


def test_an_answer_that_leaves_packages_out_is_none() -> None:
    with service({"results": [{}]}) as (url, _), pytest.raises(httpx.HTTPError, match="1 answers came"):
        vulnerabilities(PARTS, url)


def test_where_it_cannot_be_asked_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """What was not checked is not fine, and no reason to stop who is offline."""
    assert supply._print_vulnerabilities("http://127.0.0.1:1") == 0
    assert capsys.readouterr().out.startswith("NOT CHECKED: http://127.0.0.1:1 cannot be asked about")


def test_known_vulnerabilities_fail(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer = {"results": [{} for _ in locked()]}
    answer["results"][0] = {"vulns": [{"id": "GHSA-1"}]}
    with service(answer) as (url, _):
        assert supply._print_vulnerabilities(url) == 1
    assert f"1 of {len(locked())} packages have known vulnerabilities" in capsys.readouterr().out
