//! Runs tests and watches what they print: one that never ends is named, and holds nobody up for ever.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::{interrupt, process};

/// How long nothing may be printed while a test runs that has been running for a minute.
const SILENCE: Duration = Duration::from_secs(600);
/// How often is looked whether we are to stop.
const GLANCE: Duration = Duration::from_millis(100);
/// How long those who are told to stop may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// Runs `cargo test`, passing on what it prints.
pub(super) fn run(command: &mut Command) -> Result<()> {
    command.stdout(Stdio::piped());
    // All that it starts is stopped with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut child = command.spawn().map_err(Error::trying("start `cargo`"))?;
    let Some(stdout) = child.stdout.take() else {
        return process::check(command, process::wait(&mut child)?);
    };
    let (lines, printed) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let (mut running, mut last) = (Running::default(), Instant::now());
    loop {
        match printed.recv_timeout(GLANCE) {
            Ok(line) => {
                last = Instant::now();
                running.read(&line);
                // Nobody reads it any more: the tests go on, and their outcome counts.
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            Err(RecvTimeoutError::Disconnected) => {
                return process::check(command, process::wait(&mut child)?);
            }
            Err(RecvTimeoutError::Timeout) if interrupt::requested().is_some() => {
                stop(&mut child);
                return Err(interrupt::error());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if last.elapsed() > SILENCE && !running.0.is_empty() {
            stop(&mut child);
            let names: Vec<&str> = running.0.iter().map(String::as_str).collect();
            let (names, minutes) = (names.join(", "), SILENCE.as_secs() / 60);
            return Err(Error::new(format!(
                "no test has ended for {minutes} minutes, and these have not: {names}"
            )));
        }
    }
}

/// Tests that have been running for a minute and have not ended, as libtest tells of them.
#[derive(Default)]
struct Running(BTreeSet<String>);

impl Running {
    fn read(&mut self, line: &str) {
        let Some(line) = line.strip_prefix("test ") else {
            return;
        };
        if let Some((name, _)) = line.split_once(" has been running for over ") {
            self.0.insert(name.to_owned());
        } else if let Some((name, _)) = line.split_once(" ... ") {
            self.0.remove(name);
        }
    }
}

/// Stops it and all that it has started.
fn stop(child: &mut Child) {
    let group = format!("-{}", child.id());
    for signal in ["-TERM", "-KILL"] {
        // It fails only when all have ended by themselves.
        drop(
            Command::new("sh")
                .args(["-c", "kill \"$0\" -- \"$1\" 2>/dev/null", signal, &group])
                .status(),
        );
        if signal == "-TERM" {
            process::ends_within(child, GOODBYE);
        }
    }
    drop(child.wait());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_run_for_long_are_known_by_their_names() {
        let mut running = Running::default();
        running.read("test a::slow has been running for over 60 seconds");
        running.read("test b::slow has been running for over 60 seconds");
        running.read("test b::slow ... ok");
        running.read("test c::fast ... ok");
        assert_eq!(running.0.iter().collect::<Vec<_>>(), ["a::slow"]);
    }

    #[test]
    #[cfg(unix)]
    fn what_comes_of_the_tests_is_what_comes_of_it() {
        let sh = |script: &str| run(Command::new("sh").args(["-c", script]));
        assert!(sh("echo test a ... ok").is_ok());
        assert!(sh("echo test a ... FAILED; exit 101").is_err());
    }
}
