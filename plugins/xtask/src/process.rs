//! Runs programs to their end, and ends them when we are asked to stop.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::interrupt::{self, Request};

/// How often a child is looked at.
const GLANCE: Duration = Duration::from_millis(40);
/// How long a child may take to stop when asked to.
const GOODBYE: Duration = Duration::from_secs(10);

/// Runs a program; its exit code, if it is not 0, becomes ours.
pub fn run(command: &mut Command) -> Result<()> {
    let mut child = command.spawn().map_err(Error::trying(start(command)))?;
    check(command, wait(&mut child)?)
}

/// Runs a program and returns the lines it wrote to standard output.
pub fn output_lines(command: &mut Command) -> Result<Vec<String>> {
    command.stdout(Stdio::piped());
    let mut child = command.spawn().map_err(Error::trying(start(command)))?;
    let stdout = child.stdout.take();
    // Read aside, so that we notice when we are asked to stop.
    let reader = thread::spawn(move || {
        let lines = stdout.map(|stdout| BufReader::new(stdout).lines().map_while(|line| line.ok()));
        lines.into_iter().flatten().collect()
    });
    let status = wait(&mut child)?;
    let lines = reader.join().unwrap_or_default();
    check(command, status)?;
    Ok(lines)
}

/// True if the program can be started and says that all is well.
pub fn works(program: &str, args: &[&str]) -> bool {
    let quiet = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

/// Waits until a child has ended, or we are asked to stop: then it is made to.
pub fn wait(child: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child
            .try_wait()
            .map_err(Error::trying("wait for a child"))?
        {
            // A child that ended by the same Ctrl-C has not failed.
            return if interrupt::requested().is_some() {
                Err(interrupt::error())
            } else {
                Ok(status)
            };
        }
        if let Some(request) = interrupt::requested() {
            stop(child, request, GOODBYE);
            return Err(interrupt::error());
        }
        thread::sleep(GLANCE);
    }
}

/// Makes a child stop: politely, and firmly if it still runs after `time`. After Ctrl-C it
/// has been told already, by the terminal.
pub fn stop(child: &mut Child, request: Request, time: Duration) {
    let until = Instant::now() + time;
    let ended = match request {
        Request::Interrupt => ends_within(child, time.min(Duration::from_secs(3))),
        Request::Terminate => false,
    };
    if ended {
        return;
    }
    terminate(child);
    if !ends_within(child, until.saturating_duration_since(Instant::now())) {
        // These fail only if the child has just ended by itself.
        drop(child.kill());
        drop(child.wait());
    }
}

/// True if the child ends in time.
pub fn ends_within(child: &mut Child, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return true,
            Ok(None) if Instant::now() < until => thread::sleep(GLANCE),
            Ok(None) | Err(_) => return false,
        }
    }
}

/// Sends SIGTERM, which std cannot, by the one program that every Unix has.
#[cfg(unix)]
fn terminate(child: &mut Child) {
    let pid = child.id().to_string();
    drop(
        Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &pid])
            .status(),
    );
}

#[cfg(not(unix))]
fn terminate(child: &mut Child) {
    drop(child.kill());
}

fn start(command: &Command) -> String {
    format!("start `{}`", command.get_program().to_string_lossy())
}

/// The error of a program that did not end well.
pub fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    let args: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_string_lossy())
        .collect();
    let program = command.get_program().to_string_lossy();
    // cargo by its name, not by the long path of the toolchain's own copy.
    let program = program.rsplit(['/', '\\']).next().unwrap_or(&program);
    Err(Error::new(format!("`{program} {}` failed: {status}", args.join(" "))).with_exit_code(code))
}
