#!/usr/bin/env bash
# The guided tour (make run): from a directory tree to an encrypted image, to a
# union mounted inside an enclave, to the same image mounted through FUSE.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=build/tour
tree=$(go env GOROOT)/src
rm -rf "$work"
mkdir -p "$work"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

say "1. A 128-bit image key"
bin/cloister gen-image-key "$work/image.key"
echo "   kept in $work/image.key, readable by its owner only"

say "2. A read-only SEFS image from a real tree: the Go source, $(find "$tree" -type f | wc -l) files"
bin/cloister build --from "$tree" --image "$work/image" --image-key "$work/image.key"
echo "   what the host sees of it:"
(cd "$work/image" && find . -type f -printf '   %p  %s bytes\n' | sort)

say "3. A program in a (simulated) enclave mounts it and works with it: examples/tour/tour.txt"
bin/harness run -v --set "IMAGE=$PWD/$work/image" --set "KEY=$(tr -d '\r\n' <"$work/image.key")" examples/tour/tour.txt

say "4. The same image as a Linux file system"
if [ ! -c /dev/fuse ] || [ "$(id -u)" != 0 ]; then
  echo "   left out: it needs /dev/fuse and the right to mount (root; in Docker: --cap-add SYS_ADMIN --device /dev/fuse)"
else
  mkdir "$work/mnt"
  bin/cloister mount --image-key "$work/image.key" --image "$work/image" --read-only "$work/mnt" >"$work/mount.log" 2>&1 &
  server=$!
  trap 'umount -l "$work/mnt" 2>/dev/null || true; kill "$server" 2>/dev/null || true' EXIT
  for _ in $(seq 100); do mountpoint -q "$work/mnt" && break; sleep 0.1; done
  mountpoint -q "$work/mnt" || { cat "$work/mount.log" >&2; exit 1; }
  echo "   cloister mount --image-key image.key --image image --read-only mnt; diff -r $tree mnt"
  diff -r --no-dereference "$tree" "$work/mnt"
  echo "   no difference"
  umount "$work/mnt"
  wait "$server"
  trap - EXIT
  echo "   umount: the server flushed and exited 0"
fi

say "Done. Read docs/mount.md for the calls, docs/harness.md for the scripts, docs/cli.md for the commands."
