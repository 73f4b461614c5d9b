"""The printable pages that bring a key back: a holder's recovery sheet, and the sheet of one share.

A page holds a secret in the clear: it fetches nothing and runs nothing, and is meant for paper and a
sealed envelope. Every text in it is escaped by jinja2.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import NamedTuple

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from tasks.keys.shares import Share, fingerprint, share_text

GROUP = 4
LINES_TO_FILL = 3
LONG_RECIPIENT = 100


class Opens(NamedTuple):
    """What a key opens at one place: whose backups, where, since when, how many."""

    source: str
    target: str
    detail: str


class Sheet(NamedTuple):
    """The facts of a recovery sheet. ``secret`` is the identity itself, one line of capital letters."""

    holder: str
    secret: str
    recipient: str
    made: datetime
    opens: Sequence[Opens] = ()
    contacts: Sequence[str] = ()


def sheet_html(sheet: Sheet) -> str:
    """A key's recovery sheet."""
    return _template("sheet.html").render(
        sheet=sheet,
        groups=grouped(sheet.secret),
        qr=qr_svg(sheet.secret),
        fingerprint=fingerprint(sheet.recipient),
        long=len(sheet.recipient) > LONG_RECIPIENT,
        blanks=range(max(0, LINES_TO_FILL - len(sheet.contacts))),
        date=f"{sheet.made.day} {sheet.made:%B %Y}",
        style=_style(),
    )


def share_html(share: Share, made: datetime, contacts: Sequence[str] = ()) -> str:
    """The sheet of one share of a key."""
    return _template("share.html").render(
        share=share,
        qr=qr_svg(share_text(share, on_paper=True)),
        blanks=range(max(0, LINES_TO_FILL - len(contacts))),
        contacts=contacts,
        date=f"{made.day} {made:%B %Y}",
        style=_style(),
    )


def grouped(secret: str) -> list[str]:
    """A secret in groups that can be read aloud and typed back; put together without spaces they are it."""
    head, separator, rest = secret.rpartition("1")
    return [head + separator, *textwrap.wrap(rest, GROUP)]


def qr_svg(text: str) -> Markup:
    """``text`` as a QR code: inline SVG with its quiet zone, black on white whatever the page's colours."""
    out = BytesIO()
    segno.make_qr(text, error="m").save(
        out,
        kind="svg",
        border=4,
        dark="#000",
        light="#fff",
        xmldecl=False,
        svgns=True,
        omitsize=True,
        nl=False,
    )
    return Markup(out.getvalue().decode("utf-8"))  # noqa: S704 - made by segno, from numbers alone


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("tasks.keys", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


@cache
def _style() -> Markup:
    return Markup(files("tasks.keys").joinpath("style.css").read_text("utf-8"))  # noqa: S704 - our own
