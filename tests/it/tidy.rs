//! What `docs/architecture.md` promises of the code, checked against the code.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below a folder of the repository, as a path from its root.
fn rust_files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a folder") {
            let name = entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8");
            let path = format!("{folder}/{name}");
            if root().join(&path).is_dir() && name != "target" {
                folders.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("readable")
}

#[test]
fn every_file_has_its_line_in_the_tree() {
    let tree = read("docs/architecture.md");
    for folder in ["host", "sdk", "plugins", "examples", "tests"] {
        for file in rust_files(folder) {
            let listed = tree.contains(&format!("    {file} "));
            assert!(
                listed || file.ends_with("/tests.rs"),
                "`{file}` is not in docs/architecture.md"
            );
        }
    }
}

#[test]
fn every_line_of_the_tree_has_its_file() {
    let tree = read("docs/architecture.md");
    let lines = tree.lines().filter_map(|line| line.strip_prefix("    "));
    let files = lines.filter_map(|line| line.split_whitespace().next());
    for file in files.filter(|file| file.contains('/') && file.ends_with(".rs")) {
        assert!(
            root().join(file).is_file(),
            "`{file}` is not there any more"
        );
    }
}

#[test]
fn what_only_one_module_may_name_is_named_only_there() {
    for (word, places) in [
        ("wasmtime::", &["host/src/plugin"][..]),
        ("wasmtime_wasi", &["host/src/plugin"]),
        (
            "StatusCode::",
            &[
                "host/src/server/",
                "host/src/oauth/",
                "host/src/oauth_client/",
                "host/src/stdio/",
            ],
        ),
        (
            "code::INVALID_PARAMS",
            &["host/src/server/respond/refused.rs"],
        ),
        ("jsonwebtoken", &["host/src/oauth/"]),
        ("std::env::var", &["host/src/config.rs"]),
        (
            "std::fs",
            &[
                "host/src/audit/",
                "host/src/cli/audit.rs",
                "host/src/cli/keys.rs",
                "host/src/cli/plugin/",
                "host/src/config/tests",
                "host/src/config/vars.rs",
                "host/src/doctor/",
                "host/src/integrity/file.rs",
                "host/src/lock.rs",
                "host/src/plugin/directory/known/tests.rs",
                "host/src/plugin/directory/scan.rs",
                "host/src/plugin/loader.rs",
                "host/src/plugin/settings.rs",
                "host/src/seal/key_file.rs",
                "host/src/stdio/oauth/store.rs",
                "host/src/store/local.rs",
                "host/src/store/transfer/file.rs",
                "host/src/operator/socket.rs",
                "host/src/server/admin/metrics/process.rs",
                "host/src/vault/tests.rs",
            ],
        ),
        ("opentelemetry", &["host/src/trace.rs", "host/src/trace/"]),
        ("sled::", &["host/src/store/local.rs"]),
        ("aws_lc_rs::aead", &["host/src/seal.rs"]),
    ] {
        let mut named = 0;
        for file in rust_files("host/src") {
            if read(&file).contains(word) {
                named += 1;
                assert!(
                    places.iter().any(|p| file.starts_with(p)),
                    "`{file}` names `{word}`"
                );
            }
        }
        assert!(named > 0, "nobody names `{word}` any more: mend this test");
    }
}

#[test]
fn unsafe_code_is_in_the_allocator_alone() {
    for folder in ["host", "sdk", "plugins", "examples", "tests"] {
        for file in rust_files(folder) {
            let writes = read(&file).lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                ["unsafe {", "unsafe fn", "unsafe impl"]
                    .iter()
                    .any(|word| code.contains(word))
            });
            let allocates = file.starts_with("sdk/arena/") || file == "tests/it/tidy.rs";
            assert!(!writes || allocates, "`{file}` has unsafe code");
        }
    }
    // Nobody is free of the workspace's lints, which forbid it, by having none.
    let free = ["sdk/arena/Cargo.toml", "tests/fuzz/Cargo.toml"];
    let workspace = read("Cargo.toml");
    let members = workspace.split("members = [").nth(1).expect("members");
    let members = members.split(']').next().expect("their end").split('"');
    let members: Vec<&str> = members
        .filter(|name| name.starts_with(char::is_alphabetic))
        .collect();
    assert!(members.len() > 20, "{members:?}");
    for member in members {
        let manifest = format!("{member}/Cargo.toml");
        let inherits = read(&manifest).contains("[lints]\nworkspace = true");
        assert!(
            inherits || free.contains(&manifest.as_str()),
            "`{manifest}` has lints of its own, or none"
        );
    }
}
