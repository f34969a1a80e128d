//! Streams on which nothing happens: what one holds of memory; and then something for all of them at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hyper::header::HeaderValue;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Options;
use crate::callers;
use crate::check::{contains, shown};
use crate::client;
use crate::exchange::{MODERN, listen};
use crate::gateway::{Behind, Instances};
use crate::process;
use crate::report::{Figure, Findings};
use crate::stage::Stage;
use crate::targets::figure::STREAM;

/// People who listen; each has several streams.
const PEOPLE: usize = 1_000;
/// Streams that are open before memory is looked at: what the first ones cost is no part of the others.
const BEFORE: usize = 100;
/// Connections from one source address: fewer than a system has ports for them.
const FROM_ONE_ADDRESS: usize = 20_000;
/// How long memory may settle.
const SETTLE: Duration = Duration::from_secs(2);
/// Longest that somebody may wait for a word that concerns all.
const LONGEST: Duration = Duration::from_secs(120);

/// Opens them, looks at the memory, and lets the list of tools change a few times.
pub(crate) async fn measure(
    stage: &mut Stage,
    findings: &mut Findings,
    options: &Options,
) -> Result<()> {
    let counts: &[usize] = if options.full {
        &[1_000, 10_000]
    } else {
        &[1_000]
    };
    for count in counts {
        measure_so_many(stage, findings, options, *count)
            .await
            .with_context(|| format!("{count} streams"))?;
        stage.clear().await;
    }
    Ok(())
}

async fn measure_so_many(
    stage: &mut Stage,
    findings: &mut Findings,
    options: &Options,
    count: usize,
) -> Result<()> {
    raise_descriptors(count + BEFORE + 200)?;
    let backend = stage.backend(6).await?;
    let plugins = stage.plugins(options, &[])?;
    let many = "100000".to_owned();
    let more = [
        ("CORTEX_MAX_STREAMS", many.clone()),
        ("CORTEX_MAX_CONNECTIONS", many),
        ("CORTEX_REFRESH_SECONDS", "1".to_owned()),
    ];
    let behind = Behind::one(backend);
    let gateway = stage
        .gateway(options, &behind, &plugins, Instances::Call, &more)
        .await?;
    let tokens = callers::tokens(0, PEOPLE.min(count) as u64, false).await?;
    let mut listeners = Listeners::new(gateway.address, tokens);
    listeners.open(BEFORE).await?;
    tokio::time::sleep(SETTLE).await;
    let before = process::rss_kib(gateway.pid)?;
    let began = Instant::now();
    listeners.open(count).await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let after = process::rss_kib(gateway.pid)?;
    let each = after.saturating_sub(before) as f64 / count as f64;
    let of = |what: &str| format!("{count} streams: {what}");
    findings.figure(Figure::new(STREAM, "KiB", each));
    findings.figure(Figure::new(of("memory of each"), "KiB", each));
    findings.figure(Figure::new(of("opened"), "1/s", rate));
    for _ in 0..options.rounds {
        let cpu = process::cpu(gateway.pid)?;
        let told = listeners.all_are_told(backend).await?;
        let cpu = process::cpu(gateway.pid)?.saturating_sub(cpu);
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let fan_out = "list_changed, from the first told to the last";
        findings.figure(Figure::new(of(fan_out), "ms", millis(told)));
        // With the refresh that finds out, and whatever else is done meanwhile.
        let spent = "CPU until all are told";
        findings.figure(Figure::new(of(spent), "ms", millis(cpu)));
    }
    Ok(())
}

/// Everybody who listens.
struct Listeners {
    address: SocketAddr,
    tokens: Arc<[HeaderValue]>,
    open: usize,
    /// Ends with this value, and all streams with it.
    tasks: JoinSet<Result<()>>,
    tell: mpsc::UnboundedSender<Instant>,
    told: mpsc::UnboundedReceiver<Instant>,
}

impl Listeners {
    fn new(address: SocketAddr, tokens: Arc<[HeaderValue]>) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Self {
            address,
            tokens,
            open: 0,
            tasks: JoinSet::new(),
            tell,
            told,
        }
    }

    async fn open(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let token = &self.tokens[self.open % self.tokens.len()];
            let stream = open(self.address, self.open, token).await?;
            self.tasks.spawn(listen_on(stream, self.tell.clone()));
            self.open += 1;
        }
        Ok(())
    }

    /// Has the backend's tools changed, and waits until everybody knows.
    async fn all_are_told(&mut self, backend: SocketAddr) -> Result<Duration> {
        client::put(backend, "{}".into()).await?;
        let mut times = Vec::with_capacity(self.open);
        let deadline = tokio::time::Instant::now() + LONGEST;
        while times.len() < self.open {
            tokio::select! {
                told = self.told.recv() => times.extend(told),
                ended = self.tasks.join_next() => {
                    ended.context("nobody listens")??.context("a stream ended")?;
                    bail!("a stream ended");
                }
                () = tokio::time::sleep_until(deadline) => {
                    bail!("{} of {} were told", times.len(), self.open);
                }
            }
        }
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
            bail!("nobody listens");
        };
        Ok(last.duration_since(*first))
    }
}

/// Opens stream number `n`, and reads as much of it as says that it is open.
async fn open(address: SocketAddr, n: usize, token: &HeaderValue) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(1 + n / FROM_ONE_ADDRESS).context("too many streams")?;
    if last > 1 {
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    }
    let mut stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let body = listen();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {MODERN}\r\n\
         mcp-method: subscriptions/listen\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n",
        token.to_str()?,
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    let mut seen = Vec::new();
    // The acknowledgement is its first message.
    while !contains(&seen, b"acknowledged") {
        let mut chunk = [0; 2048];
        let read = tokio::time::timeout(LONGEST, stream.read(&mut chunk)).await??;
        let as_expected = read > 0 && seen.len() < 64 * 1024;
        let status = hyper::StatusCode::default();
        ensure!(as_expected, "no stream: {}", shown(status, &seen));
        seen.extend_from_slice(&chunk[..read]);
    }
    Ok(stream)
}

/// Reads a stream for ever, and tells whenever it says that the list has changed.
async fn listen_on(mut stream: TcpStream, tell: mpsc::UnboundedSender<Instant>) -> Result<()> {
    const WORD: &[u8] = b"tools/list_changed";
    let mut rest = Vec::new();
    loop {
        let mut chunk = [0; 512];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        rest.extend_from_slice(&chunk[..read]);
        if contains(&rest, WORD) {
            rest.clear();
            // Nobody wants to know at the end of the run.
            let _ = tell.send(Instant::now());
        }
        let too_much = rest.len().saturating_sub(WORD.len());
        rest.drain(..too_much);
    }
}

/// Lets this process have so many files open.
fn raise_descriptors(needed: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let needed = needed as u64;
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).with_context(|| {
        format!("{needed} files must be open at once; hint: raise the hard limit (`ulimit -Hn`)")
    })
}
