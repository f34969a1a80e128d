//! The fixture server: an MCP server with everything that the conformance suite calls.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A running fixture server. Killed when dropped.
pub struct FixtureServer {
    /// Its MCP endpoint.
    pub url: String,
    _child: Child,
}

impl FixtureServer {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let mut child = Command::new(crate::binary("cortex-fixture-server"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line())
            .await
            .expect("it starts")
            .expect("readable")
            .expect("a line");
        let url = line
            .strip_prefix("fixture-server listening on ")
            .expect("its URL")
            .to_owned();
        Self { url, _child: child }
    }
}
