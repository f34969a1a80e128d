//! Programs that run beside us, each with a log file, and never outlive us.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::interrupt::{self, Request};
use crate::process;

/// A program that we have started.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts a program whose output goes to `<name>.log` in the folder.
    pub fn start(name: &'static str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(Error::trying(format!("write {}", log.display())))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.0)
            .stderr(output.1)
            .spawn()
            .map_err(Error::trying(format!("start {name}")))?;
        Ok(Self { name, child, log })
    }

    /// Looks again and again, with the log in hand, until there is something to see.
    pub fn wait_for<T>(
        &mut self,
        time: Duration,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let until = Instant::now() + time;
        loop {
            if let Some(seen) = look(&self.read_log()) {
                return Ok(seen);
            }
            if interrupt::requested().is_some() {
                return Err(interrupt::error());
            }
            if self.has_ended() {
                return Err(self.explain("it has ended"));
            }
            if Instant::now() > until {
                return Err(self.explain(&format!("not ready after {} s", time.as_secs())));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// True if the program runs no more.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// An error about this program, with what it said last.
    pub fn explain(&mut self, what: &str) -> Error {
        let log = self.read_log();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(15)..];
        let ended = match self.child.try_wait() {
            Ok(Some(status)) => format!(" ({status})"),
            _ => String::new(),
        };
        Error::new(format!("{}: {what}{ended}\n{}", self.name, last.join("\n")))
            .hint(format!("the whole log is in {}", self.log.display()))
    }

    /// Makes the program stop, killing it if it has not by then.
    pub fn stop(&mut self, request: Request, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        process::stop(&mut self.child, request, left);
    }

    fn read_log(&self) -> String {
        fs::read(&self.log).map_or_else(
            |_| String::new(),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.stop(Request::Terminate, Instant::now() + Duration::from_secs(10));
        }
    }
}
