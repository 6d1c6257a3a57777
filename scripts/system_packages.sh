#!/bin/sh
# Sees to the Debian packages of system-packages.txt: installs what is missing with root and CI=true, else says what to install.
set -eu
cd "$(dirname "$0")/.."
wanted=$(sed 's/#.*//' system-packages.txt)
missing=
for package in $wanted; do
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ]; then
    echo "installing system packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # shellcheck disable=SC2086  # one word for each package
    exec apt-get -qq install --yes --no-install-recommends $missing
fi
echo "the tests need system packages; install them with: apt-get install --yes --no-install-recommends$missing" >&2
exit 1
