#!/usr/bin/env bash
# Makes sure that Rust can build the plugin target, wasm32-wasip2, on this machine.
#
#   wasm-target.sh [ensure]   get the target by the cheapest way that works here, then print
#                             on standard output what a plugin build needs in its environment:
#                             one KEY=VALUE line, or none when the toolchain has the target
#   wasm-target.sh status     say what is there; exit 0 if a plugin build would work, else 1
#   wasm-target.sh clean      remove everything this script made
#
# Ways, in this order, each with the word that CORTEX_WASM_SKIP knows it by:
#
#   native   the active toolchain has the target
#   rustup   rustup target add
#   deb      Debian: the source of exactly this rustc's std and wasi-libc; std is built once
#            into a private sysroot (46 MB to fetch, about a minute)
#   pair     Debian: rustc-web with the source of its own std, used for plugins only
#            (about 200 MB to fetch, two minutes)
#
# What `deb` and `pair` made earlier is found again before `rustup` is tried. Nothing is
# written to rustup's folders (except by rustup itself, announced first), to /usr or to
# /etc/apt: foreign suites are read through an apt state of this script's own, and Debian's
# archive keyring checks what they deliver.
#
# Settings:
#   CORTEX_WASM_SKIP             ways not to try, e.g. "native rustup"
#   CORTEX_WASM_CACHE            default ~/.cache/cortex-gateway/wasm
#   CORTEX_WASM_TARGET           default wasm32-wasip2
#   CORTEX_DEB_MIRROR            default: the mirror this machine's apt uses
#   CORTEX_DEB_SECURITY_MIRROR   the same for Debian security
#   CORTEX_JOBS                  parallel jobs while std is built
set -euo pipefail

TARGET=${CORTEX_WASM_TARGET:-wasm32-wasip2}
CACHE=${CORTEX_WASM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/cortex-gateway/wasm}
SKIP=" ${CORTEX_WASM_SKIP:-} "
RUSTC=${RUSTC:-rustc}
CARGO=${CARGO:-cargo}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# macOS has neither timeout nor flock.
TIMEOUT=()
if command -v timeout >/dev/null; then TIMEOUT=(timeout 300); fi

# ---------------------------------------------------------------------- words

say() { printf 'wasm-target: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
skip() { [[ $SKIP == *" $1 "* ]]; }

# Runs a command silently, and shows the end of what it said if it fails.
quietly() {
  if ! "$@" >"$WORK/log" 2>&1; then tail -n 25 "$WORK/log" >&2; return 1; fi
}

# ----------------------------------------------------------------- toolchains

# Sets RELEASE, HOST and COMMIT to what the rustc $1 says about itself.
read_version() {
  local all
  all=$("$1" -vV)
  RELEASE=$(sed -n 's/^release: //p' <<<"$all")
  HOST=$(sed -n 's/^host: //p' <<<"$all")
  COMMIT=$(sed -n 's/^commit-hash: //p' <<<"$all")
  if [[ $COMMIT == unknown ]]; then COMMIT=""; fi
}

# True if the sysroot $1 holds std for the target.
has_std() { compgen -G "$1/lib/rustlib/$TARGET/lib/libstd-*.rlib" >/dev/null; }

# Prints the way that is ready to be used, if any.
find_ready() {
  if ! skip native && has_std "$("$RUSTC" --print sysroot)"; then echo native
  elif ! skip deb && [[ -e $PRIVATE/.made-from ]] && has_std "$PRIVATE"; then echo deb
  elif ! skip pair && [[ -e $PAIR/.made-from ]]; then echo pair
  else return 1; fi
}

describe() {
  case $1 in
    native) echo "the active toolchain has it" ;;
    deb) echo "private sysroot, $(<"$PRIVATE/.made-from")" ;;
    pair) echo "private toolchain for plugins only, $(<"$PAIR/.made-from")" ;;
  esac
}

print_env() {
  local upper
  upper=$(tr 'a-z-' 'A-Z_' <<<"$TARGET")
  case $1 in
    native) ;;
    deb) printf 'CARGO_TARGET_%s_RUSTFLAGS=--sysroot=%s\n' "$upper" "$PRIVATE" ;;
    pair) printf 'RUSTC=%s\n' "$PAIR/bin/rustc" ;;
  esac
}

# Compiles a small program with the rustc $1 and the flags that follow: is it WebAssembly?
makes_wasm() {
  local rustc=$1 dir="$WORK/probe"
  shift
  mkdir -p "$dir"
  cat >"$dir/probe.rs" <<'RS'
#[unsafe(no_mangle)]
pub extern "C" fn probe(n: u32) -> u32 {
    let v: Vec<u32> = (0..n).collect();
    println!("{}", v.len());
    v.iter().sum()
}
RS
  quietly "$rustc" "$@" --edition 2024 --crate-type cdylib --target "$TARGET" -Copt-level=2 \
    -o "$dir/probe.wasm" "$dir/probe.rs" || return 1
  [[ $(head -c4 "$dir/probe.wasm" | od -An -tx1 | tr -d ' \n') == 0061736d ]]
}

# --------------------------------------------------------------------- rustup

try_rustup() {
  if skip rustup || skip native; then return 1; fi
  if ! command -v rustup >/dev/null; then say "no rustup here"; return 1; fi
  local toolchain why
  toolchain=$(rustup show active-toolchain 2>/dev/null | awk '{print $1}') || return 1
  if [[ -z $toolchain ]]; then return 1; fi
  say "asking rustup to add $TARGET to your toolchain $toolchain"
  if RUST_BACKTRACE=0 RUSTUP_MAX_RETRIES=1 ${TIMEOUT[@]+"${TIMEOUT[@]}"} \
    rustup target add "$TARGET" --toolchain "$toolchain" >"$WORK/log" 2>&1; then
    return 0
  fi
  why=$(grep -o -m1 -E 'dns error|[Cc]onnection refused|timed out|does not support[^;]*|no release found' "$WORK/log" | head -n1 || true)
  say "rustup could not: ${why:-time-out or error} (to see all of it: rustup target add $TARGET)"
  return 1
}

# --------------------------------------------------------------------- Debian

# Prints the mirror that this machine's apt uses, for `debian` or `debian-security`.
own_mirror() {
  local url
  # shellcheck disable=SC2016  # the placeholder is apt's
  url=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m1 -E "/$1/?$" || true)
  # apt knows no index before its first update; its source lists still name the mirror.
  if [[ -z $url ]]; then
    url=$(grep -rhoE "https?://[^] ]+/$1/?( |$)" /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n1 || true)
  fi
  url=${url%% *}
  url=${url%/}
  echo "$url"
}

is_debian() {
  local tool
  for tool in apt-get apt-cache dpkg-deb; do
    if ! command -v "$tool" >/dev/null; then say "no $tool here: not a Debian system"; return 1; fi
  done
  if [[ ! -r $KEYRING ]]; then say "no $KEYRING here: not a Debian system"; return 1; fi
  case $HOST in
    x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu) ;;
    *) say "host $HOST: not served from Debian's packages"; return 1 ;;
  esac
  MIRROR=${CORTEX_DEB_MIRROR:-$(own_mirror debian)}
  SECURITY=${CORTEX_DEB_SECURITY_MIRROR:-$(own_mirror debian-security)}
  if [[ -z $MIRROR || -z $SECURITY ]]; then
    say "apt here names no Debian mirror: set CORTEX_DEB_MIRROR and CORTEX_DEB_SECURITY_MIRROR"
    return 1
  fi
}

# Makes an apt state of our own that reads the suites $@; sets APT to the options for it.
read_suites() {
  local suite mirror
  mkdir -p "$WORK"/apt/{lists/partial,cache/archives/partial,empty}
  : >"$WORK/apt/sources.list"
  for suite in "$@"; do
    mirror=$MIRROR
    if [[ $suite == *-security ]]; then mirror=$SECURITY; fi
    echo "deb [signed-by=$KEYRING] $mirror $suite main" >>"$WORK/apt/sources.list"
  done
  APT=(-qq
    -o Dir::State::Lists="$WORK/apt/lists"
    -o Dir::Cache="$WORK/apt/cache"
    -o Dir::Etc::SourceList="$WORK/apt/sources.list"
    -o Dir::Etc::SourceParts="$WORK/apt/empty"
    -o Dir::Etc::Preferences="$WORK/apt/none"
    -o Dir::Etc::PreferencesParts="$WORK/apt/empty"
    -o Acquire::Languages=none
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
    -o APT::Sandbox::User="$(id -un)"
    -o Acquire::Retries=3)
  quietly apt-get "${APT[@]}" update
}

# Prints the versions of the package $1 that the suites have, the newest first.
versions_of() { apt-cache "${APT[@]}" madison "$1" 2>/dev/null | awk -F'|' '{gsub(/ /, "", $2); print $2}'; }

# Fetches the packages $@ (name or name=version) and unpacks them into $WORK/root.
unpack() {
  local deb
  mkdir -p "$WORK/debs" "$WORK/root"
  (cd "$WORK/debs" && quietly apt-get "${APT[@]}" download "$@") || return 1
  for deb in "$WORK"/debs/*.deb; do
    case ${deb##*/} in
      # Only the library folder: 40 MB instead of 340.
      rust-src_* | rust-web-src_*)
        dpkg-deb --fsys-tarfile "$deb" |
          tar -x -C "$WORK/root" --wildcards --exclude='*/library/vendor/*' './usr/src/*/library/*'
        ;;
      *) dpkg-deb -x "$deb" "$WORK/root" ;;
    esac
    rm -f "$deb"
  done
}

# Prints the folder with std's source among what was unpacked.
library_folder() { find "$WORK/root/usr/src" -maxdepth 2 -type d -name library | head -n1; }

# Copies the C library's start files and archive into the sysroot $1.
put_libc() {
  local to="$1/lib/rustlib/$TARGET/lib/self-contained"
  mkdir -p "$to"
  cp "$WORK/root/usr/lib/$TARGET"/{crt1-command.o,crt1-reactor.o,libc.a} "$to/"
}

# ------------------------------------------------------------------ build std

# Writes $1/Cargo.toml: a package of our own, right above the `library` folder, that depends
# on std by path. (The library workspace itself would also want its dev-dependencies, which
# are not there. And cargo hashes paths relative to the workspace root into every symbol:
# from here, two machines make the same std.)
write_std_package() {
  cat >"$1/Cargo.toml" <<'TOML'
cargo-features = ["profile-rustflags"]
[package]
name = "cortex-std"
version = "0.0.0"
edition = "2021"
[lib]
path = "lib.rs"
[workspace]
exclude = ["library"]
[dependencies]
std = { path = "library/std", features = ["panic-unwind", "backtrace"] }
sysroot = { path = "library/sysroot" }
[profile.release]
panic = "unwind"
opt-level = 3
codegen-units = 1
debug = 0
TOML
  # What std's own workspace says about single packages and patches has to come along.
  {
    sed -n '/^\[profile\.release\.package/,/^\[profile\.dist\]/{/^\[profile\.dist\]/!p}' "$1/library/Cargo.toml"
    sed -n '/^\[patch\./,/^$/p' "$1/library/Cargo.toml" | sed -E "s#path = ['\"]([^/'\"][^'\"]*)['\"]#path = 'library/\1'#"
  } >>"$1/Cargo.toml"
  # Its dependencies come from the crate registry by std's own lock file: Debian's vendored
  # copy lacks a C archive.
  cp "$1/library/Cargo.lock" "$1/Cargo.lock"
  chmod u+w "$1/Cargo.lock"
  : >"$1/lib.rs"
}

# Builds std from the library folder $1 with the rustc $2 into the sysroot $3.
build_std() {
  local library=$1 rustc=$2 to="$3/lib/rustlib/$TARGET/lib" build="$WORK/std-build"
  local package flags upper source
  package=$(dirname "$library")
  upper=$(tr 'a-z-' 'A-Z_' <<<"$TARGET")
  # As rustc's own build does it: unstable unless marked, bitcode kept so that link-time
  # optimisation works, source paths as in the official std.
  flags="-Zforce-unstable-if-unmarked -Aunexpected_cfgs -Cembed-bitcode=yes -Cdebuginfo=0"
  flags+=" --remap-path-prefix=$library=/rustc/${COMMIT:-$RELEASE}/library"
  for source in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags+=" --remap-path-prefix=$source=/rust/deps"
  done
  write_std_package "$package"
  # cargo ignores the flags for one target when general ones are set.
  (cd "$package" && quietly nice env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_RUSTFLAGS \
    RUSTC_BOOTSTRAP=1 RUSTC="$rustc" __CARGO_DEFAULT_LIB_METADATA=cortex-std \
    CARGO_TARGET_DIR="$build" CARGO_BUILD_BUILD_DIR="$build" "CARGO_TARGET_${upper}_RUSTFLAGS=$flags" \
    "$CARGO" build ${CORTEX_JOBS:+-j "$CORTEX_JOBS"} --release --target "$TARGET") || return 1
  mkdir -p "$to"
  cp "$build/$TARGET/release/deps/"*.rlib "$to/"
  rm -rf "$to/"libcortex_std-*.rlib "$build"
}

# ------------------------------------------------- deb: the same std, from source

try_deb() {
  if skip deb; then return 1; fi
  local suites package version="" libc library
  # std builds with the rustc of exactly its own version only.
  for suites in "trixie-backports" "bookworm-security bookworm-backports" "forky sid trixie"; do
    say "looking for the source of std $RELEASE in Debian ($suites)"
    # shellcheck disable=SC2086  # a list of words
    read_suites $suites || { say "apt could not read $suites"; continue; }
    for package in rust-src rust-web-src; do
      version=$(versions_of "$package" | grep -m1 -E "^${RELEASE//./\\.}[+~-]" || true)
      if [[ -n $version ]]; then break 2; fi
    done
  done
  if [[ -z $version ]]; then say "Debian has no source of std $RELEASE"; return 1; fi
  libc=$(versions_of wasi-libc | head -n1)
  if [[ -z $libc ]]; then say "no wasi-libc in $suites"; return 1; fi

  say "fetching $package $version and wasi-libc $libc (46 MB)"
  unpack "$package=$version" "wasi-libc=$libc" || return 1
  library=$(library_folder)
  if [[ -z $library ]]; then say "no library folder in $package"; return 1; fi

  say "building std $RELEASE for $TARGET (once, about a minute)"
  build_std "$library" "$(command -v "$RUSTC")" "$WORK/sysroot" || return 1
  put_libc "$WORK/sysroot"
  # The host's std, rust-lld and wasm-component-ld stay those of the toolchain.
  ln -s "$("$RUSTC" --print sysroot)/lib/rustlib/$HOST" "$WORK/sysroot/lib/rustlib/$HOST"
  if ! makes_wasm "$RUSTC" "--sysroot=$WORK/sysroot"; then say "the std built here does not work"; return 1; fi
  echo "std $RELEASE from Debian's $package $version, wasi-libc $libc" >"$WORK/sysroot/.made-from"
  rm -rf "$PRIVATE"
  mv "$WORK/sysroot" "$PRIVATE"
}

# ------------------------------------------ pair: another rustc, with its own std

# Writes the rustc of the pair for its final place $1: it needs its own libraries, and the
# linkers of the active toolchain. rustup's proxy sets LD_LIBRARY_PATH for all its children,
# so the sysroot has to be said each time.
write_pair_rustc() {
  local linkers libraries="$1/root/usr/lib/${HOST%%-*}-linux-gnu"
  linkers="$("$RUSTC" --print sysroot)/lib/rustlib/$HOST/bin"
  cat >"$WORK/pair/bin/rustc" <<SH
#!/bin/sh
# Debian's rustc-web, unpacked privately by wasm-target.sh.
export LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export PATH="$linkers:$linkers/gcc-ld:\$PATH"
exec "$1/root/usr/bin/$2" --sysroot="$1/root/usr" "\$@"
SH
  chmod +x "$WORK/pair/bin/rustc"
}

try_pair() {
  if skip pair; then return 1; fi
  local codename version llvm libc series names pair="$WORK/pair"
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
  say "trying Debian's rustc-web with its own std, for plugins only"
  read_suites "$codename" "$codename-security" "$codename-backports" trixie-backports || return 1
  version=$(versions_of rustc-web | head -n1)
  if [[ -z $version ]]; then say "no rustc-web in $codename"; return 1; fi
  libc=$(versions_of wasi-libc | head -n1)
  series=${version%%[+~-]*}
  series=${series%.*}
  llvm=$(apt-cache "${APT[@]}" show "libstd-rust-web-$series" | grep -m1 -oE 'libllvm[0-9]+' | head -n1)

  say "fetching rustc-web $version, its std's source, $llvm and wasi-libc $libc (about 200 MB)"
  unpack "rustc-web=$version" "libstd-rust-web-$series" libstd-rust-web-dev rust-web-src "$llvm" "wasi-libc=$libc" || return 1
  mkdir -p "$pair/bin"
  names=("$WORK"/root/usr/bin/rustc*)
  mv "$WORK/root" "$pair/root"
  ln -s "$pair/root" "$WORK/root"
  write_pair_rustc "$pair" "${names[0]##*/}"
  if ! quietly "$pair/bin/rustc" -vV; then say "rustc-web does not start from a private folder"; return 1; fi

  read_version "$pair/bin/rustc"
  say "building std $RELEASE for $TARGET (once, about a minute)"
  build_std "$(find "$pair/root/usr/src" -maxdepth 2 -type d -name library | head -n1)" "$pair/bin/rustc" "$pair/root/usr" || return 1
  put_libc "$pair/root/usr"
  if ! makes_wasm "$pair/bin/rustc"; then say "rustc-web does not make plugins"; return 1; fi
  rm -rf "$WORK/root" "$pair/root/usr/src" "$pair/root/usr/share"
  write_pair_rustc "$PAIR" "${names[0]##*/}"
  echo "Debian's rustc-web $version, wasi-libc $libc" >"$pair/.made-from"
  rm -rf "$PAIR"
  mv "$pair" "$PAIR"
}

# ----------------------------------------------------------------------- main

ensure() {
  local way
  if ! way=$(find_ready); then
    mkdir -p "$CACHE"
    if command -v flock >/dev/null; then
      exec 9>"$CACHE/.lock"
      flock -w 900 9 || die "another run has held $CACHE/.lock for 15 minutes"
    fi
    # Another run may have made it while this one waited.
    if ! way=$(find_ready); then
      WORK=$(mktemp -d "$CACHE/.work.XXXXXX")
      trap 'rm -rf "$WORK"' EXIT
      get
      way=$(find_ready) || die "nothing is ready after a step that said it worked"
    fi
  fi
  say "$TARGET is ready after $SECONDS s: $(describe "$way")"
  print_env "$way"
}

get() {
  if try_rustup; then return; fi
  if is_debian; then
    if try_deb; then return; fi
    rm -rf "${WORK:?}"/{root,sysroot,debs,std-build}
    if try_pair; then return; fi
  fi
  die "could not get $TARGET; hint: \`rustup target add $TARGET\` (needs the internet), or your
  system's package of the $TARGET standard library for exactly rustc $RELEASE"
}

if ! command -v "$RUSTC" >/dev/null; then die "no rustc found; hint: install Rust from https://rustup.rs"; fi
read_version "$RUSTC"
PRIVATE="$CACHE/rustc-$RELEASE-${COMMIT:0:9}"
PAIR="$CACHE/debian-pair"

case ${1:-ensure} in
  ensure) ensure ;;
  status)
    if way=$(find_ready); then say "$TARGET is ready: $(describe "$way")"; else say "$TARGET is not there"; exit 1; fi
    ;;
  clean)
    rm -rf "$CACHE"
    say "removed $CACHE"
    ;;
  *)
    sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0" >&2
    exit 2
    ;;
esac
