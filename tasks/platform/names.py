"""Names of files: which an archive and each system take, stand-ins for others, names in messages.

One set of rules for whoever writes an archive, extracts one, or copies a folder. All checks are made on the
text alone, before anything is created: what a path resolves to on the disk can change between a look and an
act. Paths are relative with forward slashes; bytes that are no UTF-8 are in them as Python has them
(surrogateescape).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote_to_bytes

LONGEST_PATH = 4096
LONGEST_NAME = 255  # bytes of UTF-8; Windows counts UTF-16 units, which are never more

_DRIVE = re.compile(r"[A-Za-z]:")
# learn.microsoft.com, "Naming Files, Paths, and Namespaces": devices are reserved with any extension too.
_WINDOWS_CHARACTERS = r'\x00-\x1f<>:"|?*\\'
_WINDOWS_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|\Z)", re.IGNORECASE
)
_WINDOWS_END = re.compile(r"[. ]\Z")
_NO_TEXT = r"\x7f\udc80-\udcff"
_NOT_ON_WINDOWS = re.compile(f"[{_WINDOWS_CHARACTERS}]")
_NOT_PORTABLE = re.compile(f"[{_WINDOWS_CHARACTERS}{_NO_TEXT}]")
_NOT_PLAIN = re.compile(f"[%\\x00-\\x1f{_NO_TEXT}]")


def name_defect(name: str, *, windows: bool = os.name == "nt") -> str:
    """Why a member of an archive must not have this name, or "" where it may.

    ``windows`` adds what only Windows would take for something else: devices, streams, dropped dots.
    """
    if not name or len(name) > LONGEST_PATH:
        return "its name is empty or too long"
    if name.startswith("/") or _DRIVE.match(name):
        return "its name is an absolute path"
    if "\\" in name or "\0" in name:
        return "its name contains a backslash or a zero byte"
    parts = name.split("/")
    if ".." in parts:
        return "its name leads upwards out of its folder"
    if "" in parts or "." in parts:
        return "its name has empty parts"
    return next(filter(None, map(_windows_defect, parts)), "") if windows else ""


def link_defect(name: str, target: str) -> str:
    """Why the symbolic link ``name`` must not point to ``target``, or "" where it may.

    ``..`` is allowed at the beginning of a target only. There it climbs real folders, since no member
    lies beneath a link; further on it could climb from wherever another link led to, and a target that
    looks harmless as text would leave the folder on the disk.
    """
    if not target or len(target) > LONGEST_PATH:
        return "it is a link whose target is empty or too long"
    if target.startswith("/") or _DRIVE.match(target) or "\\" in target or "\0" in target:
        return "it is a link to an absolute path"
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    if ".." in parts[climbs:]:
        return "it is a link that leads upwards after it led down"
    if climbs > name.count("/"):
        return "it is a link that leads out of the folder"
    return ""


def unfit_paths(
    paths: Iterable[str], *, room: int = LONGEST_PATH, windows: bool = os.name == "nt"
) -> Iterator[tuple[str, str]]:
    """Those of these paths that this system cannot hold, each with the reason.

    ``room`` is how many bytes a path may have where it is to lie; Windows has no such limit, as we ask it.
    """
    seen: set[str] = set()
    for path in paths:
        name, folded = path.rpartition("/")[2], path.upper()
        if len(os.fsencode(name)) > LONGEST_NAME and not windows:
            yield path, f"longer than {LONGEST_NAME} bytes"
        elif len(os.fsencode(path)) > room and not windows:
            yield path, "its whole path would be too long in that folder"
        elif windows and portable(name) != name:
            yield path, "Windows does not allow this name"
        elif windows and folded in seen:
            yield path, "Windows takes it for the same name as another"
        seen.add(folded)


def portable(name: str) -> str:
    """``name`` itself where every system can hold it, else one that resembles it."""
    text = _NOT_PORTABLE.sub(_escaped, _as_text(name))
    text = _WINDOWS_END.sub(_escaped, text)
    if _WINDOWS_DEVICE.match(text):
        text = f"%{ord(text[0]):02X}{text[1:]}"
    return text if len(text.encode()) <= LONGEST_NAME else _cut(text, LONGEST_NAME)


def numbered(name: str, number: int) -> str:
    """``name`` told apart from others, its ending kept so that programs still open it."""
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > 8:
        stem, dot, ending = name, "", ""
    tail = f"%~{number}{dot}{ending}"
    return _cut(stem, LONGEST_NAME - len(tail.encode())) + tail


def folded(path: str) -> str:
    """Equal for paths that some file system takes for the same: case and composed accents are ignored."""
    if path.isascii():
        return path.lower()  # the same, as most are
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).upper().casefold())


def text_of(path: str) -> str:
    """A path as text without loss: percent, control characters and bytes that are no UTF-8 as %XX."""
    return _NOT_PLAIN.sub(_escaped, _as_text(path))


def path_of(text: str) -> str:
    """The path that ``text_of`` was given. Raises ValueError (UnicodeError) where it cannot be one."""
    if text.isascii() and "%" not in text:
        return text  # as most are, of many
    return os.fsdecode(unquote_to_bytes(text))


def shown(path: str) -> str:
    """A path for messages, on one line, shortened."""
    text = "".join(char if char.isprintable() else "?" for char in text_of(path))
    return text if len(text) <= 120 else f"{text[:60]}…{text[-59:]}"


def listed(names: Sequence[str], count: int) -> str:
    """Some of ``count`` names for a message, and how many more there are."""
    more = count - len(names)
    return f"{', '.join(names)}{f' and {more:,} more' if more else ''}"


def in_quotes(name: str) -> str:
    """A name out of an archive for messages: control characters escaped, shortened. It may be hostile."""
    return ascii(name) if len(name) <= 200 else f"{name[:200]!a}…"


def _windows_defect(name: str) -> str:
    if _NOT_ON_WINDOWS.search(name):
        return "its name has a character that Windows does not allow"
    if _WINDOWS_END.search(name):
        return "its name ends with a dot or a space, which Windows drops"
    if _WINDOWS_DEVICE.match(name):
        return "its name is that of a device on Windows"
    return ""


def _as_text(name: str) -> str:
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "surrogateescape")


def _escaped(match: re.Match[str]) -> str:
    # Python's stand-in for the byte 0xXY that is no UTF-8 is the code point 0xDCXY.
    return f"%{ord(match[0]) & 0xFF:02X}"


def _cut(text: str, most: int) -> str:
    # A dot or a space at the new end would be dropped by Windows.
    return text.encode()[:most].decode("utf-8", "ignore").rstrip(". ")
