//! The path of one MCP request, in the order an operator would explain it.
//!
//! Each stage takes what the stage before it proved and returns what it proved itself, so that
//! none can be left out: a call needs a [`policy::Permit`], a permit needs an authenticated
//! caller, and only these modules can make either.

mod adapter;
mod answer;
mod audit;
mod auth;
mod base_scopes;
mod batch;
mod body;
mod budget;
mod builtin;
mod client_address;
mod contract;
mod credential;
mod dispatch;
mod elsewhere;
#[cfg(fuzzing)]
pub mod fuzzing;
mod group;
mod host;
mod in_flight;
mod intent;
mod legacy;
mod link;
mod listen;
mod lists;
mod measures;
mod notices;
mod origin;
mod param_headers;
mod parked;
mod parse;
mod permits;
mod policy;
mod pool;
mod rate;
mod refusal;
mod request_body;
mod rounds;
mod session;
mod shape;
mod share;
mod state;
mod version;
mod view;
mod visitor;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::request::Parts;
use tokio::sync::Semaphore;

use crate::account::Accounts;
use crate::catalog::{Catalog, Identity};
use crate::config::Config;
use crate::fleet::Fleet;
use crate::integrity::{Integrity, IntegrityError};
use crate::oauth::{Exchange, ResourceServer, Revocations, Technical};
use crate::plugin::{Adapter, Backend, Directory};
use crate::seal::Sealer;
use crate::store::Store;
use crate::streams::Hub;
use crate::ticket::Notifier;
use crate::trace::{self, Tracing};
use crate::types::{BackendId, Issuer, PluginName, RequestId, Secret};
use parse::{Notice, Parsed, Read, Said};
use session::InSession;

pub use answer::Answer;
pub use audit::Record;
pub use body::read as whole_body;
pub use contract::{Contract, ContractAnswer, contract};
pub use elsewhere::{Elsewhere, catch_up, keep_hearing, keep_up};
pub use host::Hosts;
pub use in_flight::InFlight;
pub use legacy::{end_session, open_stream};
pub use listen::{Heard, Listening, Opened};
pub use lists::Lists;
pub use measures::{Measures, Stage};
pub use origin::Origins;
pub use parked::Parked;
pub use permits::Permits;
pub use rate::Limits;
pub use refusal::Refusal;
pub use request_body::{RequestBody, Unread};
pub use rounds::Waiting;
pub use session::{Ended, Levels, Recent};
pub use share::{Place, Shares};
pub use view::{Views, announce};
pub use visitor::visitor;
pub use watch::{Watches, keep_told};

/// Requests that are served at one time; more are told to come back.
pub const MAX_REQUESTS: usize = 2_048;

/// A request as it arrived, nothing checked.
pub struct Arrival {
    /// Method, path and header.
    pub head: Parts,
    /// The body, not read yet.
    pub body: RequestBody,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Ties its log lines together.
    pub id: RequestId,
}

/// A backend with the adapter that speaks to it.
pub struct Route {
    /// The backend.
    pub backend: Arc<Backend>,
    /// The name of its adapter.
    pub adapter: PluginName,
}

/// Everything a request may need. One per process.
pub struct Gateway {
    /// What the gateway was told.
    pub config: Config,
    /// Under which names it is reached.
    pub hosts: Hosts,
    /// Which browsers may call.
    pub origins: Origins,
    /// How often callers may call.
    pub limits: Limits,
    /// Verifies access tokens; none when only the dev bypass is accepted.
    pub oauth: Option<ResourceServer>,
    /// What the gateway presents to backends for itself.
    pub technical: Technical,
    /// Callers' own accounts at MCP servers.
    pub accounts: Arc<Accounts>,
    /// Exchanges callers' tokens for those of backends; none when no backend wants that.
    pub exchange: Option<Exchange>,
    /// The plugin directory, and what is loaded from it.
    pub plugins: Arc<Directory>,
    /// What is there after a restart.
    pub store: Store,
    /// The other gateways of this store.
    pub fleet: Fleet,
    /// Access tokens that operators have revoked.
    pub revocations: Arc<Revocations>,
    /// Tells somebody of new blocking tickets.
    pub notifier: Option<Notifier>,
    /// Backends by id.
    pub routes: BTreeMap<BackendId, Route>,
    /// Tools of all backends.
    pub catalog: Catalog,
    /// Whether they are still what was approved.
    pub integrity: Arc<Integrity>,
    /// Seals what clients keep for the gateway.
    pub sealer: Arc<Sealer>,
    /// Legacy sessions that are over before their time.
    pub ended: Ended,
    /// Those that were opened lately.
    pub recent: Recent,
    /// Requests that can be called off.
    pub in_flight: InFlight,
    /// Who listens.
    pub streams: Arc<Hub>,
    /// What callers see.
    pub views: Views,
    /// Lists that were answered before.
    pub lists: Lists,
    /// Uses that were allowed before.
    pub permits: Permits,
    /// Where audit records go.
    pub audit: crate::audit::Queue,
    /// Keys the hashes in audit records.
    pub audit_key: Option<Secret>,
    /// Calls that wait for a modern client to come back with an answer.
    pub parked: Parked,
    /// Requests to legacy clients that wait for their answers.
    pub waiting: Waiting,
    /// Which log messages legacy clients want.
    pub levels: Levels,
    /// Which resources somebody wants to hear of.
    pub watches: Watches,
    /// What is counted of requests.
    pub measures: Arc<Measures>,
    /// Tells a collector what becomes of requests, if there is one.
    pub tracing: Option<Tracing>,
    /// What has to be done with clients that other gateways serve, too.
    pub elsewhere: Elsewhere,
    /// Bounds the requests of known callers that are served at one time.
    pub room: Semaphore,
    /// Bounds the requests of one caller at one time.
    pub shares: Arc<Shares>,
    /// Whether it is about to stop: whoever balances load sends new requests to others.
    pub leaving: AtomicBool,
}

impl Gateway {
    /// The adapter of a backend. The error is for callers, and for operators.
    fn adapter(&self, route: &Route) -> Result<Arc<Adapter>, String> {
        let adapter = self.plugins.now().adapters.get(&route.adapter).cloned();
        adapter.ok_or_else(|| format!("no adapter `{}` is loaded", route.adapter))
    }

    /// As whom backends are asked for their catalogs.
    pub fn identity(&self) -> Identity {
        let oauth = self.config.oauth.as_ref();
        Identity {
            technical: self.technical.clone(),
            accounts: Arc::clone(&self.accounts),
            issuer: oauth.map(|oauth| Issuer::new(oauth.issuer.as_str())),
        }
    }
}

/// How a request was served.
pub enum Served {
    /// With one answer.
    Whole(Finished),
    /// With reports while it runs, and an answer at the end.
    Stream(Running),
    /// With notifications, until somebody ends it.
    Listening(Listening),
}

/// A request that is over.
pub struct Finished {
    /// What came of it.
    pub outcome: Result<Answer, Refusal>,
    /// Its audit record, to be closed with what the client was sent. There is none only when
    /// the audit queue is full.
    pub record: Option<Box<Record>>,
    /// The caller's place, to be given back when the answer has left.
    pub place: Option<Place>,
}

/// A request that has begun to report. Dropping it stops the call.
pub struct Running {
    reports: notices::Reports,
    work: Pin<Box<dyn Future<Output = Finished> + Send>>,
    finished: Option<Finished>,
}

/// What comes next from a running request.
pub enum Event {
    /// A JSON-RPC notification, or a request that the client has to answer.
    Notification(String),
    /// The end.
    Finished(Finished),
}

impl Running {
    /// Waits for what comes next. What was reported before the end is told before the end.
    /// Not to be called after it.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(report) = self.reports.take() {
                return Event::Notification(report);
            }
            if let Some(finished) = self.finished.take() {
                return Event::Finished(finished);
            }
            self.finished = self.reports.drive(self.work.as_mut()).await;
        }
    }
}

/// Approves changed tool definitions and has the backends asked again, so that the tools are back at
/// once. Returns what was approved, as `<backend>/<tool>`; `None` approves all.
///
/// # Errors
/// [`IntegrityError`]; then nothing is approved.
pub async fn approve(
    gw: &Gateway,
    names: Option<&[String]>,
) -> Result<Vec<String>, IntegrityError> {
    let approved = gw.integrity.approve(names).await?;
    for (backend, _) in &approved {
        gw.catalog.ask_again(backend);
    }
    let approved = approved.iter();
    Ok(approved
        .map(|(backend, tool)| format!("{backend}/{tool}"))
        .collect())
}

/// Serves one `POST /mcp`. Whatever happens leaves one audit record.
pub async fn handle(gw: Arc<Gateway>, arrival: Arrival) -> Served {
    // Without a place for its record a request is not served at all.
    let Ok(record) = audit::open(&gw, &arrival) else {
        return Served::Whole(Finished {
            outcome: Err(Refusal::Overloaded),
            record: None,
            place: None,
        });
    };
    let mut record = Box::new(record);
    let (reporter, mut reports) = notices::channel(&arrival.head.headers);
    let gateway = Arc::clone(&gw);
    let (id, trace) = (arrival.id, record.trace());
    // Boxed here, so that it is moved once: it is large.
    let work = Box::pin(async move {
        let gw = gateway;
        let mut place = None;
        let outcome = run(&gw, arrival, &mut record, &mut place, reporter).await;
        Finished {
            outcome,
            record: Some(record),
            place,
        }
    });
    let mut work: Pin<Box<dyn Future<Output = Finished> + Send>> =
        Box::pin(trace::within(id, trace, work));
    let finished = reports.drive(work.as_mut()).await;
    // A refusal keeps its status code; a result does not lose what was reported before it.
    match finished {
        Some(finished) if reports.is_empty() || finished.outcome.is_err() => {
            whole_or_listening(gw, finished)
        }
        finished => Served::Stream(Running {
            reports,
            work,
            finished,
        }),
    }
}

fn whole_or_listening(gw: Arc<Gateway>, finished: Finished) -> Served {
    match finished {
        Finished {
            outcome: Ok(Answer::Listening(opened)),
            record: Some(record),
            place: _,
        } => Served::Listening(Listening::new(gw, *opened, record)),
        finished => Served::Whole(finished),
    }
}

async fn run(
    gw: &Gateway,
    arrival: Arrival,
    record: &mut Record,
    place: &mut Option<Place>,
    reporter: notices::Reporter,
) -> Result<Answer, Refusal> {
    let request = trace::now("origin", || {
        let request = host::check(&gw.hosts, arrival)?; //              MCP Streamable HTTP, "Security & Endpoint"
        origin::check(&gw.origins, request) //                          the same
    })?;
    let version = version::check(&gw.config, request, record); //       MCP Streamable HTTP, "Protocol Version Header"
    let request = trace::step("version", version).await?;
    let request = admit(gw, request, record).await?; //                 who, how often, with what
    let (request, taken) = share::check(&gw.shares, request)?; //       ours: nobody takes all places
    let place = place.insert(taken);
    let _room = gw.room.try_acquire().map_err(|_| Refusal::Overloaded)?;
    let message = parse::read(&gw.config, request, record); //          JSON-RPC 2.0; MCP "Server Validation"
    let message = gw.measures.stage(Stage::Parse, message).await?;
    if !matches!(message, Read::Notice(_)) {
        place.serve()?;
    }
    match message {
        Read::Request(request) => serve(gw, *request, record, reporter).await,
        Read::Notice(notice) => Box::pin(take_note(gw, *notice, record)).await,
        Read::Batch(batch) => Box::pin(batch::run(gw, *batch, record)).await,
    }
}

/// Lets in who is known, does not come too often, and may use this gateway at all.
async fn admit(
    gw: &Gateway,
    request: version::Versioned,
    record: &mut Record,
) -> Result<pool::InPool, Refusal> {
    let address = client_address::of(&gw.config.trusted_proxies, &request.arrival);
    let request = auth::authenticate(gw, request); //                   RFC 6750 §2.1, RFC 9068 §4
    let request = gw.measures.stage(Stage::Token, request).await;
    if let Ok(request) = &request {
        record.caller(request.caller());
    }
    let allowed = async {
        let request = rate::check(gw, address, request).await?; //      RFC 6585 §4
        record.can_be_kept(gw).await?; //                               ours: nothing is done that cannot be told
        let request = base_scopes::check(&gw.config, request)?; //      RFC 6750 §3.1
        pool::check(&gw.config, request) //                             ours: one gateway, one pool
    };
    trace::step("rate", allowed).await
}

/// The rest of the way of a request. Called off, it is dropped, and what waits for a backend lets
/// go of it.
async fn serve(
    gw: &Gateway,
    request: Parsed,
    record: &mut Record,
    reporter: notices::Reporter,
) -> Result<Answer, Refusal> {
    record.request(&request);
    let session = || session::resolve(gw, request, record); //          legacy: MCP "Session Management"; modern: none
    let request = trace::now("session", session)?;
    let place = gw.in_flight.enter(&request); //                        legacy: MCP "Cancellation"
    tokio::select! {
        biased;
        () = place.cancelled() => Err(Refusal::Cancelled),
        outcome = carry_out(gw, request, record, reporter) => outcome,
    }
}

/// Rare or large branches are boxed: the future of every request is as large as its largest branch that is not, and is
/// copied whenever it is moved.
async fn carry_out(
    gw: &Gateway,
    request: InSession,
    record: &mut Record,
    reporter: notices::Reporter,
) -> Result<Answer, Refusal> {
    let session = request.id();
    match trace::step("dispatch", dispatch::route(gw, request)).await? {
        dispatch::Route::Local(answer) => Ok(answer),
        dispatch::Route::Initialize(request) => {
            let version = answer::negotiated(&request.params)?;
            let session = session::begin(gw, &request, version, record)?;
            answer::initialize(gw, version, session)
        }
        dispatch::Route::Listen(request) => {
            let opened = Box::pin(listen::subscribe(gw, *request)).await?;
            Ok(Answer::Listening(Box::new(opened)))
        }
        dispatch::Route::List(list) => Box::pin(lists::answer(gw, list, record)).await,
        dispatch::Route::Describe(asker) => Box::pin(builtin::architecture::read(gw, &asker)).await,
        dispatch::Route::Builtin(asker, builtin, arguments) => {
            record.builtin(builtin.name());
            Box::pin(builtin::run(gw, &asker, builtin, &arguments)).await
        }
        dispatch::Route::Use(intent) => {
            record.target(&intent);
            let permit = permit(gw, intent).await?;
            record.permitted();
            let run = Box::pin(adapter::run(gw, permit, session, reporter));
            gw.measures.stage(Stage::Adapter, run).await
        }
        dispatch::Route::Watch(intent) => {
            record.target(&intent);
            let permit = permit(gw, intent).await?;
            record.permitted();
            let session = session.ok_or(Refusal::SessionRequired)?;
            let listener = watch::Listener::Session(session);
            Box::pin(watch::subscribe(gw, &permit, listener)).await?;
            answer::empty()
        }
    }
}

/// Has the policies decide.
async fn permit(gw: &Gateway, intent: intent::Intent) -> Result<policy::Permit, Refusal> {
    let permit = policy::permit(gw, intent);
    gw.measures.stage(Stage::Policy, permit).await
}

/// The rest of the way of a message that gets no answer.
async fn take_note(gw: &Gateway, notice: Notice, record: &mut Record) -> Result<Answer, Refusal> {
    if let Said::Notification { method, .. } = &notice.said {
        record.named(method);
    }
    // In the modern era there is nothing to do for any of them.
    if notice.modern {
        return Ok(Answer::Accepted);
    }
    let session = session::open(gw, &notice.head.headers, &notice.caller, record)?;
    match notice.said {
        Said::Response(response) => {
            if let Some(session) = session
                && let Some(unclaimed) = gw.waiting.answered(session.id, response)
            {
                elsewhere::answered(gw, session.id, unclaimed).await;
            }
        }
        Said::Notification { method, params } => {
            if method == "notifications/cancelled" {
                let session = session.map(|session| session.id);
                in_flight::cancel(gw, session, &notice.caller, params.as_deref());
            }
        }
    }
    Ok(Answer::Accepted)
}
