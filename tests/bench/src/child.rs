//! The processes that a measurement starts, and their end.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::serve::LISTENING;

/// How long a part of our own may take to listen.
const LONGEST_START: Duration = Duration::from_secs(10);
/// How long a process may take to end when it is asked to.
const LONGEST_END: Duration = Duration::from_secs(10);
/// How much of what a process said last is kept for a message.
const TAIL: usize = 4096;

/// A process with its output being read. Killed when dropped; [`Process::stop`] also waits.
pub(crate) struct Process {
    name: String,
    pid: u32,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    /// Ends when its standard error does.
    reading: JoinHandle<()>,
    lines: Arc<AtomicU64>,
}

impl Process {
    /// Starts `command`. Its standard input stays open until it is stopped; its standard
    /// output is read and thrown away.
    pub(crate) fn start(name: String, command: Command) -> Result<Self> {
        let (mut process, output) = Self::spawn(name, command)?;
        process.discard(output);
        Ok(process)
    }

    /// Starts this binary again as one of its parts, and waits until it listens.
    pub(crate) async fn start_part(name: &str, arguments: &[&str]) -> Result<(Self, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe().context("where is this binary?")?);
        command.args(arguments);
        Self::start_listening(name, command, LONGEST_START).await
    }

    /// Starts `command`, and waits until it prints where it listens.
    pub(crate) async fn start_listening(
        name: &str,
        command: Command,
        longest: Duration,
    ) -> Result<(Self, SocketAddr)> {
        let (mut process, output) = Self::spawn(name.to_owned(), command)?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let read = tokio::time::timeout(longest, output.read_line(&mut line)).await;
        read.with_context(|| format!("{name}: silent for {longest:?}"))??;
        let address = line.trim_end().strip_prefix(LISTENING);
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            // It may be about to say why, and end.
            let _ = tokio::time::timeout(LONGEST_END, &mut process.reading).await;
            process.stop().await;
            let why = process.last_words().unwrap_or_default();
            bail!(
                "{name}: expected an address, got `{}`; {why}",
                line.trim_end()
            );
        };
        process.discard(output);
        Ok((process, address))
    }

    fn spawn(
        name: String,
        mut command: Command,
    ) -> Result<(Self, impl AsyncRead + Send + Unpin + 'static)> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("{name}: cannot start {:?}", command.as_std().get_program())
            })?;
        let pid = child.id().context("a process without id")?;
        let output = child.stdout.take().context("a process without output")?;
        let errors = child.stderr.take().context("a process without errors")?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let reading = tokio::spawn(keep_tail(errors, Arc::clone(&said)));
        let process = Self {
            name,
            pid,
            child,
            said,
            reading,
            lines: Arc::default(),
        };
        Ok((process, output))
    }

    fn discard(&mut self, output: impl AsyncRead + Send + Unpin + 'static) {
        tokio::spawn(count_lines(output, Arc::clone(&self.lines)));
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lines that were read from its standard output and thrown away.
    pub(crate) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Fails if the process has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended: {status}", self.name);
        }
        Ok(())
    }

    /// What it last said on standard error, if anything.
    pub(crate) fn last_words(&self) -> Option<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let text = text.trim();
        (!text.is_empty()).then(|| format!("{} said:\n{text}", self.name))
    }

    /// Asks it to end, and waits until it has: a build that counts what runs writes that down at its end.
    pub(crate) async fn stop(&mut self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (Some(pid), Ok(None)) = (pid, self.child.try_wait())
            && kill_process(pid, Signal::TERM).is_ok()
        {
            let _ = tokio::time::timeout(LONGEST_END, self.child.wait()).await;
        }
        // It fails only for a process that has already ended.
        let _ = self.child.kill().await;
    }
}

async fn keep_tail(mut from: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&chunk[..read]);
        let too_much = said.len().saturating_sub(TAIL);
        said.drain(..too_much);
    }
}

async fn count_lines(mut from: impl AsyncRead + Unpin, lines: Arc<AtomicU64>) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let ends = chunk[..read].iter().filter(|byte| **byte == b'\n').count();
        lines.fetch_add(ends as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start(script: &str) -> Result<(Process, SocketAddr)> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start_listening("one", command, LONGEST_START).await
    }

    #[tokio::test]
    async fn a_program_says_where_it_listens_or_why_it_does_not() {
        let (mut process, address) = start("echo listening on 127.0.0.1:7; sleep 60")
            .await
            .unwrap();
        assert_eq!(address.port(), 7);
        process.stop().await;
        let error = start("echo nowhere; echo no port is free >&2")
            .await
            .err()
            .unwrap();
        let text = error.to_string();
        for words in ["`nowhere`", "one said:", "no port is free"] {
            assert!(text.contains(words), "{text}");
        }
    }
}
