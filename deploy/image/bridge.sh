#!/bin/sh
# Puts the bridge and its action definitions into the image in the folder ROOT, compiles all Python
# there (the root file system is read-only later), and sees that the image's own Python runs it.
set -eu
umask 022
root=$1
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
site=$root/usr/local/lib/python3.11/dist-packages

mkdir -p "$site" "$root/app/backstage-actions" "$root/usr/local/bin"
cp -R "$source/bridge" "$site/bridge"
cp -R "$source/backstage-actions/actions" "$root/app/backstage-actions/actions"
cp "$source/LICENSE" "$here/healthcheck.py" "$root/app/"
install -m 0755 "$here/bridge" "$root/usr/local/bin/bridge"
chown -R 0:0 "$root/app" "$site"
chmod -R go-w,a+rX "$root/app" "$root/usr/local"

find "$site" "$root/usr/lib/python3.11" -depth -type d -name __pycache__ -exec rm -rf {} +
# Checked by nobody: sources and bytecode are read-only together, and times do not matter then.
chroot "$root" /usr/bin/python3.11 -I -m compileall -q --invalidation-mode unchecked-hash \
  /usr/lib/python3.11 /usr/local/lib/python3.11/dist-packages > /dev/null
# Each of these is, or loads, a library that a package too few would leave out.
chroot "$root" /usr/bin/python3.11 -I -c \
  'import ctypes, sqlite3, ssl, httptools, jsonschema_rs, opentelemetry.sdk, psycopg, uvloop, yaml'
chroot "$root" /usr/local/bin/bridge --version
chroot "$root" /usr/local/bin/bridge actions validate /app/backstage-actions/actions
