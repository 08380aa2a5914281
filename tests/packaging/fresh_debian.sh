#!/usr/bin/env bash
# Installs the .deb of a build on a Debian 12 that debootstrap makes for it (the smallest variant), with
# apt, and there runs the demo as a user without rights: neither the sources nor what is installed here
# can be missed. Takes root, a network, 2 GB below TMPDIR and some minutes, so it is no part of ./check.
# Usage: tests/packaging/fresh_debian.sh BUILD [MIRROR]
set -euo pipefail
# Mounts are those of a namespace of its own and end with it.
[[ ${FRESH_DEBIAN:-} ]] || FRESH_DEBIAN=1 exec unshare --mount "$0" "$@"
build=$(realpath "$1") mirror=${2:-http://deb.debian.org/debian}
place=$(mktemp -d)
root=$place/root
finish() {
  for folder in dev sys proc; do
    ! mountpoint -q "$root/$folder" || umount --recursive --lazy "$root/$folder"
  done
  rm -rf --one-file-system "$place"
}
trap finish EXIT

cpack -G DEB -B "$place/deb" --config "$build/CPackConfig.cmake" > "$place/cpack.log" 2>&1 ||
  { cat "$place/cpack.log"; exit 1; }
debootstrap --variant=minbase bookworm "$root" "$mirror" > "$place/debootstrap.log" ||
  { tail -20 "$place/debootstrap.log"; exit 1; }
for folder in proc sys dev; do mount --rbind "/$folder" "$root/$folder"; done
cp --dereference /etc/resolv.conf "$root/etc/"
cp "$place"/deb/*.deb "$root/tmp/"
echo "fresh: $(du -sm "$root" --one-file-system | cut -f1) MB, $(ls "$root"/tmp/*.deb)"

# inside COMMAND: in the new system, with its environment.
inside() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 \
    chroot "$root" bash -ec "$1"
}
inside 'apt-get -q update && apt-get -q install -y --no-install-recommends /tmp/puzzleflow_*.deb' \
  > "$place/apt.log" 2>&1 || { tail -20 "$place/apt.log"; exit 1; }
grep "newly installed" "$place/apt.log"
echo "fresh: $(du -sm "$root" --one-file-system | cut -f1) MB with the package"
inside 'useradd --create-home someone
  demo=/usr/share/puzzleflow/configs/demo.json
  as_someone() { su someone -c "cd /home/someone && $1"; }
  as_someone "puzzle --version"
  time as_someone "puzzle run $demo" > /tmp/first 2>&1 || { tail -20 /tmp/first; exit 1; }
  grep "steps:" /tmp/first
  as_someone "puzzle run $demo" > /tmp/again 2>&1
  grep "86 steps: 86 cached.* 0 run" /tmp/again
  as_someone "puzzle export $demo:student child.gguf --format gguf --dtype q8_0"
  as_someone "puzzle generate child.gguf --prompt Once --tokens 8"'
echo "fresh: all of it works"
