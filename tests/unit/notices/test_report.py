"""The report of a run, as a page and as markdown: all facts, and nothing that breaks out."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tasks.notices.report_page import report_html, report_markdown
from tasks.notices.wording import plain_text
from tasks.records import Engine, Finding, Removed
from tasks.reports import Delivery, RunReport, SourceReport
from tests.unit.notices import sample_reports as samples

VOID = {"meta", "rect"}
ALLOWED = {"html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer"}
ALLOWED |= {"h1", "h2", "p", "ol", "ul", "li", "span", "bdi", "dl", "div", "dt", "dd", "details", "summary"}
ALLOWED |= {"table", "caption", "thead", "tbody", "tr", "th", "td", "svg", "rect", "code"}
SAMPLES = [
    samples.success,
    samples.one_missed,
    samples.rehearsal_failed,
    samples.preflight_failed,
    samples.many_tables,
    samples.hostile,
]


class Page(HTMLParser):
    """A page read strictly: every element closed in order, and its text by place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.doctype = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_decl(self, decl: str) -> None:
        self.doctype = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and "style" not in self.open:
            self.texts.append((tuple(self.open), data))

    def text(self, inside: str = "body") -> str:
        """The text inside every element of that name, white space collapsed."""
        return " ".join(" ".join(data for where, data in self.texts if inside in where).split())


def parsed(markdown: str) -> list[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown)


def shown(tokens: list[Token]) -> str:
    """The text that a reader of the rendered markdown sees, a line a block or cell."""
    lines = []
    for token in tokens:
        if token.type == "inline":
            lines.append("".join(child.content for child in token.children or []))
    return "\n".join(lines).replace("\u2060", "")


@pytest.fixture(params=["html", "markdown"])
def text_of(request: pytest.FixtureRequest) -> Callable[[RunReport], str]:
    """The visible text of a report in each of its forms."""
    if request.param == "html":
        return lambda report: Page(report_html(report)).text()
    return lambda report: " ".join(shown(parsed(report_markdown(report))).split())


Text = Callable[[RunReport], str]


def test_a_full_success_has_all_its_facts(text_of: Text) -> None:
    text = text_of(samples.success())
    for fact in (
        "Good: front-office was backed up to 3 targets, Mon 23 Nov 2026, 02:00 UTC.",
        "sqlite 3.45.1",
        "Backup number 118",
        "4.21 GB",
        "812 MB",
        "439,953",
        "patients",
        "120,553 rows, same content",
        "PRAGMA integrity_check says ok",
        "Delivered",
        "4 min 4 s",
        "8 min 12 s",
        "Bank safe",
        "5 tables compared",
        "read back whole",
        f"MON/{samples.NAME}",
        "20261026T020005Z-000090",
        "4,213,456,789 bytes",
        samples.success().run,
    ):
        assert fact in text
    for word in ("FAILED", "MISSED", "Not good", "What to do next"):
        assert word not in text


def test_one_missed_target_is_not_good_and_says_what_to_do(text_of: Text) -> None:
    text = text_of(samples.one_missed())
    assert "Not good: the backup of front-office reached only 2 of 3 targets" in text
    assert "Then press Retry on this run" in text
    assert "MISSED" in text
    assert "the drive MON is not plugged in. Plug in the drive labelled MON and re-run" in text
    assert "Skipped" in text
    assert "due on the last Friday of the month" in text


def test_a1_what_went_is_told_by_number_and_reason_also_where_no_backup_arrived(text_of: Text) -> None:
    gone = tuple(
        Removed(name=f"office-{number}.tar.zst.age", sequence=number, reason="the oldest on a full medium")
        for number in (90, 91)
    )
    failed = Delivery(target="drives", outcome="failed", problem="the medium is full", removed=gone)
    report = samples.success().model_copy(update={"deliveries": (failed,), "succeeded": False})
    text = text_of(report)
    assert "the medium is full. Removed before that: #90, #91 (the oldest on a full medium)." in text
    assert "#91, office-91.tar.zst.age: the oldest on a full medium" in text


def test_a_failed_rehearsal_names_the_table_and_claims_nothing(text_of: Text) -> None:
    text = text_of(samples.rehearsal_failed())
    assert "Not good: the backup of front-office failed and no target received it" in text
    assert "120,551 rows restored, 120,553 recorded" in text
    assert "The proof ends here: 1 check failed. Nothing was delivered." in text
    assert "is the same as what was recorded" not in text
    assert "read back" not in text
    assert "Not run" in text


def test_a_failed_preflight_says_what_is_known_and_no_more(text_of: Text) -> None:
    text = text_of(samples.preflight_failed())
    assert "Not good: the backup of front-office failed and no target received it" in text
    assert "The database /srv/office/clinic.db is not there" in text
    assert "nothing is proved" in text
    assert "no such file" in text
    assert "send this report to whoever looks after the backup" in text
    for absent in ("What was copied", " 0 bytes", "Who can open it", "0 tables", "Where it went"):
        assert absent not in text


def test_hundreds_of_tables_failed_ones_first_the_rest_folded() -> None:
    html = report_html(samples.many_tables())
    page = Page(html)
    assert "398 of 400 tables OK, 2 FAILED" in page.text()
    assert "398 other tables: all OK" in page.text("summary")
    assert "dba.table_398" not in page.text("details")
    assert html.index("dba.table_399") < html.index("<summary>398 other tables") < html.index("dba.table_000")
    for number in range(400):
        assert html.count(f">dba.table_{number:03}<") == 1


def test_hundreds_of_tables_in_markdown() -> None:
    markdown = report_markdown(samples.many_tables())
    assert markdown.index("## Tables that failed") < markdown.index("dba.table_399")
    assert markdown.index("dba.table_399") < markdown.index("## 398 other tables: all OK")
    rows = re.findall(r"^\| dba\.table_\d{3} \|", markdown, re.MULTILINE)
    assert len(rows) == len(set(rows)) == 400


def test_few_tables_are_not_folded() -> None:
    page = Page(report_html(samples.success()))
    assert "patients" not in page.text("details")
    assert "summary" in page.elements


def test_the_first_thing_said_is_the_verdict() -> None:
    page = Page(report_html(samples.one_missed()))
    assert page.text("body").startswith("✕\ufe0e Not good: the backup of front-office reached only 2 of 3")
    first = report_markdown(samples.one_missed()).splitlines()[0]
    assert first.startswith("**Not good: ")
    assert first.endswith("What to do: Plug in the drive labelled MON.")
    assert report_markdown(samples.success()).splitlines()[0].endswith("There is nothing to do.")


def test_times_are_in_the_plans_zone_and_in_utc() -> None:
    zone = ZoneInfo("America/New_York")
    for text in (report_html(samples.success(), zone), report_markdown(samples.success(), zone)):
        assert "Sun 22 Nov 2026, 21:00 EST (23 Nov, 02:00 UTC)" in text
        assert "2026-11-23 02:00:07 UTC" in text


def test_hints_of_targets_stand_in_for_missing_advice(text_of: Text) -> None:
    report = samples.one_missed().model_copy(update={"advice": ()})
    assert "What to do" in text_of(report)
    assert text_of(report).count("Plug in the drive labelled MON and re-run the failed run.") == 2


@pytest.mark.parametrize(
    "update",
    [
        {"findings": (Finding(check="integrity check", passed=False, detail="page 7 is torn"),)},
        {"deliveries": (*samples.DELIVERIES, Delivery(target="vault", outcome="failed", problem="refused"))},
        {"deliveries": (Delivery(target="nas", outcome="skipped"),)},
        {"deliveries": ()},
        {"succeeded": False},
    ],
)
def test_nothing_is_called_good_against_its_own_facts(update: dict[str, object], text_of: Text) -> None:
    text = text_of(samples.success().model_copy(update=update))
    assert "Not good: " in text
    assert "What to do" in text


def test_tables_that_nobody_compared_are_not_called_ok(text_of: Text) -> None:
    report = samples.preflight_failed().model_copy(update={"profile": samples.profile(samples.TABLES)})
    text = text_of(report)
    assert "Not compared" in text
    assert "is the same as what was recorded" not in text


def test_a_drill_is_reported_in_its_own_words(text_of: Text) -> None:
    report = samples.success().model_copy(update={"flow": "drill", "deliveries": (), "steps": ()})
    text = text_of(report)
    assert "Good: the drill for front-office succeeded" in text
    assert "What came out is the same as what was recorded, in 5 tables compared." in text
    assert "delivered" not in text.replace("Encrypted, as delivered", "").replace(report.headline, "")


def test_a_folder_with_a_finding_for_each_file_stays_short(text_of: Text) -> None:
    good = [Finding(check="files identical", passed=True, detail=f"f{n} is the same") for n in range(700)]
    bad = [Finding(check="files identical", passed=False, detail=f"f{n} differs") for n in range(60)]
    text = text_of(samples.success().model_copy(update={"findings": (*good, *bad)}))
    assert "700 passed" in text
    assert text.count("differs") == 50
    assert "and 10 more" in text


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_page_is_well_formed_and_self_contained(sample: Callable[[], RunReport]) -> None:
    page = Page(report_html(sample()))
    assert page.doctype.lower() == "doctype html"
    assert set(page.elements) <= ALLOWED
    names = {name for _tag, name, _value in page.attributes}
    assert not names & {"src", "href", "srcset", "data", "action", "background", "style", "poster"}
    assert not any(name.startswith("on") for name in names)


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_page_forbids_everything_but_its_own_style(sample: Callable[[], RunReport]) -> None:
    html = report_html(sample())
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    assert html.count(meta) == 1
    style = html[html.index("<style>") : html.index("</style>")]
    assert html.index(meta) < html.index("<style>")
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("sample", SAMPLES[:-1])
def test_no_address_of_anything_outside(sample: Callable[[], RunReport]) -> None:
    for text in (report_html(sample()), report_markdown(sample())):
        assert "//" not in text


def test_hostile_text_stays_text_on_the_page() -> None:
    page = Page(report_html(samples.hostile()))
    text = page.text()
    for foreign in samples.HOSTILE:
        # Once as a table, a check, a target, a step and a holder, at least.
        assert text.count(plain_text(foreign)) >= 5
    assert "\u202e" not in text
    assert max(len(data) for _where, data in page.texts) < 1500
    title = " ".join(data for where, data in page.texts if where[-1] == "title")
    assert title == "Not good: backup of <script>alert(1)</script>"


def test_hostile_text_stays_text_in_markdown() -> None:
    markdown = report_markdown(samples.hostile())
    tokens = parsed(markdown)
    inline = [child for token in tokens for child in token.children or []]
    kinds = {token.type for token in inline}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close"}
    assert sum(token.type == "strong_open" for token in inline) == 1
    assert not [token for token in tokens if token.type in ("html_block", "code_block", "fence", "hr")]
    lines = shown(tokens).splitlines()
    for foreign in samples.HOSTILE:
        # Once as a table, a check, a target, a step and a holder, at least.
        assert lines.count(plain_text(foreign)) >= 5


def test_hostile_text_adds_no_cell_and_no_heading_to_markdown() -> None:
    headings = [line for line in report_markdown(samples.hostile()).splitlines() if line.startswith("#")]
    expected = [line for line in report_markdown(samples.one_missed()).splitlines() if line.startswith("#")]
    assert set(headings) - set(expected) == {"## Tables that failed"}
    for line in report_markdown(samples.hostile()).splitlines():
        if line.startswith("|"):
            assert re.sub(r"\\.", "", line).count("|") in (3, 4, 5, 7)


def test_hostile_addresses_offer_no_link() -> None:
    # remark-gfm, in Prefect's second UI, looks for these in the text that is left after parsing.
    text = "".join(
        child.content
        for token in parsed(report_markdown(samples.hostile()))
        for child in token.children or []
    )
    assert "evil.example" in text
    assert not re.search(r"https?://|www\.|[\w.+-]@\w", text, re.IGNORECASE)


def test_hostile_lists_do_not_nest() -> None:
    depth = max(token.level for token in parsed(report_markdown(samples.hostile())) if "list" in token.type)
    assert depth <= 1


def test_a_failed_table_shows_what_failed_and_not_what_passed(text_of: Text) -> None:
    same = Finding(check="rows", passed=True, detail="as many rows", table="visits")
    other = Finding(check="content", passed=False, detail="another content", table="visits")
    text = text_of(samples.success().model_copy(update={"findings": (same, other)}))
    assert "another content" in text
    assert "as many rows" not in text
    assert "0 of 5 tables OK, 1 FAILED, 4 not compared" in text


def test_further_sources_have_their_own_part_of_the_report(text_of: Text) -> None:
    programs = SourceReport(
        source="front-office.programs",
        source_name="programs",
        engine=Engine(kind="files", version="-", bytes=1),
        copy_bytes=51_000_000,
        profile=samples.profile({"FORMS": 120}),
        findings=samples.compared({"FORMS": 120}),
    )
    arrived = samples.DELIVERIES[0].model_copy(update={"source_name": "programs"})
    later = Delivery(target="vault", outcome="not due", problem="due again on Fri 27 Nov 2026")
    deliveries = (*samples.DELIVERIES, arrived, later)
    text = text_of(samples.success().model_copy(update={"also": (programs,), "deliveries": deliveries}))
    assert "Good: front-office was backed up to 3 targets" in text
    assert "Besides: programs" in text
    assert "nas (programs)" in text
    assert "1 folder with 120 files" in text
    assert "Not due" in text
    failed = programs.model_copy(update={"findings": (Finding(check="index", passed=False, detail="-"),)})
    text = text_of(samples.success().model_copy(update={"also": (failed,), "deliveries": deliveries}))
    assert "Not good" in text
