"""A child program closed in: it sees the system's programs, the folders it is given, and nothing else.

A private engine runs what a copied database holds: functions, casts, archive commands. On Linux with
util-linux it gets namespaces of its own: a file system of programs (read-only) and the folders named, no
network, no process but its own, no shared memory of others, no capability. Elsewhere there is no sandbox.
Not bounded are memory, time on the processor and the room that it fills in the folders it may write to; the
bound on processes is one for the whole account.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from tasks.errors import ProgramError
from tasks.platform.accounts import is_root
from tasks.platform.processes import Argument, run

MOST_PROCESSES = 1024
WAY_OUT = (
    "On Linux install util-linux, and let this account make user namespaces (sysctl "
    "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a container "
    "allow unshare and mount)."
)
_TOOLS = ("unshare", "mount", "umount", "pivot_root", "prlimit")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")

# Arguments: ACCOUNT PROCESSES READABLE… -- WRITABLE… -- PROGRAM …
_SCRIPT = r"""
set -eu
account=$1 processes=$2 root=/sys
shift 2
shown() {  # FOLDER OPTIONS: the same folder in the new file system
    mkdir -p "$root$1"
    mount --rbind "$1" "$root$1"
    mount -o "remount,bind,nosuid,nodev$2" "$root$1"
}
mount -t tmpfs -o mode=0755,size=1m,nosuid sandbox "$root"
for name in usr bin sbin lib lib32 lib64; do
    if [ -L "/$name" ]; then cp -P "/$name" "$root/$name"
    elif [ -d "/$name" ]; then shown "/$name" ,ro
    fi
done
mkdir -p "$root/etc" "$root/dev/shm" "$root/proc" "$root/tmp" "$root/old"
for name in ld.so.cache localtime; do
    if [ -e "/etc/$name" ]; then cp -L "/etc/$name" "$root/etc/$name"; fi
done
# Links from /usr lead there: to libraries, to dictionaries for text search.
for name in /etc/alternatives /var/cache/postgresql; do
    if [ -d "$name" ]; then shown "$name" ,ro; fi
done
echo "datasave:x:$account:$account::/:/bin/sh" > "$root/etc/passwd"
echo "datasave:x:$account:" > "$root/etc/group"
while [ "$1" != -- ]; do shown "$1" ,ro; shift; done
shift
while [ "$1" != -- ]; do shown "$1" ""; shift; done
shift
for name in null zero full random urandom; do
    : > "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# Root's processes may write to these without any capability, and the whole machine obeys.
for name in sys irq bus fs; do
    if [ -d "$root/proc/$name" ]; then
        mount --bind "$root/proc/$name" "$root/proc/$name"
        mount -o remount,bind,ro,nosuid,nodev,noexec "$root/proc/$name"
    fi
done
if [ -e "$root/proc/sysrq-trigger" ]; then mount --bind "$root/dev/null" "$root/proc/sysrq-trigger"; fi
cd "$root"
pivot_root . old
cd /
umount -l old
rmdir old
mount -o remount,bind,ro,nosuid /
# From here on an account without any right over what was mounted.
exec unshare --user --map-user="$account" --map-group="$account" -- \
    prlimit --nproc="$processes" --core=0 -- "$@"
"""


def sandboxed(
    command: Sequence[Argument],
    *,
    writable: Sequence[Path],
    readable: Sequence[Path] = (),
    folder: Path | None = None,
) -> list[Argument] | None:
    """The command that runs ``command`` in a sandbox; None where this machine has none.

    Paths must be absolute, and the folders there. ``readable`` are more folders, of programs or of what they
    read; the command runs in ``folder``, else in the root. It is not run as root, also where this process is.
    """
    if not available():
        return None
    inside = command if folder is None else ["env", f"--chdir={folder}", *command]
    return _command(inside, writable, readable)


def available() -> bool:
    """Whether this machine has what a sandbox takes, and lets this account make one."""
    return not missing()


@lru_cache(maxsize=1)
def missing() -> str:
    """What this machine lacks for a sandbox, in words; empty where it has one."""
    if not sys.platform.startswith("linux"):
        return "this system has none: it takes Linux"
    if lacking := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"not here: {', '.join(lacking)}"
    try:
        allowed = run(_command(["true"], [], []), seconds=30).code == 0
    except ProgramError:
        allowed = False
    return "" if allowed else "this account may not make namespaces here"


def tightness() -> str:
    """How closely programs that open copies are closed in on this machine, in words."""
    if lack := missing():
        return f"no sandbox: {lack}"
    inside = f"as account {_account()} without capabilities" if is_root() else "without capabilities"
    return f"files, processes, network, shared memory and accounts of their own (namespaces), {inside}"


def _account() -> str:
    """The number of the account inside: nobody's where this process is root."""
    if sys.platform == "win32":
        return ""  # there is no sandbox
    return "1000" if is_root() else str(os.geteuid())


def _command(
    command: Sequence[Argument], writable: Sequence[Path], readable: Sequence[Path]
) -> list[Argument]:
    account = _account()
    rights = [] if is_root() else ["--map-root-user"]
    more = [path for path in readable if not any(path.is_relative_to(one) for one in _SYSTEM)]
    return [
        *("unshare", *rights, "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "--"),
        *("sh", "-c", _SCRIPT, "sandbox", account, str(MOST_PROCESSES)),
        *(*more, "--", *writable, "--", *command),
    ]
