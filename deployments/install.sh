#!/bin/sh
# Installs Datasave on Linux or macOS, or updates it. Lies in a release beside the wheel, its lock file and their
# sums (`make release`). What it does, in this order:
#
#   1. compares the release's files with SHA256SUMS
#   2. makes a Python environment for this version: with uv, else with a Python 3.11 or later that is here, else it
#      gets uv; all packages by the hashes of the lock file
#   3. proves it with `datasave self-check`; only then `datasave` on the PATH is this version
#   4. makes private folders for plans and state, where there are none; nothing in them is ever touched
#   5. ends with `datasave doctor` for each plan that is there
#
# Run again with a newer release it updates; the version before stays, and `install.sh --back` returns to it.
set -eu

usage() {
    cat <<'TEXT'
usage: sh install.sh [--back] [--user] [--python PYTHON] [--packages FOLDER] [--prefix FOLDER] [--bin FOLDER]
                     [--plans FOLDER] [--state FOLDER]
  --back             the version before once more; plans and state stay as they are
  --user             for this account alone, also where this is root
  --python PYTHON    the Python to use
  --packages FOLDER  take the packages from a folder, and nothing from the network
  --prefix FOLDER    where the program goes: /opt/datasave, or ~/.local/share/datasave
  --bin FOLDER       a folder of the PATH: /usr/local/bin, or ~/.local/bin
  --plans FOLDER     private folder for plans: /etc/datasave, or ~/.config/datasave
  --state FOLDER     private folder for state: /var/lib/datasave, or ~/.local/state/datasave
TEXT
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '  -> %s\n' "$2" >&2
    exit 1
}

UV_VERSION=0.13.9
back="" user="" python="" packages="" prefix="" bin="" plans="" state=""
[ "$(id -u)" = 0 ] || user=yes
while [ $# -gt 0 ]; do
    case "$1" in
    --back) back=yes ;;
    --user) user=yes ;;
    --python | --packages | --prefix | --bin | --plans | --state)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case "$1" in
        --python) python=$2 ;;
        --packages) packages=$2 ;;
        --prefix) prefix=$2 ;;
        --bin) bin=$2 ;;
        --plans) plans=$2 ;;
        --state) state=$2 ;;
        esac
        shift
        ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
if [ -n "$user" ]; then
    : "${prefix:=${XDG_DATA_HOME:-$HOME/.local/share}/datasave}" "${bin:=$HOME/.local/bin}"
    : "${plans:=${XDG_CONFIG_HOME:-$HOME/.config}/datasave}" "${state:=${XDG_STATE_HOME:-$HOME/.local/state}/datasave}"
else
    : "${prefix:=/opt/datasave}" "${bin:=/usr/local/bin}" "${plans:=/etc/datasave}" "${state:=/var/lib/datasave}"
fi
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# Where a link in the prefix points, as versions/NAME; empty where there is none.
points_to() { readlink "$prefix/$1" 2>/dev/null || true; }

# Make a link in the prefix, over the one that is there: a moment without it would be one without a program.
point() {
    ln -s "$2" "$prefix/.$1.$$"
    "$prefix/$2/bin/python" -c 'import os, sys; os.replace(*sys.argv[1:])' "$prefix/.$1.$$" "$prefix/$1"
}

# Make `current` that version, and what it was `previous`.
switch() {
    old=$(points_to current)
    [ "$old" != "$1" ] || return 0
    [ -z "$old" ] || point previous "$old"
    point current "$1"
}

sums() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

get_uv() {
    say "getting uv $UV_VERSION, which brings a Python"
    command -v curl >/dev/null 2>&1 || fail "neither uv, nor a Python 3.11 with venv, nor curl is here" \
        "Install one of them: on Debian and Ubuntu, apt install python3-venv."
    curl -LsSf "https://astral.sh/uv/$UV_VERSION/install.sh" -o "$parts/uv.sh" || fail "uv could not be fetched"
    UV_UNMANAGED_INSTALL="$prefix/uv" sh "$parts/uv.sh" >/dev/null
    uv="$prefix/uv/uv"
}

fits() { "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# A new environment in $new with the locked packages and the wheel, each by its hash.
make_environment() {
    uv=$(command -v uv || true)
    [ -n "$uv" ] || [ ! -x "$prefix/uv/uv" ] || uv="$prefix/uv/uv"
    plain=${python:-python3}
    [ -n "$uv" ] || fits "$plain" || get_uv
    if [ -n "$uv" ]; then
        # Where every account may read it: the default lies in root's own home.
        UV_PYTHON_INSTALL_DIR="$prefix/python" "$uv" venv --quiet --python "${python:->=3.11}" "$new"
        set -- "$uv" pip install --quiet --python "$new/bin/python" --no-build
        [ -z "$packages" ] || set -- "$@" --offline --no-index --find-links "$packages"
    else
        "$plain" -m venv "$new"
        set -- "$new/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all:
        [ -z "$packages" ] || set -- "$@" --no-index --find-links "$packages"
    fi
    "$@" --no-deps --require-hashes -r "$parts/requirements.lock"
    "$@" --no-deps "$parts/$wheel"
}

private_folder() {
    [ -d "$1" ] || (umask 077 && mkdir -p "$1")
}

umask 022
if [ -n "$back" ]; then
    before=$(points_to previous)
    [ -n "$before" ] && [ -x "$prefix/$before/bin/datasave" ] || fail "there is no version before this one in $prefix"
    "$prefix/$before/bin/datasave" self-check || fail "the version before is not as it was built: nothing was changed"
    switch "$before"
    say "datasave is ${before#versions/} again. A service goes on with the other version until it is restarted."
    exit 0
fi

if [ -e "$bin/datasave" ] || [ -L "$bin/datasave" ]; then
    [ "$(readlink "$bin/datasave" || true)" = "$prefix/current/bin/datasave" ] ||
        fail "$bin/datasave is not of this installer" "Move it away, or give another folder with --bin."
fi
parts=$(mktemp -d)
new=""
# A version that was not finished goes again.
trap 'rm -rf "$parts"; [ -z "$new" ] || rm -rf "$new"' EXIT
trap 'exit 130' INT TERM HUP
# Copied first: what is compared is what is installed, whoever writes to the release.
cp "$here/SHA256SUMS" "$here/requirements.lock" "$here"/datasave-*.whl "$parts/" ||
    fail "$here is not a whole release" "It holds a wheel, requirements.lock and SHA256SUMS; \`make release\` makes one."
wheel=$(cd "$parts" && echo datasave-*.whl)
for one in "$wheel" requirements.lock; do
    # Whole lines: sha256sum -c passes over one that it cannot read.
    (cd "$parts" && grep -qxF "$(sums "$one")" SHA256SUMS) ||
        fail "the release is damaged: $one is not that of SHA256SUMS" "Get the release once more."
done
version=${wheel#datasave-}
name="versions/${version%%-*}-$(cd "$parts" && cat "$wheel" requirements.lock | sums | cut -c1-12)"
mkdir -p "$prefix/versions" "$bin"

if [ -x "$prefix/$name/bin/datasave" ] && "$prefix/$name/bin/datasave" self-check >/dev/null 2>&1; then
    say "${name#versions/} is here already, as it was built"
else
    [ "$(points_to current)" != "$name" ] || [ ! -e "$prefix/$name" ] || fail "$prefix/$name was changed since it was installed" \
        "Find out by whom. To install it anew, move that folder away and run this again."
    rm -rf "${prefix:?}/$name"
    new="$prefix/$name"
    say "installing ${name#versions/} into $prefix"
    make_environment
    "$new/bin/datasave" self-check || fail "what was installed is not as it was built: nothing was changed"
    new=""
fi
switch "$name"
ln -sfn "$prefix/current/bin/datasave" "$bin/datasave"
for one in "$prefix"/versions/*; do
    case "versions/${one##*/}" in
    "$name" | "$(points_to previous)") ;;
    *) rm -rf "$one" ;;
    esac
done
private_folder "$plans"
private_folder "$state"

say "datasave is ${name#versions/} now; plans go into $plans, state into $state"
case ":$PATH:" in
*":$bin:"*) ;;
*) say "$bin is not on the PATH of this account: add it, or type $bin/datasave" ;;
esac
[ -z "$(points_to previous)" ] || say "The version before: sh install.sh --back. A running service changes when it is restarted."
found=""
for plan in "$plans"/*.yaml; do
    [ -f "$plan" ] || continue
    found=yes
    "$bin/datasave" doctor --plan "$plan" || say "The program is installed; what doctor found needs you."
done
[ -n "$found" ] || say "Next: datasave init $plans/office.yaml … with \`state: $state/office\` in it, then datasave doctor."
