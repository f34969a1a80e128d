//! `cortex-gateway stdio` as a client starts it.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cortex_tests::binary;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// Longest anything is waited for. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running process. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: mpsc::UnboundedReceiver<String>,
    /// Read, but not asked for yet.
    early: Vec<Value>,
    stderr: Arc<Mutex<Vec<String>>>,
    /// Goes away with the last process that uses it.
    pub(crate) dir: Arc<TempDir>,
}

impl Process {
    /// Starts one with a data directory of its own.
    pub(crate) fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_in(
            Arc::new(tempfile::tempdir().expect("a directory")),
            args,
            env,
        )
    }

    /// Starts one with the data directory of an earlier one.
    pub(crate) fn start_in(dir: Arc<TempDir>, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(binary("cortex-gateway"))
            .arg("stdio")
            .args(args)
            .env_clear()
            .envs(
                std::env::vars()
                    .filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME" | "RUST_LOG")),
            )
            .env("CORTEX_STDIO_DATA_DIR", dir.path().join("data"))
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let (sender, stdout) = mpsc::unbounded_channel();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // A test that is over asks for no more lines.
                let _ = sender.send(line);
            }
        });
        let stderr = Arc::<Mutex<Vec<String>>>::default();
        let (into, mut lines) = (
            Arc::clone(&stderr),
            BufReader::new(child.stderr.take().expect("piped")).lines(),
        );
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            stdout,
            early: Vec::new(),
            stderr,
            dir,
        }
    }

    /// Everything on its standard error so far.
    pub(crate) fn log(&self) -> String {
        self.stderr
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }

    /// Waits for a line on standard error that contains this, and returns it.
    pub(crate) async fn logged(&self, text: &str) -> String {
        let find = || {
            let lines = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().find(|line| line.contains(text)).cloned()
        };
        cortex_tests::gateway::eventually(|| find().is_some(), || self.log()).await;
        find().expect("there")
    }

    /// Writes a line as it is.
    pub(crate) async fn line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .expect("written");
    }

    /// Writes a message.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.line(&message.to_string()).await;
    }

    /// Writes a legacy request.
    pub(crate) async fn ask(&mut self, id: impl Into<Value>, method: &str, params: Value) {
        let message =
            json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params });
        self.send(&message).await;
    }

    /// Writes a modern request.
    pub(crate) async fn ask_modern(
        &mut self,
        id: impl Into<Value>,
        method: &str,
        mut params: Value,
    ) {
        params["_meta"] = cortex_tests::client::modern_meta();
        self.ask(id, method, params).await;
    }

    /// Writes a notification.
    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
            .await;
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        if !self.early.is_empty() {
            return self.early.remove(0);
        }
        let line = tokio::time::timeout(PATIENCE, self.stdout.recv()).await;
        let line = line.unwrap_or_else(|_| panic!("no line; log:\n{}", self.log()));
        let line = line.unwrap_or_else(|| panic!("standard output ended; log:\n{}", self.log()));
        read(&line)
    }

    /// The response with this id; what comes before is kept for [`next`](Self::next).
    pub(crate) async fn answer(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into();
        let mut others = Vec::new();
        loop {
            let message = self.next().await;
            if message["id"] == id && message.get("method").is_none() {
                others.append(&mut self.early);
                self.early = others;
                return message;
            }
            others.push(message);
        }
    }

    /// The result of the response with this id.
    pub(crate) async fn result(&mut self, id: impl Into<Value>) -> Value {
        let answer = self.answer(id).await;
        assert!(answer.get("error").is_none(), "{answer}\n{}", self.log());
        answer["result"].clone()
    }

    /// Code and message of the error response with this id.
    pub(crate) async fn error(&mut self, id: impl Into<Value>) -> (i64, String) {
        let answer = self.answer(id).await;
        let message = answer["error"]["message"]
            .as_str()
            .unwrap_or_else(|| panic!("no error: {answer}"));
        (
            answer["error"]["code"].as_i64().expect("a code"),
            message.to_owned(),
        )
    }

    /// Says hello as a legacy client, up to the notification.
    pub(crate) async fn initialize(&mut self) -> Value {
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        self.ask("hello", "initialize", hello).await;
        let result = self.result("hello").await;
        self.notify("notifications/initialized", json!({})).await;
        result
    }

    /// Ends the input.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill")
            .args([format!("-{name}"), pid])
            .status()
            .await;
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end; returns exit code and the messages that were not read.
    pub(crate) async fn ended(&mut self) -> (Option<i32>, Vec<Value>) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end; log:\n{}", self.log()));
        let mut rest = std::mem::take(&mut self.early);
        while let Some(line) = self.stdout.recv().await {
            rest.push(read(&line));
        }
        (status.expect("ended").code(), rest)
    }

    /// Ends the input and expects a good end with nothing more to say.
    pub(crate) async fn ends_well(mut self) {
        self.close();
        let (code, rest) = self.ended().await;
        assert_eq!((code, &rest[..]), (Some(0), &[][..]), "{}", self.log());
    }
}

/// Whatever is on standard output is a JSON-RPC message.
fn read(line: &str) -> Value {
    let message: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let first = message
        .as_array()
        .and_then(|batch| batch.first())
        .unwrap_or(&message);
    assert_eq!(first["jsonrpc"], "2.0", "{line}");
    message
}
