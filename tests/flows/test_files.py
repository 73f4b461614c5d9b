"""The whole chain on a plain folder: the application's files, its live database left to its own plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import HOME
from tests.flows.site import Site
from tests.unit.sources.files.material import settle, tree, write
from tests.watching import files_with


@pytest.mark.slow
def test_a_folder_goes_and_comes_back(tmp_path: Path, prefect_server: str) -> None:
    folder = write(tmp_path / "SOS", Forms__visit_dot_pdf=b"%PDF" * 5000, letter_dot_docx="dear", empty="")
    write(folder, DATA__sosdata_dot_db="live", DATA__sosdata_dot_log="live", DATA__notes_dot_txt="kept")
    write(folder, **{"odd \n name?": "x", "cache__a_dot_tmp": "x", "letters__Smith, John_dot_rtf": "x"})
    (folder / "latest").symlink_to("Forms/visit.pdf")
    settle(folder)
    source = {"kind": "files", "path": "SOS", "exclude": ["*.tmp"]}
    check = {
        "title": "forms are there",
        "sql": "SELECT COUNT(*) FROM files WHERE path LIKE 'Forms/%'",
        "expect": {"type": "expect_column_values_to_be_between", "kwargs": {"min_value": 1}},
    }
    site = Site.make(tmp_path, ["nas"], source=source, checks=[check])
    assert site.run("backup") == 0
    assert "DATA/sosdata.db (SQL Anywhere)" in site.report()
    assert site.plaintext() == []
    # A file's name may be a patient's: it leaves staging in nothing but the encrypted parts.
    assert files_with("Smith, John", HOME, site.context.state, site.root / "nas") == []
    assert files_with("clinic", HOME), "what Prefect keeps was looked at"
    restored = tmp_path / "restored"
    assert site.run("restore", "--identity", str(site.keys[0]), "--to", str(restored)) == 0
    left_out = {b"DATA/sosdata.db", b"DATA/sosdata.log", b"cache/a.tmp"}
    expected = {name: look for name, look in tree(folder).items() if name not in left_out}
    assert tree(restored) == expected
    recover = (site.root / "nas" / "RECOVER.md").read_text("utf-8")
    assert "index.jsonl" in recover
