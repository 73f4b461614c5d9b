"""What ransomware leaves in files: headers that no longer fit, typical names, contents like noise.

Pure functions. Counts only, never a file's name: a name may be a patient's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from tasks.records import Record

HEAD = 512
BLOCK = 4096
# Random bytes come to some 7.95 bits a byte in a block of this size, a page four fifths full of them to 7.2;
# text, tables and pages to 6 at most.
NOISE_BITS = 7.0
WORSE = 0.1
NOISIER = 0.3
NEW_EXTENSION = 0.3
SEVERAL = 3
EXTENSIONS_KEPT = 60

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OLE = (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)
_JPEG = (b"\xff\xd8\xff",)
_TIFF = (b"II*\x00", b"MM\x00*")
_SQLITE = (b"SQLite format 3\x00",)
# What each maker's files begin with. `doc` may also be RTF that was named so.
MAGIC: dict[str, tuple[bytes, ...]] = {
    **dict.fromkeys(("docx", "xlsx", "pptx", "odt", "ods", "odp", "zip", "jar", "epub"), _ZIP),
    **dict.fromkeys(("doc", "xls", "ppt", "msg", "msi"), (*_OLE, b"{\\rtf")),
    **dict.fromkeys(("jpg", "jpeg"), _JPEG),
    **dict.fromkeys(("tif", "tiff"), _TIFF),
    **dict.fromkeys(("db", "sqlite", "sqlite3"), _SQLITE),
    **dict.fromkeys(("exe", "dll"), (b"MZ",)),
    "pdf": (b"%PDF",),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "gif": (b"GIF8",),
    "bmp": (b"BM",),
    "rtf": (b"{\\rtf",),
    "gz": (b"\x1f\x8b",),
    "7z": (b"7z\xbc\xaf\x27\x1c",),
    "zst": (b"\x28\xb5\x2f\xfd",),
    "mdb": (b"\x00\x01\x00\x00Standard Jet DB",),
    "accdb": (b"\x00\x01\x00\x00Standard ACE DB",),
    "dump": (b"PGDMP",),
    "xml": (b"<", b"\xef\xbb\xbf<", b"\xff\xfe<", b"\xfe\xff\x00<"),
}
# Compressed by the programs that write them: these look random when they are whole.
PACKED = (*_ZIP, *_JPEG, *MAGIC["png"], *MAGIC["gz"], *MAGIC["7z"], *MAGIC["zst"], *MAGIC["pdf"], b"GIF8")
RANSOM = re.compile(
    r"\.(locked|lock(bit|y|file)\w*|encrypt(ed)?|enc(rypted)?\d*|crypt(ed|o|oshield|z)?\d*|cryp1|crinf|wn?cry"
    r"|ryk|conti|akira|blackcat|alphv|medusa|hive|ransom\w*|djvu|zepto|cerber\d?|dharma|phobos|maze"
    r"|clop|cl0p|babyk|rhysida|r5a|vvv|pay2key)$",
    re.IGNORECASE,
)
NOTE = re.compile(
    r"(how|help)[-_ ]?(to|me)?[-_ ]?(de?crypt|recover|restore|unlock)|(de?crypt|recover|restore|unlock)"
    r"[-_ ]?(my|your|instruct|files?|me|info|readme)|read[-_ ]?me[-_ ]?(now|to|for)[-_ ]?(decrypt|restore"
    r"|recover|unlock)|^_readme\.txt$|ransom[-_ ]?note|your[-_ ]?files[-_ ]?are|lockbit.*readme"
    r"|readme.*(decrypt|locked|encrypted)",
    re.IGNORECASE,
)


class FileSigns(Record):
    """What the files of a copy look like from outside.

    ``known`` of ``files`` have an extension whose header is known, ``broken`` of these another header.
    ``ransom`` have an extension that ransomware gives, ``notes`` look like ransom notes. ``noise`` is
    the share of sampled blocks that look random; ``extensions`` counts the commonest.
    """

    files: int = 0
    known: int = 0
    broken: int = 0
    ransom: int = 0
    notes: int = 0
    noise: float = 0.0
    extensions: dict[str, int] = Field(default_factory=dict)


def extension_of(name: str) -> str:
    """A file's extension in lower case without its dot; empty where it has none."""
    base, dot, extension = name.rpartition(".")
    return extension.lower() if dot and base and len(extension) <= 20 else ""


def fits(head: bytes, extension: str) -> bool | None:
    """Whether a file begins as its extension promises; None where nothing is known of it. Empty files fit."""
    magic = MAGIC.get(extension)
    if magic is None:
        return None
    return not head or head.startswith(magic) or head.lstrip().startswith(magic)


def is_noise(block: bytes) -> bool:
    """Whether a whole block looks random: encrypted, or packed. Short ones don't tell."""
    if len(block) < BLOCK:
        return False
    counts = Counter(block)
    bits = -sum(n / len(block) * math.log2(n / len(block)) for n in counts.values())
    return bits > NOISE_BITS


def compare_files(before: Sequence[FileSigns], now: FileSigns) -> list[tuple[str, str]]:
    """(sign, words) for what looks damaged in the files of ``now``; nothing where there is no ``before``."""
    if not before or not now.files:
        return []
    found = []
    broken = now.broken / max(now.known, 1)
    usual = max(old.broken / max(old.known, 1) for old in before)
    if broken > usual + WORSE:
        words = f"{now.broken:,} of {now.known:,} files no longer begin as files of their kind do"
        found.append(("file headers", words))
    ransom = now.ransom - max(old.ransom for old in before)
    if ransom >= max(1, min(SEVERAL, now.files // 2)):
        found.append(("ransom names", f"{ransom:,} more files are named as ransomware names them"))
    if now.notes > max(old.notes for old in before):
        found.append(("ransom notes", f"{now.notes:,} files are named like a ransom note"))
    found += _new_extension(before, now)
    noise = max(old.noise for old in before)
    if now.noise > noise + NOISIER:
        words = f"{now.noise:.0%} of what was sampled looks encrypted, {noise:.0%} before"
        found.append(("noise", words))
    return found


def _new_extension(before: Sequence[FileSigns], now: FileSigns) -> list[tuple[str, str]]:
    known = {extension for old in before for extension in old.extensions}
    for extension, count in now.extensions.items():
        if extension and extension not in known and count > SEVERAL and count > NEW_EXTENSION * now.files:
            words = f"{count:,} of {now.files:,} files have the new extension .{extension}"
            return [("file names", words)]
    return []
