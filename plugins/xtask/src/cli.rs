//! The words on the command line.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::fuzz::Bound;

/// What `cargo xtask` prints when it is not told what to do.
pub const USAGE: &str = "\
cargo xtask <task>

  demo [--port N] [--release]        build everything, start a gateway and a backend, make a call
  demo --oauth [--port N] [--release]
                                     the same with a development authorization server, so that
                                     MCP clients log in by themselves; needs npm
  components [PACKAGE…] [--out DIR]  build plugins to components; all default ones into
                                     target/components unless told otherwise
  test [-- ARGS…]                    build what the tests need, then `cargo test --workspace ARGS…`
  lint                               formatting, clippy, and cargo-deny where it is installed
  bench [-- ARGS…]                   measure a release build of the gateway beside raw hyper, or with
                                     `--production` among ARGS the build for production
  bench --micro [-- ARGS…]           measure the parts of one request by themselves
  bench --scaling [ARGS…]            measure 1, 2 and 3 gateways that share PostgreSQL and Redis; needs
                                     both, and HAProxy
  soak [--minutes N]                 use a release build of the gateway for so long (60 unless told
                                     otherwise) while everything around it changes
  production [--out FILE]            build the gateway for production: with jemalloc, and arranged by
                                     what the benchmark makes it do; prints where it is; needs
                                     llvm-profdata and make
  fuzz [TARGET…] [--seconds N | --runs N]
                                     look for input that breaks the parser, the header validator or
                                     the token verifier, for 60 s each unless told otherwise; needs
                                     a C++ compiler

How the wasm32-wasip2 target is found, and its settings: plugins/xtask/wasm-target.sh help
";

/// The port of the demo's gateway unless told otherwise.
const DEMO_PORT: u16 = 3213;

/// How long a soak takes unless told otherwise.
const SOAK_MINUTES: u64 = 60;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Build components.
    Components {
        /// Which ones; none means the default ones.
        packages: Vec<String>,
        /// Where to put them.
        out: Option<PathBuf>,
    },
    /// Start a gateway and a backend.
    Demo {
        /// Port of the gateway on 127.0.0.1; 0 picks a free one.
        port: u16,
        /// Build with optimisations.
        release: bool,
        /// Log in by OAuth, at a development authorization server.
        oauth: bool,
    },
    /// Run all tests.
    Test {
        /// Passed on to `cargo test`.
        args: Vec<String>,
    },
    /// Run the benchmark.
    Bench {
        /// Passed on to the benchmark.
        args: Vec<String>,
    },
    /// Run the benchmark of single parts.
    Micro {
        /// Passed on to it.
        args: Vec<String>,
    },
    /// Use a gateway for a long time.
    Soak {
        /// For how long.
        minutes: u64,
    },
    /// Build the gateway for production.
    Production {
        /// Where to put it.
        out: Option<PathBuf>,
    },
    /// Run fuzz targets.
    Fuzz {
        /// Which ones; none means all.
        targets: Vec<String>,
        /// For how long each.
        bound: Bound,
    },
    /// Check formatting, lints and dependencies.
    Lint,
    /// Print the usage.
    Help,
}

impl Task {
    /// Reads the arguments that follow the program's name.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut args = args.into_iter();
        match args.next().as_deref() {
            Some("components") => parse_components(args),
            Some("demo") => parse_demo(args),
            Some("test") => Ok(Self::Test {
                args: passed_on(args),
            }),
            Some("bench") => {
                let mut args = args.peekable();
                let micro = args.next_if(|word| word == "--micro").is_some();
                let args = passed_on(args);
                Ok(if micro {
                    Self::Micro { args }
                } else {
                    Self::Bench { args }
                })
            }
            Some("soak") => parse_soak(args),
            Some("production") => parse_production(args),
            Some("fuzz") => parse_fuzz(args),
            Some("lint") => match args.next() {
                None => Ok(Self::Lint),
                Some(word) => Err(unknown(&word)),
            },
            None | Some("help" | "--help" | "-h") => Ok(Self::Help),
            Some(word) => Err(unknown(word)),
        }
    }
}

fn parse_components(mut args: impl Iterator<Item = String>) -> Result<Task> {
    let (mut packages, mut out) = (Vec::new(), None);
    while let Some(word) = args.next() {
        match word.as_str() {
            "--out" => out = Some(PathBuf::from(value_of("--out", args.next())?)),
            word if word.starts_with('-') => return Err(unknown(word)),
            package => packages.push(package.to_owned()),
        }
    }
    Ok(Task::Components { packages, out })
}

fn parse_demo(mut args: impl Iterator<Item = String>) -> Result<Task> {
    let (mut port, mut release, mut oauth) = (DEMO_PORT, false, false);
    while let Some(word) = args.next() {
        match word.as_str() {
            "--release" => release = true,
            "--oauth" => oauth = true,
            "--port" => {
                let value = value_of("--port", args.next())?;
                port = value.parse().map_err(|_| {
                    Error::new(format!("`--port {value}`: expected a number up to 65535"))
                })?;
            }
            word => return Err(unknown(word)),
        }
    }
    Ok(Task::Demo {
        port,
        release,
        oauth,
    })
}

fn parse_soak(mut args: impl Iterator<Item = String>) -> Result<Task> {
    let mut minutes = SOAK_MINUTES;
    while let Some(word) = args.next() {
        if word != "--minutes" {
            return Err(unknown(&word));
        }
        let value = value_of("--minutes", args.next())?;
        let number = value.parse().ok().filter(|number| *number > 0);
        minutes = number
            .ok_or_else(|| Error::new(format!("`--minutes {value}`: expected a number above 0")))?;
    }
    Ok(Task::Soak { minutes })
}

fn parse_production(mut args: impl Iterator<Item = String>) -> Result<Task> {
    let mut out = None;
    while let Some(word) = args.next() {
        match word.as_str() {
            "--out" => out = Some(PathBuf::from(value_of("--out", args.next())?)),
            word => return Err(unknown(word)),
        }
    }
    Ok(Task::Production { out })
}

fn parse_fuzz(mut args: impl Iterator<Item = String>) -> Result<Task> {
    let (mut targets, mut bound) = (Vec::new(), Bound::default());
    while let Some(word) = args.next() {
        let mut number = |option| {
            let value = value_of(option, args.next())?;
            let number = value.parse().ok().filter(|number| *number > 0);
            number
                .ok_or_else(|| Error::new(format!("`{option} {value}`: expected a number above 0")))
        };
        match word.as_str() {
            "--seconds" => bound = Bound::Seconds(number("--seconds")?),
            "--runs" => bound = Bound::Runs(number("--runs")?),
            word if word.starts_with('-') => return Err(unknown(word)),
            target => targets.push(target.to_owned()),
        }
    }
    Ok(Task::Fuzz { targets, bound })
}

/// The words for another program; a leading `--` is ours, the rest is not looked at.
fn passed_on(args: impl Iterator<Item = String>) -> Vec<String> {
    let mut args: Vec<String> = args.collect();
    if args.first().is_some_and(|word| word == "--") {
        args.remove(0);
    }
    args
}

fn value_of(option: &str, value: Option<String>) -> Result<String> {
    value.ok_or_else(|| Error::new(format!("`{option}` needs a value")))
}

fn unknown(word: &str) -> Error {
    Error::new(format!("unknown word: `{word}`"))
        .hint("`cargo xtask help` lists what there is")
        .with_exit_code(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task> {
        Task::parse(line.split_whitespace().map(str::to_owned))
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn every_task_has_its_words() {
        let check = |line: &str, expected: Task| assert_eq!(parse(line), Ok(expected), "{line}");
        check("", Task::Help);
        check("help", Task::Help);
        check("lint", Task::Lint);
        check(
            "components",
            Task::Components {
                packages: vec![],
                out: None,
            },
        );
        check(
            "components hello-backend --out /tmp/x",
            Task::Components {
                packages: words("hello-backend"),
                out: Some("/tmp/x".into()),
            },
        );
        check(
            "demo",
            Task::Demo {
                port: 3213,
                release: false,
                oauth: false,
            },
        );
        check(
            "demo --release --port 4213 --oauth",
            Task::Demo {
                port: 4213,
                release: true,
                oauth: true,
            },
        );
        check(
            "test -- -p x -- --nocapture",
            Task::Test {
                args: words("-p x -- --nocapture"),
            },
        );
        check(
            "bench --micro -- token",
            Task::Micro {
                args: words("token"),
            },
        );
        check("production", Task::Production { out: None });
        check(
            "production --out x",
            Task::Production {
                out: Some("x".into()),
            },
        );
        check("soak", Task::Soak { minutes: 60 });
        check("soak --minutes 2", Task::Soak { minutes: 2 });
        check(
            "bench --quick",
            Task::Bench {
                args: words("--quick"),
            },
        );
    }

    #[test]
    fn fuzzing_is_bounded() {
        for (line, named, expected) in [
            ("fuzz", "", Bound::Seconds(60)),
            ("fuzz token --seconds 5", "token", Bound::Seconds(5)),
            (
                "fuzz --runs 7 token jsonrpc",
                "token jsonrpc",
                Bound::Runs(7),
            ),
        ] {
            let expected = Task::Fuzz {
                targets: words(named),
                bound: expected,
            };
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn wrong_words_are_named() {
        for (line, named) in [
            ("fuzz --runs 0", "`--runs 0`"),
            ("fuzz --secs 1", "`--secs`"),
            ("dmeo", "`dmeo`"),
            ("lint --fix", "`--fix`"),
            ("soak --minutes 0", "`--minutes 0`"),
            ("soak 60", "`60`"),
            ("components --in x", "`--in`"),
            ("components --out", "`--out` needs a value"),
            ("demo --port", "`--port` needs a value"),
            ("demo --port 70000", "`--port 70000`"),
            ("demo 4213", "`4213`"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
