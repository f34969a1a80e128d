//! `wasm-target.sh` against a rustc and a rustup that only pretend: which way it takes, what
//! it prints, what it leaves alone. The two ways through Debian are proved by `.ci/run`.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const RUSTC: &str = r#"#!/bin/sh
case "$*" in
  -vV) printf 'rustc 9.9.9\nrelease: 9.9.9\nhost: nowhere-unknown-none\ncommit-hash: 0123456789abcdef\n' ;;
  '--print sysroot') echo "$STUB/sysroot" ;;
  *) exit 1 ;;
esac
"#;

const RUSTUP: &str = r#"#!/bin/sh
case "$1 $2" in
  'show active-toolchain') echo 'pretended (default)' ;;
  'target add')
    if [ -n "$OFFLINE" ]; then echo 'error: dns error: no name'; exit 1; fi
    mkdir -p "$STUB/sysroot/lib/rustlib/$3/lib"
    : >"$STUB/sysroot/lib/rustlib/$3/lib/libstd-1.rlib"
    ;;
esac
"#;

/// A folder with a pretended toolchain and an empty cache.
struct Machine(PathBuf);

struct Said {
    success: bool,
    environment: String,
    words: String,
}

impl Machine {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("wasm-target-{}-{name}", std::process::id()));
        for (program, text) in [("rustc", RUSTC), ("rustup", RUSTUP)] {
            let path = folder.join("bin").join(program);
            write(&path, text);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    fn script(&self, task: &str, settings: &[(&str, &str)]) -> Said {
        let path = format!(
            "{}:{}",
            self.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let output = Command::new("bash")
            .args([&script().to_string_lossy(), task])
            .env("PATH", path)
            .env("STUB", &self.0)
            .env("CORTEX_WASM_CACHE", self.path("cache"))
            .env_remove("CORTEX_WASM_SKIP")
            .env_remove("RUSTC")
            .envs(settings.iter().copied())
            .output()
            .unwrap();
        Said {
            success: output.status.success(),
            environment: String::from_utf8(output.stdout).unwrap(),
            words: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wasm-target.sh")
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_toolchain_that_has_the_target_needs_nothing() {
    let machine = Machine::new("native");
    let status = machine.script("status", &[]);
    assert!(!status.success);
    assert_eq!(status.words, "wasm-target: wasm32-wasip2 is not there\n");

    write(
        &machine.path("sysroot/lib/rustlib/wasm32-wasip2/lib/libstd-1.rlib"),
        "",
    );
    assert!(machine.script("status", &[]).success);
    assert!(
        !machine
            .script("status", &[("CORTEX_WASM_SKIP", "rustup native")])
            .success
    );
    let ensure = machine.script("ensure", &[]);
    assert_eq!((ensure.success, ensure.environment.as_str()), (true, ""));
    assert_eq!(ensure.words.lines().count(), 1, "{}", ensure.words);
    assert!(!machine.path("cache").exists());
}

#[test]
fn what_was_made_earlier_is_found_again_and_can_be_skipped() {
    let machine = Machine::new("earlier");
    let sysroot = machine.path("cache/rustc-9.9.9-012345678");
    write(
        &sysroot.join("lib/rustlib/wasm32-wasip2/lib/libstd-1.rlib"),
        "",
    );
    assert!(
        !machine.script("status", &[]).success,
        "one that was broken off is not used"
    );
    write(&sysroot.join(".made-from"), "a test\n");
    write(
        &machine.path("cache/debian-pair/.made-from"),
        "another test\n",
    );

    let own = machine.script("ensure", &[]);
    let expected = format!(
        "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS=--sysroot={}\n",
        sysroot.display()
    );
    assert_eq!((own.success, own.environment), (true, expected));
    assert!(
        own.words.ends_with(" s: private sysroot, a test\n"),
        "{}",
        own.words
    );

    let pair = machine.script("ensure", &[("CORTEX_WASM_SKIP", "native deb")]);
    let expected = format!(
        "RUSTC={}\n",
        machine.path("cache/debian-pair/bin/rustc").display()
    );
    assert_eq!((pair.success, pair.environment), (true, expected));

    assert!(machine.script("clean", &[]).success);
    assert!(!machine.path("cache").exists());
}

#[test]
fn rustup_is_asked_and_announced_before() {
    let machine = Machine::new("rustup");
    let said = machine.script("ensure", &[]);
    assert!(said.success, "{}", said.words);
    assert_eq!(said.environment, "");
    let lines: Vec<&str> = said.words.lines().collect();
    assert_eq!(
        lines[0],
        "wasm-target: asking rustup to add wasm32-wasip2 to your toolchain pretended"
    );
    assert!(
        lines[1].ends_with("the active toolchain has it"),
        "{}",
        said.words
    );
}

#[test]
fn where_no_way_leads_there_one_is_told_what_to_do() {
    let machine = Machine::new("nowhere");
    let said = machine.script("ensure", &[("OFFLINE", "1")]);
    assert_eq!((said.success, said.environment.as_str()), (false, ""));
    assert!(
        said.words.contains("rustup could not: dns error"),
        "{}",
        said.words
    );
    assert!(
        said.words
            .contains("hint: `rustup target add wasm32-wasip2`"),
        "{}",
        said.words
    );
    let left: Vec<_> = fs::read_dir(machine.path("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.iter().all(|name| name == ".lock"), "{left:?}");
}

#[test]
fn the_script_is_clean() {
    let Ok(output) = Command::new("shellcheck").arg(script()).output() else {
        return;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
