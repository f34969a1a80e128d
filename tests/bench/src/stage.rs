//! The processes of a run: backend, proxy, gateways; and that all of them end with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::Options;
use crate::callers;
use crate::child::Process;
use crate::exchange::Exchange;
use crate::gateway::{self, Instances, Setup};
use crate::languages;
use crate::process;
use crate::scratch::Scratch;

/// Everything that must end with the run.
#[derive(Default)]
pub(crate) struct Stage {
    processes: Vec<Process>,
    /// After the processes that write there: fields are dropped in this order.
    scratch: Vec<Scratch>,
}

/// What the table calls it, what it is sent, and how instances live.
pub(crate) type Scenario = (&'static str, Exchange, Instances);

/// A backend besides the one that is measured, and its adapter: a component of that name.
pub(crate) type Other = (&'static str, String);

/// What is measured of calls.
const CALLS: [Scenario; 3] = [
    (
        "tools/call, instance per call",
        Exchange::Call,
        Instances::Call,
    ),
    (
        "tools/call, instance per subject",
        Exchange::Call,
        Instances::Subject,
    ),
    ("tools/list", Exchange::List, Instances::Call),
];

/// What is measured of one catalog.
const OF_A_LIST: [Scenario; 3] = [
    ("tools/list, warm", Exchange::List, Instances::Call),
    ("tools/list, cold", Exchange::ColdList, Instances::Call),
    (
        "tools/list, 2,000 tokens",
        Exchange::ShortList,
        Instances::Call,
    ),
];

/// Numbers of tools whose lists are measured.
const LISTS: [usize; 3] = [100, 1_000, 10_000];

/// What stands between load and backend.
pub(crate) struct Middle {
    /// What the table calls it.
    pub(crate) scenario: &'static str,
    /// How many tools the backend has.
    pub(crate) tools: usize,
    /// What it is sent.
    pub(crate) exchange: Exchange,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) pid: u32,
    /// Its memory before the first call.
    pub(crate) rss_idle_kib: u64,
}

/// A gateway whose plugins may be changed while it runs.
pub(crate) struct Gateway {
    /// Its process.
    pub(crate) pid: u32,
    /// Its own plugin directory.
    pub(crate) plugins: PathBuf,
}

impl Stage {
    /// Starts backend, proxy and one gateway for each scenario: with one process each, no
    /// scenario inherits another's memory or warm instances.
    pub(crate) async fn set(&mut self, options: &Options) -> Result<Vec<Middle>> {
        if options.languages {
            let (scenarios, others) = languages::scenarios(options)?;
            return self
                .group(options, 1, Exchange::Contract, &scenarios, &others)
                .await;
        }
        if !options.lists {
            return self
                .group(options, 1, Exchange::Contract, &CALLS, &[])
                .await;
        }
        let mut middles = Vec::new();
        for tools in LISTS {
            middles.extend(
                self.group(options, tools, Exchange::RawList, &OF_A_LIST, &[])
                    .await?,
            );
        }
        Ok(middles)
    }

    /// Starts a backend and a gateway in front of it that has these others as well.
    pub(crate) async fn one_gateway(
        &mut self,
        options: &Options,
        others: &[Other],
    ) -> Result<(Gateway, SocketAddr)> {
        let (process, backend) = Process::start_part("backend", &["backend"]).await?;
        self.processes.push(process);
        let plugins = self.plugins(options, others)?;
        let (pid, address) = self
            .gateway(
                options,
                backend,
                "this run",
                Instances::Call,
                &plugins,
                others,
            )
            .await?;
        Ok((Gateway { pid, plugins }, address))
    }

    /// A directory with the default plugins and these adapters.
    fn plugins(&mut self, options: &Options, others: &[Other]) -> Result<PathBuf> {
        let dir = self.scratch.push_mut(Scratch::new()?).path().to_owned();
        let copy = |from: PathBuf| -> Result<()> {
            let name = from.file_name().context("a component without a name")?;
            std::fs::copy(&from, dir.join(name))
                .with_context(|| format!("cannot copy {}", from.display()))?;
            Ok(())
        };
        for entry in std::fs::read_dir(&options.plugins)? {
            copy(entry?.path())?;
        }
        for (_, adapter) in others {
            let guests = options.guests.as_ref().context("--guests is needed")?;
            copy(guests.join(format!("{adapter}.wasm")))?;
        }
        Ok(dir)
    }

    /// A backend with so many tools, the proxy in front of it, and gateways.
    async fn group(
        &mut self,
        options: &Options,
        tools: usize,
        raw: Exchange,
        scenarios: &[Scenario],
        others: &[Other],
    ) -> Result<Vec<Middle>> {
        let plugins = self.plugins(options, others)?;
        let count = tools.to_string();
        let (process, backend) =
            Process::start_part("backend", &["backend", "--tools", &count]).await?;
        self.processes.push(process);
        let upstream = backend.to_string();
        let (process, address) =
            Process::start_part("proxy", &["proxy", "--upstream", &upstream]).await?;
        let pid = process.pid();
        self.processes.push(process);
        let mut middles = vec![Middle {
            scenario: "raw hyper proxy",
            tools,
            exchange: raw,
            address,
            pid,
            rss_idle_kib: process::rss_kib(pid)?,
        }];
        for (scenario, exchange, instances) in scenarios.iter().copied() {
            let (pid, address) = self
                .gateway(options, backend, scenario, instances, &plugins, others)
                .await?;
            middles.push(Middle {
                scenario,
                tools,
                exchange,
                address,
                pid,
                rss_idle_kib: process::rss_kib(pid)?,
            });
        }
        Ok(middles)
    }

    /// A gateway that is ready and had its components compiled by one before it: what
    /// compiling leaves in memory says nothing about a gateway in use.
    async fn gateway(
        &mut self,
        options: &Options,
        backend: SocketAddr,
        scenario: &str,
        instances: Instances,
        plugins: &Path,
        others: &[Other],
    ) -> Result<(u32, SocketAddr)> {
        let scratch = self.scratch.push_mut(Scratch::new()?);
        let data = scratch.path().to_owned();
        let issuer = callers::issuer().await;
        let setup = Setup {
            issuer: &issuer,
            binary: &options.gateway,
            plugins,
            backend,
            data: &data,
            others,
        };
        let first = format!("cortex-gateway for {scenario}, first start");
        let second = format!("cortex-gateway for {scenario}");
        self.ready(first, &setup, instances).await?;
        if let Some(mut process) = self.processes.pop() {
            process.stop().await;
        }
        self.ready(second, &setup, instances).await
    }

    async fn ready(
        &mut self,
        name: String,
        setup: &Setup<'_>,
        instances: Instances,
    ) -> Result<(u32, SocketAddr)> {
        let (process, address) = gateway::start(name, setup, instances).await?;
        let process = self.processes.push_mut(process);
        gateway::wait_until_ready(process, address).await?;
        Ok((process.pid(), address))
    }

    /// Lines that the processes have written: audit records, as far as we start them.
    pub(crate) fn lines(&self) -> u64 {
        self.processes.iter().map(Process::lines).sum()
    }

    /// What the processes last said.
    pub(crate) fn last_words(&self) -> impl Iterator<Item = String> {
        self.processes.iter().filter_map(Process::last_words)
    }

    /// Ends every process.
    pub(crate) async fn end(mut self) {
        for process in &mut self.processes {
            process.stop().await;
        }
    }
}
