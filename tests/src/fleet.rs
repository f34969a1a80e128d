//! Several gateways that share one store, behind a load balancer without affinity.

use std::net::SocketAddr;

use crate::address::free_address;
use crate::balancer::Balancer;
use crate::gateway::{Gateway, GatewayBuilder};
use crate::namespace::Network;
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::{Client, balancer};

/// The keys that all of them have.
pub const STATE_KEY: &str = "HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The vault's.
pub const VAULT_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Longer than the balancer takes to see that a gateway is about to stop.
pub const NOTICE_SECONDS: u64 = 1;

/// The gateways, and what is around them.
pub struct Fleet {
    /// Where clients reach it.
    pub base: String,
    /// Speaks to whichever instance is next.
    pub client: Client,
    /// In front of them.
    pub balancer: Balancer,
    /// Their store.
    pub postgres: Postgres,
    /// Between them; none when the store does that, too.
    pub redis: Option<Redis>,
    /// Between them and everything else, where each is in a namespace of its own.
    pub network: Option<Network>,
    instances: Vec<Instance>,
}

enum Instance {
    Runs(Box<Gateway>),
    /// Its directory and variables are still there.
    Stopped(Box<GatewayBuilder>),
    /// Only while it changes from one to the other.
    Nowhere,
}

/// What a fleet is to be started with.
pub struct FleetBuilder {
    size: usize,
    redis: bool,
    base: SocketAddr,
    /// Ports of loopback that each reaches in its own namespace.
    apart: Option<Vec<u16>>,
    /// Whether PostgreSQL counts statements.
    counting: bool,
}

impl FleetBuilder {
    /// So many gateways, on PostgreSQL and Redis.
    pub fn new(size: usize) -> Self {
        Self {
            size,
            redis: true,
            base: free_address(),
            apart: None,
            counting: false,
        }
    }

    /// With a PostgreSQL that counts statements.
    #[must_use]
    pub fn counting(self) -> Self {
        Self {
            counting: true,
            ..self
        }
    }

    /// Each in a network namespace of its own, in which these ports of loopback are reached beside those of the
    /// engines.
    #[must_use]
    pub fn apart(self, ports: &[u16]) -> Self {
        Self {
            apart: Some(ports.to_vec()),
            ..self
        }
    }

    /// On PostgreSQL alone.
    #[must_use]
    pub fn without_redis(self) -> Self {
        Self {
            redis: false,
            ..self
        }
    }

    /// Where clients will reach it.
    pub fn base(&self) -> String {
        format!("http://{}", self.base)
    }

    /// Starts everything; each gateway is what `each` makes of what all have in common. `None`, with a line that
    /// says so, where PostgreSQL, Redis or HAProxy is not installed, or namespaces are wanted and not allowed, and
    /// this is no build machine.
    pub async fn start(self, each: impl Fn(GatewayBuilder) -> GatewayBuilder) -> Option<Fleet> {
        balancer::program()?;
        let postgres = match self.counting {
            true => Postgres::counting()?,
            false => Postgres::start()?,
        };
        let redis = if self.redis {
            Some(Redis::start()?)
        } else {
            None
        };
        let mut addresses: Vec<SocketAddr> = (0..self.size).map(|_| free_address()).collect();
        let network = match &self.apart {
            None => None,
            Some(ports) => {
                let mut engines = vec![postgres.port()];
                engines.extend(redis.as_ref().map(Redis::port));
                let network = Network::new(self.size, ports, &engines).await?;
                for (number, address) in addresses.iter_mut().enumerate() {
                    address.set_ip(network.address(number).into());
                }
                Some(network)
            }
        };
        let balancer = Balancer::start(self.base, &addresses)?;
        let builders = addresses.iter().enumerate().map(|(number, address)| {
            let within = network.as_ref().map(|network| network.within(number));
            let builder = GatewayBuilder::new()
                .within(within.unwrap_or_default())
                .env("CORTEX_LISTEN", &address.to_string())
                .env("CORTEX_CANONICAL_URI", &format!("{}/mcp", self.base()))
                // What the tests' own issuer writes into its tokens.
                .env("OAUTH_AUDIENCE", "http://localhost:3213/mcp")
                .env("CORTEX_DATABASE_URL", &postgres.url())
                .env("CORTEX_STATE_KEY", STATE_KEY)
                .env("CORTEX_VAULT_KEY", VAULT_KEY)
                .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
                .env("CORTEX_STOP_NOTICE_SECONDS", &NOTICE_SECONDS.to_string());
            let builder = match &redis {
                Some(redis) => builder.env("CORTEX_REDIS_URL", &redis.url()),
                None => builder,
            };
            each(builder)
        });
        // All at once, as they would start after a power cut.
        let started = futures_util::future::join_all(builders.map(|builder| async {
            let gateway = builder.start().await;
            gateway.ready().await;
            Instance::Runs(Box::new(gateway))
        }));
        let instances = started.await;
        let fleet = Fleet {
            base: self.base(),
            client: Client::new(self.base()),
            balancer,
            postgres,
            redis,
            network,
            instances,
        };
        let all: Vec<usize> = (0..self.size).collect();
        fleet.balancer.sees(&all).await;
        Some(fleet)
    }
}

impl Fleet {
    /// One of them.
    pub fn gateway(&self, number: usize) -> &Gateway {
        match &self.instances[number] {
            Instance::Runs(gateway) => gateway,
            _ => panic!("gateway {number} does not run"),
        }
    }

    /// One of them, for what changes it.
    pub fn gateway_mut(&mut self, number: usize) -> &mut Gateway {
        match &mut self.instances[number] {
            Instance::Runs(gateway) => gateway,
            _ => panic!("gateway {number} does not run"),
        }
    }

    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = &Gateway> {
        self.instances.iter().filter_map(|instance| match instance {
            Instance::Runs(gateway) => Some(&**gateway),
            _ => None,
        })
    }

    /// The logs of all that run.
    pub fn log(&self) -> String {
        let logs = self.instances.iter().enumerate();
        let logs = logs.filter_map(|(number, instance)| match instance {
            Instance::Runs(gateway) => Some(format!("gateway {number}:\n{}", gateway.log())),
            _ => None,
        });
        logs.collect::<Vec<_>>().join("\n")
    }

    /// Ends one as a power cut would.
    pub async fn kill(&mut self, number: usize) {
        if let Instance::Runs(gateway) = self.take(number) {
            self.instances[number] = Instance::Stopped(Box::new(gateway.kill().await));
        }
    }

    /// Ends one as an operator would; it says so before.
    pub async fn stop(&mut self, number: usize) {
        if let Instance::Runs(gateway) = self.take(number) {
            self.instances[number] = Instance::Stopped(Box::new(gateway.stop().await));
        }
    }

    /// Starts one again that was ended, changed like this, and waits until the balancer sends it requests.
    pub async fn start(
        &mut self,
        number: usize,
        change: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) {
        if let Instance::Stopped(builder) = self.take(number) {
            let gateway = change(*builder).start().await;
            gateway.ready().await;
            self.instances[number] = Instance::Runs(Box::new(gateway));
        }
        let running = self.instances.iter().enumerate();
        let running = running.filter(|(_, it)| matches!(it, Instance::Runs(_)));
        let running: Vec<usize> = running.map(|(number, _)| number).collect();
        self.balancer.sees(&running).await;
    }

    fn take(&mut self, number: usize) -> Instance {
        std::mem::replace(&mut self.instances[number], Instance::Nowhere)
    }
}
