//! The layout of the finished binary, by LLVM's BOLT: what runs together lies together, and what is never taken lies apart.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{files, tools};
use crate::error::{Error, Result};

/// What is said where it is not there.
pub(super) const ABSENT: &str = "`llvm-bolt` is not there, so the binary is not laid out by what runs, which costs a call some CPU \
     (to get it: a package of your distribution; Debian: bolt-19)";

/// How it is laid out.
const OPTIONS: [&str; 7] = [
    "-reorder-blocks=ext-tsp",
    "-reorder-functions=cdsort",
    "-split-functions",
    "-split-all-cold",
    "-split-eh",
    "-icf=1",
    "-use-gnu-stack",
];

/// BOLT's programs.
pub(super) struct Bolt {
    bolt: PathBuf,
    merge: PathBuf,
    /// Takes away what only BOLT needs.
    strip: Option<PathBuf>,
}

impl Bolt {
    /// The newest that is here.
    pub(super) fn find(search: Option<OsString>) -> Option<Self> {
        tools::found("llvm-bolt", None, search)
            .iter()
            .find_map(|path| Self::at(path))
    }

    fn at(path: &Path) -> Option<Self> {
        // It looks for its own library beside where it really is, and so do we for the other programs.
        let bolt = fs::canonicalize(path).ok()?;
        let beside = |name: &str| Some(bolt.with_file_name(name)).filter(|path| path.is_file());
        Some(Self {
            merge: beside("merge-fdata")?,
            strip: beside("llvm-strip"),
            bolt,
        })
    }

    /// Lays out a binary that has its symbols and relocations, after seeing what `used` makes it do. Returns where the
    /// new one is.
    pub(super) fn lay_out(
        &self,
        built: &Path,
        made: &Path,
        used: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        // What another build has counted would not fit.
        if made.exists() {
            fs::remove_dir_all(made).map_err(Error::trying("delete the layout before"))?;
        }
        fs::create_dir_all(made).map_err(Error::trying("make a folder for the layout"))?;
        let counting = made.join("counting");
        let mut instrument = Command::new(&self.bolt);
        instrument.arg(built).arg("-instrument");
        // Each process has a file of its own, called after this one.
        let file = made.join("counts").display().to_string();
        instrument.arg(format!("--instrumentation-file={file}"));
        instrument.arg("--instrumentation-file-append-pid");
        done(instrument.arg("-o").arg(&counting), "make it count")?;
        used(&counting)?;
        let counted = files(made, "fdata");
        if counted.is_empty() {
            return Err(Error::new("the laid out gateway has counted nothing"));
        }
        let merged = made.join("merged");
        let counts = done(Command::new(&self.merge).args(&counted), "merge the counts")?;
        fs::write(&merged, counts).map_err(Error::trying("write what was counted"))?;
        let new = made.join(format!("cortex-gateway{}", env::consts::EXE_SUFFIX));
        let mut lay_out = Command::new(&self.bolt);
        lay_out.arg(built).args(OPTIONS).arg("-data").arg(&merged);
        done(lay_out.arg("-o").arg(&new), "lay it out")?;
        if let Some(strip) = &self.strip {
            done(Command::new(strip).arg("--strip-all").arg(&new), "strip it")?;
        }
        Ok(new)
    }
}

/// Runs a program; what it wrote to standard output, or its last words as an error.
fn done(command: &mut Command, what: &str) -> Result<Vec<u8>> {
    let output = command.output().map_err(Error::trying(what))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().last().unwrap_or("nothing");
    let program = command.get_program().display().to_string();
    Err(Error::new(format!("cannot {what}: {program} says: {last}")))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Programs that write down how they are called, as BOLT's.
    fn programs(dir: &Path) -> std::io::Result<PathBuf> {
        fs::create_dir_all(dir)?;
        let record = dir.join("calls");
        for (name, then) in [
            // It makes the file that comes after `-o`.
            ("llvm-bolt", "for last; do :; done; echo made > \"$last\""),
            ("merge-fdata", "cat \"$@\""),
            ("llvm-strip", "echo stripped >> \"$2\""),
        ] {
            let script = format!(
                "#!/bin/sh\necho \"{name} $*\" >> '{}'\n{then}\n",
                record.display()
            );
            let path = dir.join(name);
            fs::write(&path, script)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(record)
    }

    #[test]
    fn a_binary_is_used_and_laid_out_by_what_was_counted() {
        let root = env::temp_dir().join(format!("xtask-layout-{}", std::process::id()));
        let (bin, made) = (root.join("bin"), root.join("made"));
        let record = programs(&root.join("llvm/bin")).unwrap();
        fs::create_dir_all(&bin).unwrap();
        let named = |name: &str| symlink(root.join("llvm/bin/llvm-bolt"), bin.join(name));
        named("llvm-bolt-19").unwrap();
        // Nothing beside it.
        fs::write(bin.join("llvm-bolt-20"), "").unwrap();
        let bolt = Bolt::find(Some(bin.clone().into_os_string())).unwrap();
        let nothing = bolt.lay_out(Path::new("gateway"), &made, |_| Ok(()));
        let nothing = nothing.unwrap_err().to_string();
        assert!(nothing.contains("counted nothing"), "{nothing}");
        let new = bolt.lay_out(Path::new("gateway"), &made, |counting| {
            assert_eq!(fs::read_to_string(counting).unwrap(), "made\n");
            for n in 1..=2 {
                fs::write(made.join(format!("counts.{n}.fdata")), n.to_string()).unwrap();
            }
            Ok(())
        });
        let new = new.unwrap();
        assert_eq!(fs::read_to_string(new).unwrap(), "made\nstripped\n");
        assert_eq!(fs::read_to_string(made.join("merged")).unwrap(), "12");
        let calls = fs::read_to_string(record).unwrap();
        let mut asked = calls.lines().filter(|line| line.starts_with("llvm-bolt"));
        let last = asked.next_back().unwrap();
        assert!(last.contains("-data") && last.contains("gateway"), "{last}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let mut command = Command::new("sh");
        let failed = done(
            command.args(["-c", "echo first >&2; echo why >&2; false"]),
            "try",
        );
        let told = failed.unwrap_err().to_string();
        assert_eq!(told, "cannot try: sh says: why");
    }
}
