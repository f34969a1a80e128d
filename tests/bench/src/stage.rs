//! The processes of a run: backends, references, gateways; and that all of them end with it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::Options;
use crate::callers;
use crate::child::Process;
use crate::client::{self, Call, Connection};
use crate::exchange::Exchange;
use crate::gateway::{self, Behind, Instances, Setup};
use crate::process;
use crate::report::Role;
use crate::scratch::Scratch;
use crate::sets::{BESIDE, Group, OLD, Other};

/// How long another gateway may take to listen: it may have to be installed.
const LONGEST_INSTALLATION: Duration = Duration::from_secs(300);
/// Between two looks at what processes write before they are ended.
const LOOK: Duration = Duration::from_millis(200);
/// How many looks there are at most.
const LOOKS: u32 = 25;

/// Everything that must end with the run.
#[derive(Default)]
pub(crate) struct Stage {
    processes: Vec<Process>,
    /// After the processes that write there: fields are dropped in this order.
    scratch: Vec<Scratch>,
    /// Where gateways keep what they have compiled, and for which plugins that was done.
    compiled: Option<Scratch>,
    compiled_for: BTreeSet<String>,
    /// Lines that ended processes had written.
    lines: u64,
}

/// What stands between load and backend, or instead of both.
pub(crate) struct Middle {
    /// What the table calls it.
    pub(crate) scenario: String,
    /// What it is compared as.
    pub(crate) role: Role,
    /// What it is sent.
    pub(crate) call: Call,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) pid: u32,
    /// Its memory before the first call.
    pub(crate) rss_idle_kib: u64,
    /// Most calls that one measurement makes.
    pub(crate) most_calls: u64,
}

/// A gateway whose plugins may be changed while it runs.
pub(crate) struct Gateway {
    /// Its process.
    pub(crate) pid: u32,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its own plugin directory.
    pub(crate) plugins: PathBuf,
}

impl Stage {
    /// Starts a contract backend with so many tools.
    pub(crate) async fn backend(&mut self, tools: usize) -> Result<SocketAddr> {
        self.backend_speaking(tools, &[]).await
    }

    async fn backend_speaking(&mut self, tools: usize, flags: &[&str]) -> Result<SocketAddr> {
        let count = tools.to_string();
        let arguments = [&["backend", "--tools", &count], flags].concat();
        self.part("backend", &arguments)
            .await
            .map(|(_, address)| address)
    }

    /// Starts this binary again as one of its parts.
    async fn part(&mut self, name: &str, arguments: &[&str]) -> Result<(u32, SocketAddr)> {
        let (process, address) = Process::start_part(name, arguments).await?;
        let pid = process.pid();
        self.processes.push(process);
        Ok((pid, address))
    }

    /// Starts what lies behind a group's gateways, its references, and one gateway for each scenario: with one
    /// process each, no scenario inherits another's memory or warm instances.
    pub(crate) async fn set(&mut self, options: &Options, group: &Group) -> Result<Vec<Middle>> {
        let backend = self.backend(group.tools).await?;
        let mut behind = Behind::one(backend);
        behind.others.clone_from(&group.others);
        if group.backends > 1 {
            behind.many = Some((self.backend(2).await?, group.backends));
        }
        if group.native {
            for (name, era) in [("native", "modern"), (OLD, "legacy")] {
                let (_, address) = self.part(name, &["native", "--era", era]).await?;
                behind.natives.push((name, address));
            }
        }
        let mut middles = Vec::new();
        if let Some(exchange) = group.raw {
            let upstream = if group.native {
                behind.natives.first().map_or(backend, |(_, at)| *at)
            } else {
                backend
            };
            let upstream = upstream.to_string();
            let (pid, address) = self
                .part("proxy", &["proxy", "--upstream", &upstream])
                .await?;
            let call = Call::new(exchange);
            let name = "raw hyper proxy";
            middles.push(middle(name, Role::Proxy, call, (pid, address), u64::MAX)?);
            if group.http2 {
                let flag = "--http2";
                let upstream = self.backend_speaking(group.tools, &[flag]).await?;
                let upstream = upstream.to_string();
                let at = self
                    .part("proxy", &["proxy", "--upstream", &upstream, flag])
                    .await?;
                let name = "raw hyper proxy, HTTP/2 to the backend";
                middles.push(middle(name, Role::Other, call, at, u64::MAX)?);
            }
        }
        let plugins = self.plugins(options, &group.others)?;
        let mut gateways = Vec::new();
        for scenario in &group.scenarios {
            let builds = std::iter::once(&options.gateway).chain(&options.against);
            for (number, build) in builds.enumerate() {
                let options = Options {
                    gateway: build.clone(),
                    ..options.clone()
                };
                let mut name = scenario.name.clone();
                if number > 0 {
                    name = format!("{name}, {}", build.display());
                }
                let gateway = self
                    .gateway(&options, &behind, &plugins, scenario.instances, &[])
                    .await
                    .with_context(|| name.clone())?;
                let at = (gateway.pid, gateway.address);
                let (call, most) = (scenario.call, scenario.most_calls);
                gateways.push(middle(&name, Role::Gateway, call, at, most)?);
            }
        }
        if let Some(first) = gateways.first().filter(|_| group.echo) {
            let mut one = Connection::alone(first.address, first.call.exchange).await?;
            let answer = one.answer(0).await?.into_body();
            let (pid, address) = self.part("echo", &["echo"]).await?;
            client::put(address, answer).await?;
            let call = Call {
                to_echo: true,
                ..Call::new(first.call.exchange)
            };
            middles.push(middle(
                "raw hyper echo",
                Role::Echo,
                call,
                (pid, address),
                u64::MAX,
            )?);
        }
        middles.extend(gateways);
        if let Some((_, server)) = behind.natives.iter().find(|(name, _)| *name == OLD) {
            for program in &options.beside {
                middles.push(self.beside(program, *server).await?);
            }
        }
        Ok(middles)
    }

    /// Another gateway in front of the legacy MCP server.
    async fn beside(&mut self, program: &Path, server: SocketAddr) -> Result<Middle> {
        let name = program.file_stem().unwrap_or(program.as_os_str());
        let name = name.to_string_lossy();
        let mut command = Command::new(program);
        command.arg(format!("http://{server}/mcp"));
        let (process, address) =
            Process::start_listening(&name, command, LONGEST_INSTALLATION).await?;
        let pid = process.pid();
        self.processes.push(process);
        let call = Call::new(Exchange::Native(OLD));
        let name = format!("{BESIDE}{name}");
        middle(&name, Role::Other, call, (pid, address), u64::MAX)
    }

    /// A directory with the default plugins and these adapters.
    pub(crate) fn plugins(&mut self, options: &Options, others: &[Other]) -> Result<PathBuf> {
        let dir = self.scratch.push_mut(Scratch::new()?).path().to_owned();
        let copy = |from: PathBuf| -> Result<()> {
            let name = from.file_name().context("a component without a name")?;
            std::fs::copy(&from, dir.join(name))
                .with_context(|| format!("cannot copy {}", from.display()))?;
            Ok(())
        };
        for entry in std::fs::read_dir(&options.plugins)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "wasm") {
                copy(path)?;
            }
        }
        for (_, adapter) in others {
            let guests = options.guests.as_ref().context("--guests is needed")?;
            copy(guests.join(format!("{adapter}.wasm")))?;
        }
        Ok(dir)
    }

    /// A gateway that is ready and had its components compiled by one before it: what
    /// compiling leaves in memory says nothing about a gateway in use.
    pub(crate) async fn gateway(
        &mut self,
        options: &Options,
        behind: &Behind,
        plugins: &Path,
        instances: Instances,
        more: &[(&'static str, String)],
    ) -> Result<Gateway> {
        let mut names: Vec<_> = std::fs::read_dir(plugins)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?;
        names.sort_unstable();
        if self.compiled_for.insert(names.join(" ")) {
            let first = Behind::one(behind.backend);
            self.start(options, &first, plugins, Instances::Call, &[])
                .await
                .context("first start")?;
            if let Some(mut process) = self.processes.pop() {
                process.stop().await;
                self.lines += process.lines();
            }
        }
        self.start(options, behind, plugins, instances, more).await
    }

    async fn start(
        &mut self,
        options: &Options,
        behind: &Behind,
        plugins: &Path,
        instances: Instances,
        more: &[(&'static str, String)],
    ) -> Result<Gateway> {
        let data = self.data()?;
        let issuer = callers::issuer().await;
        let setup = Setup {
            binary: &options.gateway,
            plugins,
            data: &data,
            issuer: &issuer,
            behind,
            instances,
            more,
        };
        let (process, address) = gateway::start("cortex-gateway".to_owned(), &setup).await?;
        let process = self.processes.push_mut(process);
        gateway::wait_until_ready(process, address).await?;
        Ok(Gateway {
            pid: process.pid(),
            address,
            plugins: plugins.to_owned(),
        })
    }

    /// Starts a gateway on a directory of the caller's, and does not wait for it.
    pub(crate) async fn spawn(
        &mut self,
        options: &Options,
        behind: &Behind,
        plugins: &Path,
        data: &Path,
    ) -> Result<(Process, SocketAddr)> {
        let issuer = callers::issuer().await;
        let setup = Setup {
            binary: &options.gateway,
            plugins,
            data,
            issuer: &issuer,
            behind,
            instances: Instances::Call,
            more: &[],
        };
        gateway::start("cortex-gateway".to_owned(), &setup).await
    }

    /// A data directory, empty but for what all gateways have compiled.
    fn data(&mut self) -> Result<PathBuf> {
        let compiled = match &self.compiled {
            Some(compiled) => compiled.path().to_owned(),
            None => self.compiled.insert(Scratch::new()?).path().to_owned(),
        };
        let data = self.scratch.push_mut(Scratch::new()?).path().to_owned();
        std::os::unix::fs::symlink(compiled, data.join("compiled"))?;
        Ok(data)
    }

    /// An empty directory that goes away with this stage.
    pub(crate) fn scratch(&mut self) -> Result<PathBuf> {
        Ok(self.scratch.push_mut(Scratch::new()?).path().to_owned())
    }

    /// Lines that the processes have written: audit records, as far as we start them.
    pub(crate) fn lines(&self) -> u64 {
        self.lines + self.processes.iter().map(Process::lines).sum::<u64>()
    }

    /// What the processes last said.
    pub(crate) fn last_words(&self) -> impl Iterator<Item = String> {
        self.processes.iter().filter_map(Process::last_words)
    }

    /// Ends every process; what was compiled stays.
    pub(crate) async fn clear(&mut self) {
        // Exporters are a moment behind.
        let mut before = 0;
        for _ in 0..LOOKS {
            let now = self.lines();
            if now == std::mem::replace(&mut before, now) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.lines = self.lines();
        for process in &mut self.processes {
            process.stop().await;
        }
        self.processes.clear();
        self.scratch.clear();
    }
}

fn middle(
    scenario: &str,
    role: Role,
    call: Call,
    (pid, address): (u32, SocketAddr),
    most_calls: u64,
) -> Result<Middle> {
    Ok(Middle {
        scenario: scenario.to_owned(),
        role,
        call,
        address,
        pid,
        rss_idle_kib: process::rss_kib(pid)?,
        most_calls,
    })
}
