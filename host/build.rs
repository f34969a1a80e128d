//! Carries the sources of the SDK, so that `cortex-gateway plugin new` writes projects which build wherever
//! there is cargo.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What the SDK consists of, as paths in this repository.
const PARTS: [&str; 7] = [
    "sdk/src",
    "sdk/build.rs",
    "sdk/arena/src",
    "sdk/arena/Cargo.toml",
    "wit/v0.2",
    "examples/hello-backend/src/lib.rs",
    "docs/plugin-authors.md",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = root.parent().ok_or("the crate lies in a repository")?;
    let mut files = Vec::new();
    for part in PARTS {
        println!("cargo:rerun-if-changed=../{part}");
        gather(&root.join(part), &mut files)?;
    }
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        let name = file
            .strip_prefix(root)?
            .to_str()
            .ok_or("a name that is no text")?;
        writeln!(
            list,
            "    ({name:?}, include_str!({:?})),",
            file.display().to_string()
        )?;
    }
    for (name, text) in manifests(root)? {
        writeln!(list, "    ({name:?}, {text:?}),")?;
    }
    list.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("sdk.rs"), list)?;
    Ok(())
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        gather(&entry?.path(), files)?;
    }
    Ok(())
}

/// The manifest of the SDK without what only its own tests need, and that of the workspace, of which it
/// inherits the rest.
fn manifests(root: &Path) -> Result<[(&'static str, String); 2], Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../sdk/Cargo.toml");
    println!("cargo:rerun-if-changed=../Cargo.toml");
    let own = without(
        &fs::read_to_string(root.join("sdk/Cargo.toml"))?,
        &["dev-dependencies", "lints"],
    );
    let of_all = fs::read_to_string(root.join("Cargo.toml"))?;
    let package = section(&of_all, "workspace.package");
    let needed = section(&of_all, "workspace.dependencies");
    let needed = needed.lines().filter(|line| {
        let name = line.split([' ', '.', '=']).next().unwrap_or_default();
        let inherited = [
            format!("\n{name}.workspace"),
            format!("\n{name} = {{ workspace"),
        ];
        inherited.iter().any(|line| own.contains(line))
    });
    let mut workspace = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"sdk\", \"sdk/arena\"]\n\n[workspace.package]\n{package}\n[workspace.dependencies]\n"
    );
    for line in needed {
        workspace.push_str(line);
        workspace.push('\n');
    }
    Ok([("sdk/Cargo.toml", own), ("Cargo.toml", workspace)])
}

/// The lines of one table.
fn section(manifest: &str, name: &str) -> String {
    let header = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| *line != header).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Everything but some tables.
fn without(manifest: &str, names: &[&str]) -> String {
    let mut kept = true;
    let lines = manifest.lines().filter(|line| {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            kept = !names.contains(&name);
        }
        kept
    });
    lines.map(|line| format!("{line}\n")).collect()
}
