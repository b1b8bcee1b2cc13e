#!/usr/bin/env bash
# Type-checks for macOS on Linux: check-metal.sh FOLDER ARGUMENTS OF cargo check
#
# A compiler whose standard library can be built for another system is in Debian's packages for web browsers; they are
# unpacked into FOLDER and not installed.
set -euo pipefail

scripts=$(cd "$(dirname "$0")" && pwd)
folder=$1
shift
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ ! -x "$folder/root/usr/bin/rustc" ]; then
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || {
    echo "expected Debian's apt-get and dpkg" >&2
    exit 75
  }
  std=$(apt-cache search --names-only '^libstd-rust-web-[0-9.]+$' | cut -d' ' -f1 | sort -V | tail -1)
  llvm=$(apt-cache depends rustc-web 2>/dev/null | sed -n 's/ *Depends: \(libllvm[0-9]*\).*/\1/p' | tail -1)
  [ -n "$std" ] || {
    echo "Debian has no package rustc-web here" >&2
    exit 75
  }
  # The libraries that the compiler was linked with.
  [ -n "$llvm" ] || llvm=$(apt-cache depends "$std" | sed -n 's/ *Depends: \(libllvm[0-9]*\).*/\1/p' | tail -1)
  (cd "$folder" && apt-get download rustc-web rust-web-src libstd-rust-web-dev "$std" "$llvm") || {
    echo "the packages of Debian cannot be loaded" >&2
    exit 75
  }
  for package in "$folder"/*.deb; do dpkg -x "$package" "$folder/root"; done
fi
export RUSTC="$folder/root/usr/bin/rustc"
LD_LIBRARY_PATH="$folder/root/usr/lib/$(uname -m)-linux-gnu"
export LD_LIBRARY_PATH
# The standard library is built from its source, which stable compilers refuse otherwise.
export RUSTC_BOOTSTRAP=1
# What a C compiler for macOS would make is never linked, so a stand-in leaves empty files.
export CC_aarch64_apple_darwin="$scripts/cc-check"
exec "${CARGO:-cargo}" check -Zbuild-std=std,panic_abort --target aarch64-apple-darwin "$@"
