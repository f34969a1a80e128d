//! Wiring: configuration, plugins, catalog, server, and the order in which they stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::account::Accounts;
use crate::audit;
use crate::catalog::{Catalog, Sharing, Source};
use crate::config::{BackendConfig, Config, IntegrityMode};
use crate::fleet::Fleet;
use crate::integrity::Integrity;
use crate::oauth::{Exchange, ResourceServer, Revocations, Technical};
use crate::operator;
use crate::outbound::Client;
use crate::pipeline::{
    self, Elsewhere, Ended, Gateway, Hosts, InFlight, Levels, Limits, Lists, MAX_REQUESTS,
    Measures, Origins, Parked, Permits, Recent, Route, Shares, Views, Waiting, Watches,
};
use crate::plugin::{Backend, Directory, Runtime};
use crate::seal::{Sealer, key_file};
use crate::server::{self, Listener};
use crate::store::{Store, StoreError};
use crate::streams::Hub;
use crate::ticket::Notifier;
use crate::trace::Tracing;
use crate::types::BackendId;

/// Longest the last traces may take when the gateway stops.
const LAST_TRACES: Duration = Duration::from_secs(3);
/// Longest the last audit records may take when the gateway stops.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    // First of all: whoever waits for the components to compile should not learn only then
    // that the port is taken.
    let listener = Listener::bind(config.listen).await?;
    server::raise_descriptors(config.bounds.max_connections);
    serve(config, listener, stop).await
}

/// Runs the gateway on a bound socket until `stop` resolves.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn serve(
    mut config: Config,
    listener: Listener,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let metrics = match config.admin_listen {
        Some(address) => Some(operators_socket(address).await?),
        None => None,
    };
    for note in &config.notes {
        warn!("{note}");
    }
    if config.plugins.lock.exists() {
        info!(
            "what runs and is offered is locked by `{}`",
            config.plugins.lock.display()
        );
        config.integrity.lock = Some(config.plugins.lock.clone());
    }
    let sealer = Arc::new(sealer(&config)?);
    let (store, own_store) = store(&config).await?;
    let fleet = Fleet::join(&config.fleet).await?;
    let client = Client::new()?;
    let accounts = Accounts::open(&config, &store, Arc::clone(&sealer), &client, &fleet).await;
    let accounts = Arc::new(accounts.context("cannot open the vault")?);
    let exchange = config.exchange.as_ref();
    let exchange = exchange.map(|exchange| Exchange::new(exchange, client.clone()));
    let revocations = Revocations::open(&store, &fleet).await;
    let revocations = revocations.context("cannot read which access tokens are revoked")?;
    let oauth = config
        .oauth
        .as_ref()
        .map(|oauth| ResourceServer::new(oauth, client.clone()))
        .map(|oauth| oauth.minding(Arc::clone(&revocations), &fleet));
    let technical = Technical::new(&config.technical, client.clone());
    let webhook = config.tickets.webhook.clone();
    let notifier = webhook.map(|url| Notifier::new(url, client.clone()));
    let tracing = config.traces.as_ref();
    let tracing = tracing
        .map(|traces| Tracing::start(traces, client.clone()))
        .transpose()?;
    let runtime = Runtime::new(
        &config.plugins,
        Some(&config.data_dir.join("compiled")),
        client,
        Some(&store),
    )?;
    let dir = &config.plugins.dir;
    let plugins = Directory::open(&runtime, dir).await.with_context(|| {
        format!(
            "cannot read the plugin directory `{}`\nhint: set CORTEX_PLUGIN_DIR, or make the directory and put \
             the default plugins into it, such as policy-scopes.wasm and audit-stdout.wasm",
            dir.display()
        )
    })?;

    let routes = routes(&config);
    let integrity = Arc::new(Integrity::open(&config.integrity, &store, &fleet).await);
    // A gateway that borrows its data directory must not write to another one's trail.
    let trail = own_store.then_some(config.data_dir.as_path());
    let opening = audit::start(
        &config.audit,
        trail,
        &store,
        Arc::clone(&plugins),
        config.streams.max,
    );
    let (queue, delivery) = opening.await.context("cannot open the audit trail")?;
    let gateway = Arc::new(Gateway {
        hosts: Hosts::new(&config),
        origins: Origins::new(&config),
        limits: Limits::new(config.rate_limit_per_minute, &fleet),
        catalog: Catalog::new(routes.keys(), Arc::clone(&integrity)),
        integrity,
        technical,
        accounts,
        exchange,
        parked: Parked::default(),
        oauth,
        sealer,
        waiting: Waiting::default(),
        levels: Levels::default(),
        watches: Watches::default(),
        ended: Ended::default(),
        recent: Recent::default(),
        in_flight: InFlight::default(),
        streams: Arc::new(Hub::new(config.streams)),
        views: Views::default(),
        lists: Lists::default(),
        permits: Permits::default(),
        audit: queue,
        audit_key: config.audit_hash_key.clone(),
        measures: Arc::new(Measures::new(routes.keys())),
        tracing: tracing.clone(),
        room: Semaphore::new(MAX_REQUESTS),
        shares: Arc::new(Shares::new(config.bounds.max_concurrent_per_caller)),
        leaving: AtomicBool::new(false),
        store: store.clone(),
        fleet: fleet.clone(),
        elsewhere: Elsewhere::default(),
        revocations,
        notifier,
        plugins,
        routes,
        config,
    });
    let mut refreshing: Vec<_> = sources(&gateway)
        .into_iter()
        .map(|source| spawn_refresh(&gateway, source))
        .collect();
    refreshing.extend(spawn_key_refresh(&gateway));
    refreshing.push(spawn_tidying(&gateway));
    refreshing.push(spawn_watching(&gateway));
    refreshing.push(spawn_loading(&gateway));
    refreshing.push(spawn_approvals(&gateway));
    refreshing.push(spawn_versions(&gateway));
    refreshing.extend(spawn_tokens(&gateway));
    refreshing.push(spawn_purging(&gateway));
    refreshing.push(tokio::spawn(pipeline::announce(Arc::clone(&gateway))));
    refreshing.push(tokio::spawn(pipeline::keep_hearing(Arc::clone(&gateway))));
    refreshing.push(tokio::spawn(pipeline::keep_up(Arc::clone(&gateway))));
    pipeline::catch_up(&gateway).await;
    // The socket is that of the gateway that has the store.
    if own_store {
        match operator::listen(&gateway, &store, &gateway.config.data_dir) {
            Ok(listening) => refreshing.push(listening),
            Err(error) => warn!(
                %error,
                "operators' commands (`cortex-gateway tickets` and others) cannot reach this gateway; \
                 hint: is the path of CORTEX_DATA_DIR longer than 90 bytes?"
            ),
        }
    }

    info!("listening on http://{}/mcp", listener.address()?);
    if gateway.config.dev_bypass.is_some() {
        warn!(
            "the dev bypass is on: whoever knows CORTEX_DEV_BYPASS_TOKEN on this machine is `dev:local`"
        );
    }
    if let Some(metrics) = &metrics {
        info!("metrics on http://{}/metrics", metrics.address()?);
    }
    refreshing.extend(
        metrics.map(|metrics| tokio::spawn(server::serve_operators(Arc::clone(&gateway), metrics))),
    );
    server::serve(Arc::clone(&gateway), listener, stop).await;
    fleet.leave().await;

    for task in &refreshing {
        task.abort();
    }
    for task in refreshing {
        // Cancelled, which is what was asked for.
        let _ = task.await;
    }
    // The queue ends with the last owner of the gateway, and the delivery with the queue.
    drop(gateway);
    delivery.finish(LAST_RECORDS).await;
    if let Some(tracing) = tracing {
        tracing.stop(LAST_TRACES).await;
    }
    info!("stopped");
    Ok(())
}

/// Binds the operators' own socket.
async fn operators_socket(address: SocketAddr) -> anyhow::Result<Listener> {
    match Listener::bind(address).await {
        Ok(listener) => Ok(listener),
        // The hint of that error is for the other socket.
        Err(_) => anyhow::bail!(
            "cannot listen on {address}; hint: choose another address or port in CORTEX_ADMIN_LISTEN"
        ),
    }
}

/// Opens the store, and tells whether the data directory is this gateway's. A second gateway of the same
/// person borrows it: what is kept there, and not in a database, is then kept for as long as it runs, unless
/// it is to block what it cannot compare.
async fn store(config: &Config) -> anyhow::Result<(Store, bool)> {
    let database = config.database.as_ref();
    let place = match database {
        Some(database) => format!("cannot open the store in the database {}", database.url),
        None => "cannot open the store below CORTEX_DATA_DIR".to_owned(),
    };
    match Store::open(&config.data_dir, database).await {
        Ok(store) => {
            if let Some(database) = database {
                info!(
                    "what several gateways share is kept in the database {}",
                    database.url
                );
                if store.was_left_behind().await.context(place)? {
                    warn!(
                        "the database has nothing in it yet, and the store below CORTEX_DATA_DIR has something: it \
                         is not used; hint: `cortex-gateway store export` and `import` move it, see docs/operators.md"
                    );
                }
            }
            Ok((store, true))
        }
        Err(StoreError::InUse(_))
            if config.shares_data_dir
                && (config.integrity.mode == IntegrityMode::Warn || database.is_some()) =>
        {
            let what = match database {
                Some(_) => "audit records",
                None => "tickets and approved tool definitions",
            };
            warn!(
                "another gateway keeps its files in `{}`: {what} of this one last for as long as it runs; hint: set \
                 CORTEX_DATA_DIR to give it a directory of its own",
                config.data_dir.display()
            );
            Ok((Store::temporary(database).await.context(place)?, false))
        }
        Err(error) => Err(error).context(place),
    }
}

/// Seals with the keys that were given, else with the gateway's own.
fn sealer(config: &Config) -> anyhow::Result<Sealer> {
    match Sealer::new(&config.state_keys) {
        Some(sealer) => Ok(sealer),
        None => {
            let own = key_file::load_or_create(&config.data_dir)?;
            Sealer::new(&[own]).context("a key seals")
        }
    }
}

fn routes(config: &Config) -> BTreeMap<BackendId, Route> {
    let route = |backend: &BackendConfig| Route {
        backend: Arc::new(Backend::new(backend)),
        adapter: backend.adapter.clone(),
    };
    (config.backends.iter())
        .map(|backend| (backend.id.clone(), route(backend)))
        .collect()
}

fn sources(gateway: &Gateway) -> Vec<Source> {
    gateway
        .routes
        .values()
        .map(|route| Source {
            backend: Arc::clone(&route.backend),
            adapter: route.adapter.clone(),
            plugins: Arc::clone(&gateway.plugins),
        })
        .collect()
}

/// What it takes to share with other gateways; `None`: there are none.
fn sharing(gateway: &Gateway) -> Option<Sharing> {
    (!gateway.fleet.is_alone()).then(|| Sharing {
        fleet: gateway.fleet.clone(),
        sealer: Arc::clone(&gateway.sealer),
    })
}

fn spawn_refresh(gateway: &Arc<Gateway>, source: Source) -> tokio::task::JoinHandle<()> {
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move {
        let every = Duration::from_secs(gateway.config.refresh_seconds);
        gateway
            .catalog
            .keep_fresh(source, gateway.identity(), every, sharing(&gateway))
            .await;
    })
}

fn spawn_watching(gateway: &Arc<Gateway>) -> tokio::task::JoinHandle<()> {
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move { pipeline::keep_told(&gateway).await })
}

fn spawn_approvals(gateway: &Arc<Gateway>) -> tokio::task::JoinHandle<()> {
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move {
        let review = |backend: &BackendId| gateway.catalog.ask_again(backend);
        gateway.integrity.keep_told(review).await;
    })
}

fn spawn_loading(gateway: &Arc<Gateway>) -> tokio::task::JoinHandle<()> {
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move { gateway.plugins.keep_watched().await })
}

fn spawn_versions(gateway: &Arc<Gateway>) -> tokio::task::JoinHandle<()> {
    let (plugins, fleet) = (Arc::clone(&gateway.plugins), gateway.fleet.clone());
    tokio::spawn(async move { plugins.keep_told(&fleet).await })
}

fn spawn_tokens(gateway: &Arc<Gateway>) -> Option<tokio::task::JoinHandle<()>> {
    gateway.oauth.as_ref()?;
    let gateway = Arc::clone(gateway);
    Some(tokio::spawn(async move {
        if let Some(oauth) = &gateway.oauth {
            tokio::join!(oauth.keep_told(), gateway.revocations.keep_told());
        }
    }))
}

fn spawn_purging(gateway: &Arc<Gateway>) -> tokio::task::JoinHandle<()> {
    let plugins = Arc::clone(&gateway.plugins);
    let retention = gateway.config.audit.retention;
    tokio::spawn(async move { audit::keeping::keep_purged(&plugins, retention).await })
}

fn spawn_tidying(gateway: &Arc<Gateway>) -> tokio::task::JoinHandle<()> {
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move { gateway.limits.keep_small().await })
}

fn spawn_key_refresh(gateway: &Arc<Gateway>) -> Option<tokio::task::JoinHandle<()>> {
    gateway.oauth.as_ref()?;
    let gateway = Arc::clone(gateway);
    Some(tokio::spawn(async move {
        if let Some(oauth) = &gateway.oauth {
            oauth.keep_fresh().await;
        }
    }))
}

/// Resolves at the first SIGTERM or SIGINT. A second one ends the process at once.
pub(crate) fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            warn!("stopping at once");
            std::process::exit(130);
        });
    })
}
