"""What would keep somebody from reading a page: found in the page itself, as Chromium lays it out.

The rules are those of WCAG 2.2 (A and AA) that a program can judge of pages without scripts and forms.
"""

from __future__ import annotations

from playwright.sync_api import Page

PHONE, DESK, PAPER = 390, 1200, 703
"""Widths in CSS pixels; paper: A4 within its margins of 12 mm."""
CONTRAST = 4.5

STRUCTURE = """() => {
  const faults = [], all = (selector) => [...document.querySelectorAll(selector)];
  const says = (element) => element.textContent.replace(/[\\s\\uFE0E]+/g, " ").trim();
  const fault = (what, element) => faults.push(element ? `${what}: ${says(element).slice(0, 60)}` : what);
  if (!document.documentElement.lang) fault("no language");
  if (!document.title.trim()) fault("no title");
  if (all("main").length !== 1) fault("not one main");
  if (all("h1").length !== 1) fault("not one h1");
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) fault(`h${next} after h${level}`, heading);
    if (!says(heading)) fault(`an empty h${next}`);
    level = next;
  }
  for (const table of all("table:not([role=presentation])")) {
    if (!table.caption || !says(table.caption)) fault("a table without a caption", table);
    if (!table.querySelector("th")) fault("a table without heads", table);
  }
  for (const head of all("th")) {
    if (!["col", "row"].includes(head.scope)) fault("a head without a scope", head);
    if (!says(head)) fault("an empty head", head.closest("tr"));
  }
  for (const image of all("img, [role=img], svg")) {
    const hidden = image.closest("[aria-hidden=true]") || image.parentElement.closest("[role=img]");
    const name = image.getAttribute("alt") || image.getAttribute("aria-label");
    if (!hidden && !name) fault("an unnamed picture");
  }
  for (const link of all("a")) {
    if (!link.hasAttribute("href")) fault("a link to nowhere", link);
    if (/^(.{0,3}|here|more|link)$/i.test(says(link))) fault("a link that says nothing", link);
  }
  for (const field of all("input, select, textarea")) {
    if (!field.labels.length && !field.ariaLabel) fault("a field without a label");
  }
  const ids = all("[id]").map((element) => element.id);
  if (new Set(ids).size !== ids.length) fault("an id that is there twice");
  for (const element of all("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (own && !element.closest("main")) fault("text outside of main", element);
    if (element.tabIndex > 0) fault("an order of its own", element);
  }
  return faults;
}"""

CONTRASTS = """(least) => {
  const faults = new Set();
  const numbers = (colour) => {
    const [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
    return [red, green, blue, alpha];
  };
  const over = (top, below) => top.slice(0, 3).map((value, at) => value * top[3] + below[at] * (1 - top[3]));
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const own = numbers(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, behind(element.parentElement));
  };
  const light = (colour) => {
    const [red, green, blue] = colour.map((value) => value / 255)
      .map((share) => share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const text = walker.currentNode, element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility() || element.closest("svg")) continue;
    const below = behind(element), colour = numbers(getComputedStyle(element).color);
    const [high, low] = [light(over(colour, below)), light(below)].sort((one, two) => two - one);
    const ratio = (high + 0.05) / (low + 0.05);
    seen += 1;
    if (ratio < least) faults.add(`contrast ${ratio.toFixed(2)}: ${text.data.trim().slice(0, 40)}`);
  }
  return seen ? [...faults] : ["no text was seen"];
}"""

UNFOCUSED = """() => [...document.querySelectorAll("a, summary, button, input")].filter((element) => {
  element.focus({focusVisible: true});
  const {outlineStyle, outlineWidth} = getComputedStyle(element);
  return document.activeElement !== element || outlineStyle === "none" || parseFloat(outlineWidth) < 2;
}).map((element) => `no visible focus: ${element.textContent.trim()}`)"""

# A verdict: the first heading, and every word in a colour other than good's.
HIDDEN = """() => [...document.querySelectorAll("h1, .badge.bad, .badge.warn")]
  .filter((element) => !element.checkVisibility({visibilityProperty: true, opacityProperty: true})
    || element.getBoundingClientRect().height < 5)
  .map((element) => `hidden on paper: ${element.textContent.trim()}`)"""

# What is to be typed must be made of words, and a word that fits its line must not lie on two.
BROKEN = """() => [...document.querySelectorAll("code, pre")].filter((typed) =>
  !typed.querySelector(".word") && /\\S\\s+\\S|\\w-\\w.*-/.test(typed.textContent)
).map((typed) => `not in words: ${typed.textContent}`).concat(
[...document.querySelectorAll(".word")].filter((word) => {
  const range = document.createRange(), block = word.closest("pre, p, td, dd, li, footer");
  range.selectNodeContents(word);
  const lines = new Set([...range.getClientRects()].map((line) => Math.round(line.top)));
  const {paddingLeft, paddingRight} = getComputedStyle(block);
  const room = block.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  word.style.whiteSpace = "nowrap";
  word.style.maxWidth = "none";
  const wide = word.getBoundingClientRect().width;
  word.style.whiteSpace = word.style.maxWidth = "";
  return lines.size > 1 && wide < room;
}).map((word) => `broken inside a word: ${word.textContent}`))"""

TOO_WIDE = (
    "() => document.documentElement.scrollWidth > innerWidth ? [`scrolls sideways at ${innerWidth}`] : []"
)


def faults(page: Page) -> list[str]:
    """What is wrong with an open page: in light and dark, on a telephone, a desk and paper."""
    found: list[str] = list(page.evaluate(STRUCTURE))
    for scheme in ("light", "dark"):
        page.emulate_media(media="screen", color_scheme=scheme)
        found += [f"{fault} ({scheme})" for fault in page.evaluate(CONTRASTS, CONTRAST)]
        found += page.evaluate(UNFOCUSED)
    for width in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": 800})
        found += page.evaluate(TOO_WIDE) + page.evaluate(BROKEN)
    page.emulate_media(media="print", color_scheme="light")
    page.set_viewport_size({"width": PAPER, "height": 1000})
    return found + page.evaluate(HIDDEN) + page.evaluate(TOO_WIDE) + page.evaluate(BROKEN)
