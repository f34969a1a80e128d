#!/usr/bin/env bash
# Builds the relay adapter in one language, as a component: rust, javascript, python or c.
# Takes the language and, if it is not target/relay, the folder for relay-LANGUAGE.wasm.
#
# Installs what it needs below target/relay with the language's own package manager. C needs clang, lld
# and wasi-libc of the system (Debian: clang lld wasi-libc libclang-rt-14-dev-wasm32).
set -euo pipefail

language=${1:-}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
made=${CARGO_TARGET_DIR:-$root/target}/relay
mkdir -p "${2:-$made}" "$made"
out=$(cd "${2:-$made}" && pwd)/relay-$language.wasm
contract=$root/wit/v0.2

# What is missing here, and the status that says so.
missing() {
  echo "relay: $1" >&2
  exit 3
}

needs() {
  command -v "$1" >/dev/null || missing "\`$1\` is missing; install $2"
}

case $language in
rust)
  cd "$root"
  cargo xtask components relay-rust --out "$(dirname "$out")"
  ;;
javascript)
  needs npm "node with npm"
  cp "$here/javascript/relay.js" "$made"
  cd "$made"
  # Once for each package.json: npm, asked again, takes away packages that componentize-js needs.
  if ! cmp --silent "$here/javascript/package.json" package.json; then
    rm -rf node_modules
    cp "$here/javascript/package.json" .
    npm install --no-package-lock --no-audit --no-fund --silent || {
      rm package.json
      exit 1
    }
  fi
  npx componentize-js relay.js --wit "$contract" --world-name backend-adapter --out "$out"
  ;;
python)
  needs python3 "Python 3.10 or newer with venv"
  python3 -m venv "$made/python" || missing "python3 lacks venv; install python3-venv"
  "$made/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/python/requirements.txt"
  cd "$here/python"
  "$made/python/bin/componentize-py" -d "$contract" -w backend-adapter componentize relay -o "$out"
  ;;
c)
  needs clang "clang, lld and wasi-libc"
  needs wasm-ld lld
  [[ -e /usr/lib/wasm32-wasi/libc.a ]] || missing "the C library for WebAssembly is missing; install wasi-libc"
  builtins=$(clang --target=wasm32-wasi -print-libgcc-file-name)
  [[ -e $builtins ]] || missing "$builtins is missing; install libclang-rt-14-dev-wasm32"
  linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/wasm-component-ld
  [[ -x $linker ]] || linker=$(command -v wasm-component-ld) || missing "install wasm-component-ld: cargo install wasm-component-ld"
  cd "$root"
  cargo run --quiet -p relay-c-bindings -- "$contract" backend-adapter "$made/c"
  cd "$made/c"
  compile=(clang "--target=wasm32-wasi" -Oz -I. -c)
  "${compile[@]}" -Wall -Wextra -Wno-unused-parameter "$here/c/relay.c" -o relay.o
  "${compile[@]}" backend_adapter.c -o contract.o
  "$linker" --wasi-adapter reactor --entry _initialize -s -o "$out" \
    /usr/lib/wasm32-wasi/crt1-reactor.o relay.o contract.o backend_adapter_component_type.o \
    -L/usr/lib/wasm32-wasi -lc "$builtins"
  ;;
*)
  echo "usage: $0 rust|javascript|python|c [FOLDER]" >&2
  exit 2
  ;;
esac
echo "relay: $out"
