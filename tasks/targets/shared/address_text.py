"""How a target of a plan is told to ``datasave rescue``, on a machine that has no plan: its address.

The other way round from addresses.py, and held to it by a test. No password, no key, nothing secret.
"""

from __future__ import annotations

from shlex import quote
from urllib.parse import quote as escaped

from tasks.options import Options
from tasks.targets.folder.target import FolderOptions
from tasks.targets.s3.options import S3Options
from tasks.targets.sftp.options import SftpOptions
from tasks.targets.shared.addresses import SMB_PORT, SSH_PORT
from tasks.targets.smb.options import SmbOptions


def rescue_words(options: Options) -> tuple[str, ...]:
    """The words after ``datasave rescue`` that lead there, each ready for a shell.

    None for drives: those are looked for. What is only known on the machine of the plan (files with keys
    and certificates) is left out; the command asks, or says what is missing.
    """
    match options:
        case FolderOptions():
            return (quote(str(options.path)),)
        case S3Options():
            address = f"s3://{options.bucket}/{escaped(options.prefix)}".rstrip("/")
            return (
                quote(address),
                *_option("--endpoint", options.endpoint),
                *_option("--region", options.region),
            )
        case SftpOptions():
            port = f":{options.port}" if options.port != SSH_PORT else ""
            path = options.path if options.path.startswith("/") else f"/~/{options.path}"
            address = f"sftp://{escaped(options.user)}@{options.host}{port}{escaped(path, safe='/~')}"
            return (quote(address), *_option("--host-key", options.host_key))
        case SmbOptions():
            port = f":{options.port}" if options.port != SMB_PORT else ""
            folder = f"{options.share}/{options.path}".rstrip("/")
            address = f"smb://{escaped(options.user)}@{options.server}{port}/{escaped(folder)}"
            return (quote(address), *_option("--domain", options.domain))
        case _:
            return ()


def access_needed(options: Options) -> str:
    """What a person must have at hand to reach the target from another machine; "" where nothing."""
    match options:
        case S3Options():
            return "Have the bucket's reading key at hand: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        case SftpOptions():
            return f"Have the password of {options.user} at hand, or its SSH key (--key FILE)."
        case SmbOptions():
            return f"Have the password of {options.user} at hand."
        case _:
            return ""


def _option(name: str, value: str | None) -> tuple[str, ...]:
    return (f"{name} {quote(value)}",) if value else ()
