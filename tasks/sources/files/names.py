"""Names of a folder's files: as text that holds any bytes, as names that any system's archive takes.

Inside a copy a file lies under its own name wherever every system could hold that name. Where one could
not (bytes that are no text, characters and devices that Windows keeps for itself, ``A`` beside ``a``, a
path that is too long), the copy holds it under a stand-in, and the index (files_index.py) says whose.
"""

from __future__ import annotations

import os
import re
import unicodedata
from urllib.parse import unquote_to_bytes

CONTENTS = "files"
"""The folder of a copy that mirrors the original one."""

OVERLONG = "long"
"""The folder of a copy for files whose path would be too long inside CONTENTS; they are numbered."""

LONGEST_PART = 255  # bytes of UTF-8; Windows counts UTF-16 units, which are never more
# Staging adds its own path in front: Linux takes 4096 bytes in all, Windows 260 unless told otherwise.
LONGEST_PATH = 160 if os.name == "nt" else 2048

_UNTEXTUAL = re.compile(r"[%\x00-\x1f\x7f\udc80-\udcff]")
_NOT_PORTABLE = re.compile(r'[\x00-\x1f\x7f\udc80-\udcff<>:"|?*\\]')
_DROPPED_END = re.compile(r"[. ]\Z")
# learn.microsoft.com, "Naming Files, Paths, and Namespaces": reserved with any extension too.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|\Z)", re.IGNORECASE)


def text_of(path: str) -> str:
    """A path as text without loss: percent, control characters and bytes that are no UTF-8 as %XX."""
    text = os.fsencode(path).decode("utf-8", "surrogateescape")
    return _UNTEXTUAL.sub(_escaped, text)


def path_of(text: str) -> str:
    """The path that ``text_of`` was given. Raises ValueError (UnicodeError) where it cannot be one."""
    return os.fsdecode(unquote_to_bytes(text))


def shown(path: str) -> str:
    """A path for messages, on one line, shortened."""
    text = "".join(char if char.isprintable() else "?" for char in text_of(path))
    return text if len(text) <= 120 else f"{text[:60]}…{text[-59:]}"


def listed(names: list[str] | tuple[str, ...], count: int) -> str:
    """Some of ``count`` names for a message, and how many more there are."""
    more = count - len(names)
    return f"{', '.join(names)}{f' and {more:,} more' if more else ''}"


class StandIns:
    """Gives each path of the folder its place in the copy. A folder must be given before what it holds."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {"": CONTENTS}
        self._taken: set[str] = set()
        self._overlong = 0

    def folder(self, path: str) -> str:
        """The place of a folder in the copy, or "" where only its files have one."""
        self._folders[path] = self._place(path)
        return self._folders[path]

    def file(self, path: str) -> str:
        """The place of a file in the copy: relative, forward slashes, plain text, no other has it."""
        place = self._place(path)
        if not place:
            self._overlong += 1
            place = f"{OVERLONG}/{self._overlong:08d}"
        return place

    def _place(self, path: str) -> str:
        parent, _, name = path.rpartition("/")
        above = self._folders[parent]
        if not above:
            return ""
        wanted = portable(name)
        place, number = f"{above}/{wanted}", 1
        while _folded(place) in self._taken:
            number += 1
            place = f"{above}/{_numbered(wanted, number)}"
        if len(os.fsencode(place)) > LONGEST_PATH:
            return ""
        self._taken.add(_folded(place))
        return place


def portable(name: str) -> str:
    """``name`` itself where every system can hold it, else one that resembles it."""
    text = os.fsencode(name).decode("utf-8", "surrogateescape")
    text = _NOT_PORTABLE.sub(_escaped, text)
    text = _DROPPED_END.sub(_escaped, text)
    if _DEVICE.match(text):
        text = f"%{ord(text[0]):02X}{text[1:]}"
    return text if len(text.encode()) <= LONGEST_PART else _cut(text, LONGEST_PART)


def impossible(names: list[str], *, windows: bool = os.name == "nt") -> list[str]:
    """Those of these paths that this system cannot hold, each with the reason, ready for a message."""
    found = []
    seen: set[str] = set()
    for path in names:
        name = path.rpartition("/")[2]
        folded = path.upper()
        if len(os.fsencode(name)) > LONGEST_PART and not windows:
            found.append(f"{shown(path)} (longer than {LONGEST_PART} bytes)")
        elif windows and portable(name) != name:
            found.append(f"{shown(path)} (Windows does not allow this name)")
        elif windows and folded in seen:
            found.append(f"{shown(path)} (Windows takes it for the same name as another)")
        seen.add(folded)
    return found


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Python's stand-in for the byte 0xXY that is no UTF-8 is the code point 0xDCXY.
    return f"%{code & 0xFF:02X}"


def _numbered(name: str, number: int) -> str:
    """``name`` told apart from others, its ending kept so that programs still open it."""
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > 8:
        stem, dot, ending = name, "", ""
    tail = f"%~{number}{dot}{ending}"
    return _cut(stem, LONGEST_PART - len(tail.encode())) + tail


def _cut(text: str, most: int) -> str:
    # A dot or a space at the new end would be dropped by Windows.
    return text.encode()[:most].decode("utf-8", "ignore").rstrip(". ")


def _folded(place: str) -> str:
    """Equal for names that some file system takes for the same: case and composed accents are ignored."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", place).upper().casefold())
