//! What is measured, by name: `--only calls,lists`.

use clap::ValueEnum;

use crate::callers::Callers;
use crate::client::Call;
use crate::exchange::Exchange;
use crate::gateway::Instances;

/// Things that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Set {
    /// `tools/call` beside the proxy and the echo.
    Calls,
    /// `tools/list` beside the echo of the same bytes.
    Lists,
    /// `initialize` and `server/discover`.
    Eras,
    /// Calls of native MCP servers, through `backend-mcp`.
    Native,
    /// Results of 1 KiB, 64 KiB and 1 MiB.
    Results,
    /// The same call with few and many tools in the catalog.
    Catalog,
    /// The same call with 1 and with 500 backends.
    Backends,
    /// Streams on which nothing happens, and then something.
    Streams,
    /// From start to the first answer.
    Start,
    /// Plugins swapped under load.
    Swap,
    /// 500 backends that are asked what they offer, again and again.
    Refresh,
}

/// Measured unless told otherwise: what there are targets for.
pub(crate) const USUAL: [Set; 7] = [
    Set::Calls,
    Set::Lists,
    Set::Catalog,
    Set::Backends,
    Set::Streams,
    Set::Start,
    Set::Swap,
];

/// The legacy MCP server, as gateways call it.
pub(crate) const OLD: &str = "old";
/// How scenarios begin whose gateway is another one (`--beside`).
pub(crate) const BESIDE: &str = "legacy MCP server, other gateway: ";
/// The row that other gateways are compared with: this gateway as it is unless told otherwise.
pub(crate) const OLD_KEPT: &str = "legacy MCP server, instance per subject";
/// A catalog for which there is a promise to who has never been seen.
pub(crate) const LARGE_CATALOG: usize = 1_266;

/// A backend besides the one that is measured, and its adapter: a component of that name.
pub(crate) type Other = (&'static str, String);

/// Most calls of a measurement in which each call is somebody's whom nobody has seen: each takes a
/// signature by RSA beforehand.
const UNSEEN: u64 = 1_000;
/// How many people call in turn where each has scopes of their own.
const IN_TURN: u64 = 1_000;
/// Most bytes of answers in one measurement.
const MOST_BYTES: u64 = 1 << 30;

/// One gateway, and what it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// What the table calls it.
    pub(crate) name: String,
    /// What is sent.
    pub(crate) call: Call,
    /// How long its adapter's instances live.
    pub(crate) instances: Instances,
    /// Most calls of one measurement.
    pub(crate) most_calls: u64,
}

/// What is measured beside the same references.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Where it belongs.
    pub(crate) name: &'static str,
    /// How many tools the backend `bench` has.
    pub(crate) tools: usize,
    /// How many backends there are, with one tool each besides the first.
    pub(crate) backends: usize,
    /// Whether there are native MCP servers, too.
    pub(crate) native: bool,
    /// More backends with adapters of their own.
    pub(crate) others: Vec<Other>,
    /// What the proxy is sent; none: there is no proxy.
    pub(crate) raw: Option<Exchange>,
    /// Whether there is a proxy that speaks HTTP/2 to the backend, too.
    pub(crate) http2: bool,
    /// Whether there is an echo that answers as the first scenario does.
    pub(crate) echo: bool,
    /// Gateways.
    pub(crate) scenarios: Vec<Scenario>,
    /// Numbers of connections.
    pub(crate) connections: Vec<u16>,
    /// That number of them at which all is measured once more at half the rate that the first gateway has reached,
    /// when nothing waits for a core that is taken.
    pub(crate) paced: Option<u16>,
}

impl Scenario {
    fn new(name: impl Into<String>, exchange: Exchange) -> Self {
        Self {
            name: name.into(),
            call: Call::new(exchange),
            instances: Instances::Call,
            most_calls: u64::MAX,
        }
    }

    /// With instances that are kept for a subject.
    pub(crate) fn kept(name: impl Into<String>, exchange: Exchange) -> Self {
        Self {
            instances: Instances::Subject,
            ..Self::new(name, exchange)
        }
    }

    /// With a fresh instance for each call.
    pub(crate) fn fresh(name: impl Into<String>, exchange: Exchange) -> Self {
        Self::new(name, exchange)
    }

    fn by(mut self, callers: Callers) -> Self {
        self.call.callers = callers;
        if callers == Callers::Unseen {
            self.most_calls = UNSEEN;
        }
        self
    }

    fn answers_of(mut self, bytes: u64) -> Self {
        self.most_calls = self.most_calls.min((MOST_BYTES / bytes).max(50));
        self
    }
}

impl Set {
    /// Whether its groups are compared with each other, and thus measured in turn.
    pub(crate) fn compares_groups(self) -> bool {
        matches!(self, Self::Catalog | Self::Backends)
    }

    /// Its loads. `full`: all of it, and not only what there are targets for.
    pub(crate) fn groups(self, full: bool) -> Vec<Group> {
        let connections = if full { vec![1, 32] } else { vec![32] };
        let group = |name| Group {
            name,
            tools: 2,
            backends: 1,
            connections: connections.clone(),
            ..Group::default()
        };
        match self {
            Self::Calls => vec![Group {
                raw: Some(Exchange::Contract),
                echo: true,
                scenarios: calls(full),
                connections: if full { vec![1, 32, 256] } else { vec![1, 32] },
                paced: Some(32),
                http2: full,
                ..group("calls")
            }],
            Self::Lists => {
                let sizes: &[usize] = if full {
                    &[6, 100, 1_000, 10_000]
                } else {
                    &[1_000]
                };
                let lists = |tools: usize, full| Group {
                    tools,
                    raw: Some(Exchange::RawList),
                    echo: true,
                    scenarios: lists(tools, full),
                    ..group("lists")
                };
                let alone = Group {
                    connections: vec![1],
                    ..lists(LARGE_CATALOG, false)
                };
                let sizes = sizes.iter().map(|tools| lists(*tools, full));
                sizes.chain([alone]).collect()
            }
            Self::Eras => {
                let of = |name: &str, exchange| Group {
                    echo: true,
                    scenarios: vec![Scenario::new(name, exchange)],
                    ..group("eras")
                };
                vec![
                    of("initialize", Exchange::Initialize),
                    of("server/discover", Exchange::Discover),
                ]
            }
            Self::Native => vec![Group {
                native: true,
                raw: Some(Exchange::RawNative),
                scenarios: vec![
                    Scenario::fresh(
                        "modern MCP server, instance per call",
                        Exchange::Native("native"),
                    ),
                    Scenario::kept(
                        "modern MCP server, instance per subject",
                        Exchange::Native("native"),
                    ),
                    Scenario::fresh(
                        "legacy MCP server, instance per call",
                        Exchange::Native(OLD),
                    ),
                    Scenario::kept(OLD_KEPT, Exchange::Native(OLD)),
                ],
                ..group("native")
            }],
            Self::Results => [1, 64, 1024]
                .map(|kib| results(kib, group("results")))
                .to_vec(),
            Self::Catalog => {
                let sizes: &[usize] = if full {
                    &[6, 100, 1_000, 10_000]
                } else {
                    &[6, 10_000]
                };
                let call = |tools: &usize| Group {
                    tools: *tools,
                    raw: Some(Exchange::Contract),
                    scenarios: vec![Scenario::new("tools/call", Exchange::Call)],
                    connections: vec![32],
                    ..group("catalog")
                };
                sizes.iter().map(call).collect()
            }
            Self::Backends => [1, 500]
                .map(|backends| Group {
                    backends,
                    raw: Some(Exchange::Contract),
                    scenarios: vec![Scenario::new("tools/call", Exchange::Call)],
                    connections: vec![32],
                    ..group("backends")
                })
                .to_vec(),
            Self::Streams | Self::Start | Self::Swap | Self::Refresh => Vec::new(),
        }
    }
}

fn calls(full: bool) -> Vec<Scenario> {
    let mut scenarios = vec![
        Scenario::fresh("tools/call, instance per call", Exchange::Call),
        Scenario::kept("tools/call, instance per subject", Exchange::Call),
        // What a request costs that no policy, adapter or backend is asked for: no call can cost less.
        Scenario::new("server/discover, which asks nobody", Exchange::Discover),
    ];
    if full {
        let modern = Scenario::fresh("tools/call, modern era", Exchange::ModernCall);
        scenarios.push(modern);
    }
    scenarios
}

fn lists(tools: usize, full: bool) -> Vec<Scenario> {
    // About what one tool takes in a list.
    let bytes = tools as u64 * 400 + 2_000;
    let list = |name: &str, exchange| Scenario::new(name, exchange).answers_of(bytes);
    let mut scenarios = vec![
        list("tools/list, warm", Exchange::List),
        list("tools/list, cold", Exchange::List).by(Callers::Unseen),
    ];
    if full {
        scenarios.extend([
            list("tools/list, warm, 1,000 sets of scopes", Exchange::List)
                .by(Callers::InTurn(IN_TURN)),
            Scenario::new("tools/list, 2,000 tokens, warm", Exchange::ShortList),
            Scenario::new("tools/list, 2,000 tokens, cold", Exchange::ShortList)
                .by(Callers::Unseen),
            Scenario::new(
                "tools/list, 2,000 tokens, 1,000 sets of scopes",
                Exchange::ShortList,
            )
            .by(Callers::InTurn(IN_TURN)),
        ]);
    }
    scenarios
}

fn results(kib: u32, group: Group) -> Group {
    let bytes = u64::from(kib) * 1024 * 3;
    let name = |mode| format!("{kib} KiB, instance per {mode}");
    Group {
        raw: Some(Exchange::RawFill(kib)),
        echo: true,
        scenarios: vec![
            Scenario::fresh(name("call"), Exchange::Fill(kib)).answers_of(bytes),
            Scenario::kept(name("subject"), Exchange::Fill(kib)).answers_of(bytes),
        ],
        ..group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_something_to_compare_with() {
        for set in Set::value_variants() {
            for full in [false, true] {
                for group in set.groups(full) {
                    assert!(group.echo || group.raw.is_some(), "{group:?}");
                    assert!(!group.scenarios.is_empty() && !group.connections.is_empty());
                }
            }
        }
        assert_eq!(Set::Lists.groups(true).len(), 5);
    }
}
