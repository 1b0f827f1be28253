#!/bin/sh
# Lays the Debian part of the image into the folder ROOT: the packages of packages.txt, unpacked
# and not installed (no shell is in there that could run their scripts), a user, a trust store.
# Needs root on Debian 12; apt checks every package against the signed lists.
set -eu
umask 022
root=$1
here=$(cd "$(dirname "$0")" && pwd)

. /etc/os-release
if [ "${VERSION_CODENAME:-}" != bookworm ]; then
  echo "The image is made of Debian 12 (bookworm), and this is ${PRETTY_NAME:-unknown}." >&2
  exit 1
fi

mkdir -p "$root"
root=$(cd "$root" && pwd)
for folder in bin lib lib64 sbin; do
  mkdir -p "$root/usr/$folder"
  ln -sfn "usr/$folder" "$root/$folder"
done

apt-get -qq update
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
grep -v '^#' "$here/packages.txt" > "$packages/names"
(cd "$packages" && xargs apt-get -qq -o APT::Sandbox::User=root download < names)

# What is left out: manuals, translations, and the character sets of iconv, which Python has itself.
for package in "$packages"/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink \
    --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/share/lintian' \
    --exclude='./usr/share/bug' --exclude='./usr/share/doc/*/[!c]*' \
    --exclude='./usr/share/doc/*/changelog*' --exclude='./usr/lib/*/gconv'
done
# One file for each package, where scanners of images without dpkg look for it; and its licence.
mkdir -p "$root/var/lib/dpkg/status.d"
for package in "$packages"/*.deb; do
  name=$(dpkg-deb --field "$package" Package)
  { echo 'Status: install ok installed'; dpkg-deb --field "$package"; } \
    > "$root/var/lib/dpkg/status.d/$name"
  if [ ! -f "$root/usr/share/doc/$name/copyright" ]; then
    echo "The licence of $name is not in the image." >&2
    exit 1
  fi
done

# Parts of the standard library that need a terminal, a compiler or a library that is not there.
python=$root/usr/lib/python3.11
rm -rf "$python/ensurepip" "$python/lib2to3" "$python/distutils" "$python/pydoc_data" \
  "$python/curses" "$python/turtle.py"
for module in readline _curses _curses_panel _dbm _gdbm nis _crypt "_test*" "_xx*"; do
  rm -f "$python/lib-dynload"/$module.*.so
done
ln -sfn python3.11 "$root/usr/bin/python3"

mkdir -p "$root/etc/ssl/certs" "$root/tmp" "$root/var/lib/bridge" "$root/app" "$root/proc" "$root/dev"
find "$root/usr/share/ca-certificates" -name '*.crt' | LC_ALL=C sort | xargs cat \
  > "$root/etc/ssl/certs/ca-certificates.crt"
rm -rf "$root/usr/share/ca-certificates"
chmod 1777 "$root/tmp"

cat > "$root/etc/passwd" <<'USERS'
root:x:0:0:root:/:/usr/sbin/nologin
bridge:x:1001:1001:bridge:/var/lib/bridge:/usr/sbin/nologin
USERS
cat > "$root/etc/group" <<'GROUPS'
root:x:0:
bridge:x:1001:
GROUPS
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
chown 1001:1001 "$root/var/lib/bridge"
chmod 0750 "$root/var/lib/bridge"
