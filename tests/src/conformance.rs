//! The official MCP conformance suite (npm `@modelcontextprotocol/conformance`), run against a
//! server, and what it found: by scenario, and with its warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

/// Longest a run may take. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(600);

/// Scenarios that give a server less than two seconds for an answer, which a busy machine may
/// need: if one of these fails it gets a second chance, alone.
const HURRIED: [&str; 2] = ["server-stateless", "tools-call-with-logging"];

/// Scenarios that look at something else, and pass, when the server answers too soon: where one of
/// these is excepted it may be green all the same.
const OPEN: [&str; 1] = ["server-sse-polling"];

/// The server under test.
pub struct Target<'a> {
    /// Its MCP endpoint.
    pub url: &'a str,
    /// What it wants to see in `Authorization`, after `Bearer`.
    pub token: Option<&'a str>,
}

/// The suite as it is installed in `target/peers`.
pub struct Suite {
    node: PathBuf,
    package: PathBuf,
}

/// What a scenario found wrong; empty if nothing.
type Complaints = Vec<String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Suite {
    /// The suite, if it is installed.
    pub fn installed() -> Option<Self> {
        let home = root().join("target/peers/conformance");
        if !home.join(".pins").exists() {
            return None;
        }
        let modules = home.join("node_modules");
        let own_node = std::fs::read_dir(&modules)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path().join("bin/node"))
            .find(|node| node.exists() && node.starts_with(&modules));
        Some(Self {
            node: own_node.unwrap_or_else(|| PathBuf::from("node")),
            package: modules.join("@modelcontextprotocol/conformance"),
        })
    }

    /// Runs what a revision requires, and what it lists beside that. Panics unless every scenario
    /// is green except for those that `exceptions` (a file in `tests/conformance`) lists, and
    /// unless every one of these is red.
    pub async fn check(&self, revision: &str, target: &Target<'_>, exceptions: &str) {
        let (scored, unscored) = self.scenarios(revision);
        let exceptions = root().join("tests/conformance").join(exceptions);
        let excepted = listed(&read(&exceptions), "server:");
        let mut args = vec!["--requirements".to_owned(), revision.to_owned()];
        args.push("--expected-failures".to_owned());
        args.push(exceptions.display().to_string());
        let all: BTreeSet<&str> = scored.iter().chain(&unscored).map(String::as_str).collect();
        let mut found = self.run(target, &all, &args).await;
        for name in HURRIED {
            if found
                .get(name)
                .is_some_and(|complaints| !complaints.is_empty())
            {
                eprintln!(
                    "{name}: once more, because it has no patience: {:?}",
                    found[name]
                );
                let args = ["--scenario", name, "--spec-version", revision].map(str::to_owned);
                found.extend(self.run(target, &BTreeSet::from([name]), &args).await);
            }
        }
        let mut wrong = Vec::new();
        for (name, complaints) in &found {
            match (excepted.contains(name), complaints.is_empty()) {
                (false, true) | (true, false) => {}
                (true, true) if OPEN.contains(&name.as_str()) => {}
                (true, true) => wrong.push(format!("{name} is green and still excepted")),
                (false, false) => wrong.push(format!("{name}:\n  {}", complaints.join("\n  "))),
            }
        }
        let green = |names: &BTreeSet<String>| {
            let green = names.iter().filter(|name| found[*name].is_empty());
            format!("{} of {}", green.count(), names.len())
        };
        println!(
            "{revision}: {} scored scenarios and {} others are green",
            green(&scored),
            green(&unscored)
        );
        assert!(wrong.is_empty(), "{revision}:\n{}", wrong.join("\n"));
    }

    /// The server scenarios of a revision: those that decide, and those that are only run.
    fn scenarios(&self, revision: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let file = self.package.join(format!("requirements/{revision}.yaml"));
        let text = read(&file);
        let scored = listed(&text, "server:");
        let (_, rest) = text.split_once("\nnot_scored:\n").expect("a list");
        let unscored: BTreeSet<String> = rest
            .split("- scenario: ")
            .filter(|entry| entry.contains("leg: server"))
            .filter_map(|entry| entry.lines().next().map(str::to_owned))
            .collect();
        assert!(scored.len() >= 30 && unscored.len() >= 3, "{text}");
        (scored, unscored)
    }

    /// One run; what each of these scenarios complained about.
    async fn run(
        &self,
        target: &Target<'_>,
        names: &BTreeSet<&str>,
        args: &[String],
    ) -> BTreeMap<String, Complaints> {
        let out = tempfile::tempdir().expect("a directory");
        let mut suite = Command::new(&self.node);
        if let Some(token) = target.token {
            suite
                .arg("--import")
                .arg(root().join("tests/conformance/token.mjs"))
                .env("CONFORMANCE_URL", target.url)
                .env("CONFORMANCE_TOKEN", token);
        }
        suite
            .arg(self.package.join("dist/index.js"))
            .args(["server", "--url", target.url, "-o"])
            .arg(out.path())
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, suite.output())
            .await
            .expect("it ends")
            .expect("it runs");
        // Its exit code says too little: warnings count, and what a revision only lists does too.
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let complaints = |name: &&str| {
            let found = complaints(out.path(), name);
            let missing = || panic!("no result of `{name}`; the suite said:\n{said}");
            ((*name).to_owned(), found.unwrap_or_else(missing))
        };
        names.iter().map(complaints).collect()
    }
}

/// What a scenario's `checks.json` has to complain about.
fn complaints(out: &Path, name: &str) -> Option<Complaints> {
    // Each scenario writes into `server-<name>-<time>`.
    let start = format!("server-{name}-2");
    let folder = std::fs::read_dir(out)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&start))?;
    let file = folder.path().join("checks.json");
    let checks: Vec<Value> = serde_json::from_str(&read(&file)).expect("checks");
    let mut complaints: Complaints = checks
        .iter()
        .filter(|check| check["status"] == "FAILURE" || check["status"] == "WARNING")
        .map(|check| {
            let (id, why) = (&check["id"], &check["errorMessage"]);
            format!(
                "{} {id}: {why} {:.2000}",
                check["status"],
                check["details"].to_string()
            )
        })
        .collect();
    if checks.is_empty() {
        complaints.push("it checked nothing".to_owned());
    }
    Some(complaints)
}

/// The names below a key of a YAML file that holds nothing but lists of names.
fn listed(yaml: &str, key: &str) -> BTreeSet<String> {
    yaml.lines()
        .skip_while(|line| *line != key)
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .filter_map(|line| line.trim().strip_prefix("- "))
        .map(str::to_owned)
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_where_the_next_begins() {
        let yaml =
            "# first\nserver:\n  # why\n  - ping\n  - tools-list\n\nclient:\n  - auth/dpop\n";
        let expected = BTreeSet::from(["ping".to_owned(), "tools-list".to_owned()]);
        assert_eq!(listed(yaml, "server:"), expected);
        assert!(listed("server: []\n", "server:").is_empty());
    }

    #[test]
    fn a_warning_is_a_complaint_and_so_is_silence() {
        let out = tempfile::tempdir().expect("a directory");
        let result = |name: &str, checks: &str| {
            let folder = out
                .path()
                .join(format!("server-{name}-2026-07-28T00-00-00-000Z"));
            std::fs::create_dir(&folder).expect("a folder");
            std::fs::write(folder.join("checks.json"), checks).expect("written");
        };
        result(
            "ping",
            r#"[{"id":"a","status":"SUCCESS"},{"id":"b","status":"INFO"}]"#,
        );
        result(
            "ping-slow",
            r#"[{"id":"c","status":"WARNING","errorMessage":"late"}]"#,
        );
        result("silent", "[]");
        assert_eq!(complaints(out.path(), "ping"), Some(Vec::new()));
        let slow = complaints(out.path(), "ping-slow").expect("a result");
        assert!(slow[0].contains("late"), "{slow:?}");
        assert_eq!(complaints(out.path(), "silent").map(|c| c.len()), Some(1));
        assert_eq!(complaints(out.path(), "absent"), None);
    }
}
