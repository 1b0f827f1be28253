#!/bin/sh
# Installs the bridge's Python packages into the image in the folder ROOT: exactly the hashed ones
# of requirements/tracing.txt, as wheels, so that nothing of theirs runs while the image is made.
# Needs a Python 3.11 with pip as $PYTHON; the image itself has no pip.
set -eu
umask 022
root=$1
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
site=$root/usr/local/lib/python3.11/dist-packages

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
  echo "Python 3.11 is needed, as the image has it; set PYTHON=…" >&2
  exit 1
fi

mkdir -p "$site"
"$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile \
  --root-user-action=ignore --require-hashes --only-binary=:all: \
  --target "$site" -r "$here/../../requirements/tracing.txt"

# Sources of what is compiled, types, tests and commands of the packages are not run.
rm -rf "$site/bin"
find "$site" -type d \( -name tests -o -name testing \) -prune -exec rm -rf {} +
find "$site" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.c' \
  -o -name '*.h' -o -name '*.pxi' \) -delete
