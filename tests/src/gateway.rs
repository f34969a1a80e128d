//! A gateway process of the test's own, on a free port, with a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::client::{Client, DEV_TOKEN};
use crate::component;
use crate::issuer::FakeIssuer;

/// Longest anything is waited for. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(180);

type Lines = Arc<Mutex<Vec<String>>>;

/// Collects what a gateway is to be started with.
pub struct GatewayBuilder {
    dir: TempDir,
    env: Vec<(String, String)>,
    backends: Vec<String>,
    mcp_servers: Vec<String>,
    /// What the command begins with.
    within: Vec<String>,
    /// The program, if it is not the one that is tested.
    program: Option<PathBuf>,
}

impl Default for GatewayBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl GatewayBuilder {
    /// The default plugins, the dev bypass with scope `mcp:test:use`, and no backend.
    pub fn new() -> Self {
        let builder = Self::bare();
        for name in ["backend-http", "policy-scopes", "audit-stdout"] {
            builder.install(name);
        }
        builder
    }

    /// Like [`new`](Self::new), without any plugin.
    pub fn bare() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("plugins")).expect("a directory");
        // Compiled components are the same for all gateways: they are made once.
        let compiled = crate::built_dir().join("compiled");
        std::fs::create_dir_all(&compiled).expect("a directory");
        std::fs::create_dir(dir.path().join("data")).expect("a directory");
        std::os::unix::fs::symlink(compiled, dir.path().join("data/compiled")).expect("linked");
        let env = [
            ("CORTEX_LISTEN", "127.0.0.1:0"),
            ("CORTEX_CANONICAL_URI", "http://localhost:3213/mcp"),
            ("CORTEX_DEV_BYPASS_TOKEN", DEV_TOKEN),
            ("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use"),
            ("CORTEX_TECHNICAL_TOKEN", "technical-token-of-the-tests"),
            // Refreshes come when a test asks for them.
            ("CORTEX_REFRESH_SECONDS", "3600"),
        ];
        let env = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Self {
            dir,
            env,
            backends: Vec::new(),
            mcp_servers: Vec::new(),
            within: Vec::new(),
            program: None,
        }
    }

    /// Runs it by way of another command, such as `ip netns exec`.
    pub fn within(self, command: Vec<String>) -> Self {
        Self {
            within: command,
            ..self
        }
    }

    /// Runs another program: a gateway of another version. `None`: the one that is tested.
    pub fn program(self, program: Option<PathBuf>) -> Self {
        Self { program, ..self }
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Accepts the tokens of an issuer, and the dev bypass no more.
    pub fn issuer(self, issuer: &FakeIssuer) -> Self {
        self.env("OAUTH_ISSUER", &issuer.url())
            .env("CORTEX_DEV_BYPASS_TOKEN", "")
    }

    /// Adds a backend.
    pub fn backend(mut self, id: &str, url: &str) -> Self {
        self.backends.push(id.to_owned());
        let part = id.to_uppercase().replace('-', "_");
        self.env(&format!("CORTEX_BACKEND_{part}_URL"), url)
    }

    /// Adds a native MCP server, and the plugin that speaks to it.
    pub fn mcp_server(mut self, id: &str, url: &str) -> Self {
        self.install("backend-mcp");
        self.mcp_servers.push(id.to_owned());
        let part = id.to_uppercase().replace('-', "_");
        self.env(&format!("CORTEX_MCP_{part}_URL"), url)
            .env(&format!("CORTEX_MCP_{part}_SCOPE"), "mcp:test:use")
    }

    /// Puts a component of this workspace into the plugin directory.
    pub fn plugin(self, name: &str) -> Self {
        self.install(name);
        self
    }

    /// Puts any file into the plugin directory.
    pub fn plugin_file(self, file: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.plugins().join(file), bytes).expect("written");
        self
    }

    fn install(&self, name: &str) {
        let from = component(name);
        std::fs::copy(&from, self.plugins().join(format!("{name}.wasm"))).expect("copied");
    }

    fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    fn command(&self) -> Command {
        let program = self.program.clone();
        let program = program.unwrap_or_else(|| crate::binary("cortex-gateway"));
        let mut command = match self.within.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command
            .env_clear()
            .envs(
                std::env::vars()
                    .filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME" | "RUST_LOG")),
            )
            .env("CORTEX_PLUGIN_DIR", self.plugins())
            .env("CORTEX_DATA_DIR", self.dir.path().join("data"))
            .env("CORTEX_BACKENDS", self.backends.join(","))
            .env("CORTEX_MCP_SERVERS", self.mcp_servers.join(","))
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> Gateway {
        let mut child = self.command().spawn().expect("started");
        let (stdout, stderr) = (Lines::default(), Lines::default());
        collect(child.stdout.take().expect("piped"), &stdout);
        collect(child.stderr.take().expect("piped"), &stderr);
        let line = wait_for_line(&stderr, "listening on http://", &mut child).await;
        let address = line
            .split("listening on http://")
            .nth(1)
            .and_then(|rest| rest.split("/mcp").next())
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("no address in {line}"));
        let client = Client::new(format!("http://{address}"));
        Gateway {
            address,
            client,
            child,
            stdout,
            stderr,
            builder: self,
        }
    }

    /// The directory of the gateway.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs an operator's command on the data directory.
    pub async fn operate(&self, arguments: &[&str]) -> Output {
        let running = self.command().args(arguments).output();
        let output = tokio::time::timeout(PATIENCE, running).await;
        output.expect("it ends").expect("it runs")
    }

    /// Runs one that is not expected to start; returns its exit code and what it wrote to
    /// standard error.
    pub async fn fail(self) -> (Option<i32>, String) {
        let running = self.command().output();
        let output = tokio::time::timeout(PATIENCE, running)
            .await
            .expect("it ends")
            .expect("it runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
}

/// A running gateway. Killed when dropped.
pub struct Gateway {
    /// Where it listens.
    pub address: SocketAddr,
    /// Speaks to it.
    pub client: Client,
    child: Child,
    stdout: Lines,
    stderr: Lines,
    builder: GatewayBuilder,
}

impl Gateway {
    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.builder.dir.path()
    }

    /// What it was started with.
    pub fn builder(&self) -> &GatewayBuilder {
        &self.builder
    }

    /// Runs an operator's command on its data directory.
    pub async fn operate(&self, arguments: &[&str]) -> Output {
        self.builder.operate(arguments).await
    }

    /// Ends it as a power cut would, and returns what it can be started with again: the same
    /// directory, the same variables.
    pub async fn kill(mut self) -> GatewayBuilder {
        self.child.start_kill().expect("killed");
        self.ended().await;
        self.builder
    }

    /// Ends it as an operator would, and returns what it can be started with again.
    pub async fn stop(mut self) -> GatewayBuilder {
        self.signal("TERM").await;
        self.ended().await;
        self.builder
    }

    /// Everything on its standard error so far.
    pub fn log(&self) -> String {
        lock(&self.stderr).join("\n")
    }

    /// Waits for a log line that contains this text, and returns it.
    pub async fn logged(&mut self, text: &str) -> String {
        wait_for_line(&self.stderr, text, &mut self.child).await
    }

    /// Everything on its standard output so far.
    pub fn output(&self) -> String {
        lock(&self.stdout).join("\n")
    }

    /// Takes what is on its standard output so far: a long test does not keep it.
    pub fn take_output(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.stdout))
    }

    /// Waits until this many audit records are there, and returns them all.
    pub async fn audit(&mut self, at_least: usize) -> Vec<Value> {
        self.audited(|records| records.len() >= at_least).await
    }

    /// Waits until the audit records are what a test needs, and returns them all. A record
    /// follows its answer, so one that matters is waited for and not assumed.
    pub async fn audited(&mut self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let records = || -> Vec<Value> {
            lock(&self.stdout)
                .iter()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
                .collect()
        };
        eventually(|| enough(&records()), || self.output()).await;
        records()
    }

    /// Waits until it answers `/readyz` with 200.
    pub async fn ready(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let reply = self.client.get("/readyz").await;
            if reply.status == 200 {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "never ready: {}\n{}",
                reply.text(),
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs an operator's command (`status --json`) on it; returns the exit code and what it wrote
    /// to standard output and standard error.
    pub async fn operator(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let running = Command::new(crate::binary("cortex-gateway"))
            .args(arguments)
            .env("CORTEX_DATA_DIR", self.dir().join("data"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, running)
            .await
            .expect("it ends")
            .expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// How many entries this folder of the kernel's about it has: `task`, `fd`.
    pub fn count(&self, folder: &str) -> u64 {
        let pid = self.child.id().expect("it runs");
        let entries = std::fs::read_dir(format!("/proc/{pid}/{folder}")).expect("a folder");
        entries.count() as u64
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Its memory as the kernel counts it, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let pid = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        kib.and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Sends a signal (`TERM`, `INT`).
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill")
            .args([format!("-{name}"), pid])
            .status()
            .await;
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end; returns the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends");
        status.expect("it ended").code()
    }
}

/// Waits until a condition holds; panics with what `shown` says when it never does.
pub async fn eventually(condition: impl Fn() -> bool, shown: impl Fn() -> String) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "never happened; seen:\n{}",
            shown()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn lock(lines: &Lines) -> std::sync::MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

fn collect(from: impl AsyncRead + Unpin + Send + 'static, into: &Lines) {
    let into = Arc::clone(into);
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            lock(&into).push(line);
        }
    });
}

async fn wait_for_line(lines: &Lines, text: &str, child: &mut Child) -> String {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(line) = lock(lines).iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let ended = child.try_wait().expect("its state");
        let late = tokio::time::Instant::now() > deadline;
        assert!(
            ended.is_none() && !late,
            "no line with `{text}`; ended: {ended:?}; log:\n{}",
            lock(lines).join("\n")
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
