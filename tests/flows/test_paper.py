"""Keys on paper: a sheet's code is scanned back from a picture of the page, and the key still opens."""

from __future__ import annotations

import base64
import io
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zxingcpp
from playwright.sync_api import Browser, sync_playwright

from deployments.cli import app as cli
from tasks.age.file import decrypt, encrypt
from tasks.age.keys import parse_identity, parse_recipient
from tests.flows.serving import CHROMIUM, QUIET

pytestmark = pytest.mark.slow
PHONE, DESKTOP = 390, 1200
# Nothing else here reads PNG: the browser itself says what is in its picture.
PIXELS = """async (png) => {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, image.width, image.height).data;
  let grey = "";
  for (let at = 0; at < data.length; at += 4) grey += String.fromCharCode(data[at + 1]);
  return [image.width, image.height, btoa(grey)];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield opened
        opened.close()


def scanned(browser: Browser, page_file: Path, width: int = DESKTOP) -> str:
    """What a scanner reads from a picture of the page; the page fetches nothing and fits its width."""
    page = browser.new_page(viewport={"width": width, "height": 900}, device_scale_factor=2)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture = page.screenshot(full_page=True)
    page.close()
    assert asked == [page_file.as_uri()]
    (code,) = zxingcpp.read_barcodes(pixels(browser, picture))
    return str(code.text)


def pixels(browser: Browser, png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The grey values of a picture, a byte for each of its pixels."""
    page = browser.new_page()
    width, height, grey = page.evaluate(PIXELS, base64.b64encode(png).decode())
    page.close()
    return np.frombuffer(base64.b64decode(grey), np.uint8).reshape(height, width)


def pages_printed(browser: Browser, page_file: Path, paper: str) -> int:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    printed = page.pdf(format=paper)
    page.close()
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", printed))


def new_key(folder: Path, *options: str) -> Path:
    key = folder / "owner.key.txt"
    assert cli.main(["keys", "new", "--holder", "Dr. <Müller> & Söhne", "--out", str(key), *options]) == 0
    return key


def recipient_of(key: Path) -> str:
    return next(line for line in key.read_text("utf-8").splitlines() if "public key: " in line)[14:]


def opens(identity_line: str, recipient: str) -> bool:
    sealed, plain = io.BytesIO(), io.BytesIO()
    encrypt(io.BytesIO(b"patients"), sealed, [parse_recipient(recipient)])
    decrypt(io.BytesIO(sealed.getvalue()), plain, [parse_identity(identity_line)])
    return plain.getvalue() == b"patients"


@pytest.mark.parametrize("options", [(), ("--post-quantum",)], ids=["classic", "post-quantum"])
def test_the_code_on_a_sheet_is_the_key(tmp_path: Path, browser: Browser, options: tuple[str, ...]) -> None:
    key, sheet = new_key(tmp_path, *options), tmp_path / "sheet.html"
    assert cli.main(["keys", "sheet", "--identity", str(key), "--out", str(sheet)]) == 0
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
    secret = key.read_text("utf-8").splitlines()[-1]
    assert scanned(browser, sheet) == scanned(browser, sheet, PHONE) == secret
    assert opens(scanned(browser, sheet), recipient_of(key))
    text = sheet.read_text("utf-8")
    groups = re.search(r'aria-label="The key">(.*?)</div>', text, re.DOTALL)
    assert groups
    assert "".join(re.sub("<[^>]*>", "", groups[1]).split()) == secret
    assert "Dr. &lt;Müller&gt; &amp; Söhne" in text
    assert pages_printed(browser, sheet, "A4") == 1
    assert pages_printed(browser, sheet, "Letter") <= (2 if options else 1)


def test_stock_age_opens_with_what_was_scanned(tmp_path: Path, browser: Browser) -> None:
    key, sheet, sealed = new_key(tmp_path), tmp_path / "sheet.html", tmp_path / "data.age"
    assert cli.main(["keys", "sheet", "--identity", str(key), "--out", str(sheet)]) == 0
    subprocess.run(
        ["age", "-r", recipient_of(key), "-o", str(sealed)],
        input=b"patients",
        check=True,
        capture_output=True,
    )
    typed = tmp_path / "key.txt"
    typed.write_text(scanned(browser, sheet), "utf-8")
    done = subprocess.run(["age", "-d", "-i", str(typed), str(sealed)], capture_output=True, check=True)
    assert done.stdout == b"patients"


@pytest.mark.parametrize("options", [(), ("--post-quantum",)], ids=["classic", "post-quantum"])
def test_two_scanned_shares_are_the_key_and_one_is_not(
    tmp_path: Path, browser: Browser, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    key, folder = new_key(tmp_path, *options), tmp_path / "shares"
    splitting = [
        "keys",
        "split",
        "--identity",
        str(key),
        "--shares",
        "3",
        "--needed",
        "2",
        "--out",
        str(folder),
    ]
    assert cli.main(splitting) == 0
    assert cli.main(splitting) == 1, "shares are never overwritten"
    sheets = sorted(folder.glob("*.html"))
    assert len(sheets) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert pages_printed(browser, sheets[0], "A4") == pages_printed(browser, sheets[0], "Letter") == 1
    typed = [tmp_path / "first.txt", tmp_path / "third.txt"]
    for path, sheet in zip(typed, (sheets[0], sheets[2]), strict=True):
        path.write_text(scanned(browser, sheet), "utf-8")
    again = tmp_path / "again.key.txt"
    assert cli.main(["keys", "join", str(typed[0]), "--out", str(again)]) == 1
    assert "2 shares are needed, there is 1" in capsys.readouterr().err
    assert not again.exists()
    assert cli.main(["keys", "join", *map(str, typed), "--out", str(again)]) == 0
    assert again.read_text("utf-8").splitlines()[-1] == key.read_text("utf-8").splitlines()[-1]
    assert recipient_of(again) == recipient_of(key)


def test_shares_of_another_key_under_this_ones_fingerprint_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words that fit together, but for another key than the one the shares say they are of."""
    key, folder = new_key(tmp_path), tmp_path / "shares"
    assert cli.main(["keys", "split", "--identity", str(key), "--out", str(folder)]) == 0
    texts = sorted(folder.glob("*.txt"))
    for path in texts:
        lines = path.read_text("utf-8").splitlines()
        lines[3] = "# fingerprint: " + " ".join(["ABCD"] * 8)
        path.write_text("\n".join(lines), "utf-8")
    again = tmp_path / "again.key.txt"
    assert cli.main(["keys", "join", *map(str, texts[:2]), "--out", str(again)]) == 1
    assert "not the recorded one" in capsys.readouterr().err
    assert not again.exists()
