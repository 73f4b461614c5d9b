#!/bin/sh
# What this machine needs beyond Python packages. Debian and Ubuntu; safe to run again.
#   machine.sh python [PYTHON]   a Python that can make virtual environments
#   machine.sh tests             the programs that tests and benchmarks run
set -eu

install() {
    missing=""
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" = 0 ]; then as_root=""; else as_root="sudo"; fi
    echo "installing:$missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

case "${1:-}" in
python)
    python="${2:-python3}"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        install python3 python3-venv
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Python 3.11 or later is needed: make PYTHON=python3.12" >&2
        exit 1
    }
    ;;
tests)
    # Tests start servers of their own, in scratch folders: the packages must not start theirs.
    RUNLEVEL=1
    export RUNLEVEL
    install age zstd tar restic borgbackup chromium libodbc2 e2fsprogs exfatprogs exfat-fuse ntfs-3g mount util-linux
    install postgresql postgresql-contrib pgbackrest odbc-postgresql mariadb-server mariadb-backup odbc-mariadb
    install gcc libc6-dev libsqliteodbc tdsodbc
    install systemd
    install radosgw ceph-mon ceph-osd ceph-common faketime openssh-server samba
    ;;
*)
    echo "usage: machine.sh python|tests" >&2
    exit 2
    ;;
esac
