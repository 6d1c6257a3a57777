#!/bin/sh
# Brings a virtual environment to what lock files say, with this project in it (editable).
#
#     scripts/venv.sh PYTHON FOLDER LOCK...
#
# A copy of each file that was installed from stays in FOLDER, so a run that finds nothing changed takes a moment.
# FOLDER/made-by-make names the interpreter and the clone it was made for; with another of either it is made anew.
set -eu

python=$1
folder=$2
shift 2

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "There is no $python here: apt-get install python3 python3-venv"
made_for=$("$python" -c '
import sys
if sys.version_info < (3, 11):
    sys.exit("%s is Python %s, and coeval needs 3.11 or later: install one and name it, as in PYTHON=python3.13"
             % (sys.executable, sys.version.split()[0]))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("%s cannot make virtual environments: apt-get install python3-venv" % sys.executable)
print(sys.executable, sys.version.replace("\n", " "))
') || exit 1
made_for="$(pwd -P) $made_for"
marker=$folder/made-by-make

if [ -e "$folder" ] && [ ! -e "$marker" ]; then
    fail "$folder is there and make did not make it: move it away, or name another folder, as in VENV=.venv-make"
fi
if [ "$(cat "$marker" 2>/dev/null)" != "$made_for" ]; then
    echo "Making $folder with $("$python" --version)"
    rm -rf "$folder"
    mkdir -p "$folder"
    # Marked before it is complete: what an interrupted run leaves is recognised as ours, and made anew.
    echo unfinished >"$marker"
    "$python" -m venv "$folder"
    echo "$made_for" >"$marker"
fi

# install_from FILE ARGUMENT...: pip install ARGUMENT..., unless FILE is what was last installed from.
install_from() {
    source=$1
    installed=$folder/installed-from-$(basename "$source")
    shift
    cmp -s "$source" "$installed" && return
    echo "Installing $source into $folder"
    rm -f "$installed"
    "$folder/bin/python" -m pip --disable-pip-version-check install -q "$@"
    cp "$source" "$installed"
}

# Wheels only: building from source would fetch build tools that no lock holds.
for lock; do
    install_from "$lock" --require-hashes --only-binary :all: -r "$lock"
done
install_from pyproject.toml --no-deps --no-build-isolation -e .
