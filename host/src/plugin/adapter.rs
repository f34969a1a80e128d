//! Backend adapters: calls into a component on behalf of one backend.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use url::Origin;

use super::egress::{Egress, Home, LastUrl};
use super::engine::Runtime;
use super::exchange::Exchanges;
use super::fault::{Cause, Fault};
use super::instance::{Guest, Notices};
use super::lines::{AdapterExports, AdapterPre};
use super::memory::Whose;
use super::model::{
    CallError, Catalog, Completion, CompletionResult, Content, Principal as WirePrincipal,
    PromptCall, PromptOutcome, ResourceOutcome, ResourceRead, Target, ToolCall, ToolOutcome,
};
use super::profile::Profile;
use super::warm::Warm;
use crate::config::{BackendConfig, ExchangeTarget, InstanceMode, NameStyle, TokenMode};
use crate::types::{BackendId, Issuer, PluginName, Principal, RequestId, Secret, Subject};

/// Time on top of a backend's own limit before a whole call is given up.
const GRACE: Duration = Duration::from_secs(1);
/// How many times the exchanges and the time of a call `discover` may use: lists come in pages.
const DISCOVERY: u32 = 8;
/// Longest wait for room for an instance.
const SLOT_WAIT: Duration = Duration::from_secs(5);

/// A configured backend, as its adapter is told about it.
#[derive(Debug)]
pub struct Backend {
    /// Its id.
    pub id: BackendId,
    target: ArcSwap<Target>,
    origin: Origin,
    timeout: Duration,
    /// How its tools and prompts are called in public.
    pub names: NameStyle,
    /// Which tokens it is shown.
    pub token: TokenMode,
    /// What exchanged tokens are for.
    pub exchange: ExchangeTarget,
    /// Whose account lists what it offers.
    pub catalog_subject: Option<Subject>,
    exchanges: Arc<Exchanges>,
    last_url: Arc<LastUrl>,
}

impl Backend {
    /// From the configuration.
    pub fn new(config: &BackendConfig) -> Self {
        Self {
            id: config.id.clone(),
            target: ArcSwap::from_pointee(Target {
                id: config.id.to_string(),
                base_url: config.url.as_str().trim_end_matches('/').to_owned(),
                settings: config.settings.clone(),
                timeout_ms: config.timeout_ms,
                learned: None,
            }),
            origin: config.url.origin(),
            timeout: Duration::from_millis(config.timeout_ms.into()),
            names: config.names,
            token: config.token,
            exchange: config.exchange.clone(),
            catalog_subject: (config.account.as_ref())
                .and_then(|account| account.catalog_subject.clone()),
            exchanges: Arc::default(),
            last_url: Arc::default(),
        }
    }

    /// What is counted of exchanges with it.
    pub fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }

    /// Forgets what an adapter has learned of it.
    pub fn forget(&self) {
        self.learn(None);
    }

    /// Remembers what an adapter has learned of it, here or at another gateway.
    pub fn learn(&self, learned: Option<String>) {
        let target = self.target.load_full();
        if learned != target.learned {
            self.target.store(Arc::new(Target {
                learned,
                ..(*target).clone()
            }));
        }
    }

    /// SHA-256 of what decides, besides the adapter, what is found when it is asked: gateways that agree in
    /// this find the same.
    pub fn outline(&self) -> [u8; 32] {
        let target = self.target.load();
        let subject = self.catalog_subject.as_ref().map(Subject::as_str);
        let token = format!("{:?}", self.token);
        let parts = [
            &target.id,
            &target.base_url,
            &target.settings,
            &token,
            subject.unwrap_or_default(),
        ];
        let hash = Sha256::new();
        let hash = parts.iter().fold(hash, |hash, part| {
            // Each with its length, so that no two lists are the same bytes.
            let length = (part.len() as u64).to_be_bytes();
            hash.chain_update(length).chain_update(part)
        });
        hash.finalize().into()
    }
}

/// A loaded backend adapter.
pub struct Adapter {
    /// Its name.
    pub name: PluginName,
    /// Its own version.
    pub version: String,
    profile: Arc<Profile>,
    pre: AdapterPre,
    runtime: Arc<Runtime>,
    warm: Warm<Guest<AdapterExports>, WarmKey>,
}

/// What a backend is shown in a call.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Nothing: no account is linked, or nobody is asking.
    Nothing,
    /// Nothing, whatever the adapter wants: the operator shows this backend no tokens.
    Never,
    /// The caller's token, or the one that it was exchanged for.
    Caller(Secret),
    /// That of the caller's account at the backend, and which account it is: a number that changes
    /// when another one is linked.
    Account(Secret, u64),
}

/// For whom a call is made, and of which backend.
#[derive(Clone, Copy)]
pub struct OnBehalf<'a> {
    /// The backend.
    pub backend: &'a Backend,
    /// The caller.
    pub caller: &'a Principal,
    /// What the backend is shown.
    pub shown: &'a Shown,
    /// The request that it belongs to.
    pub request: RequestId,
}

/// Calls one export as the caller: in an instance that is theirs, within the limits.
macro_rules! as_caller {
    ($self:ident, $user:ident, $notices:expr, $name:literal, $export:ident($($argument:expr)?)) => {{
        let OnBehalf { backend, caller, shown, request } = $user;
        let (mut guest, key) = $self.guest_for(backend, caller, $name).await?;
        let whose = $self.whose(backend, Some(caller), shown);
        let egress = $self.egress(backend, shown, None);
        guest.begin(Some(request), Some(egress), Some(whose), Some(caller));
        guest.store.data_mut().notices = $notices;
        let wall = $self.wall(backend);
        let (target, principal) = (backend.target.load_full(), to_wire(caller));
        let (patience, timing) = (guest.patience(), guest.timing($name, &$self.version));
        // Boxed: large, and moved by `timing` and `patience` in turn.
        let running = Box::pin(guest.exports.$export(&mut guest.store, &target, &principal, $($argument)?));
        let result = patience.wait(wall, timing.run(running)).await;
        let result = guest.end($name, wall, result)?;
        $self.keep(key, guest);
        Ok::<_, Fault>(result)
    }};
}

impl Adapter {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        profile: Arc<Profile>,
        version: String,
        pre: AdapterPre,
    ) -> Self {
        let warm = Warm::new(
            &runtime.warm,
            Duration::from_secs(runtime.config.warm_idle_seconds),
        );
        Self {
            name: profile.name.clone(),
            version,
            profile,
            pre,
            runtime,
            warm,
        }
    }

    /// The part that is the same for all kinds.
    pub(super) fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// Asks a backend what it offers, as nobody: with the technical token, or the account that the
    /// operator named. What it learned meets later calls.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed; the inner error when the backend did.
    pub async fn discover(
        &self,
        backend: &Backend,
        technical: Option<&Secret>,
        shown: &Shown,
    ) -> Result<Result<Catalog, CallError>, Fault> {
        self.profile.admit("discover")?;
        let mut guest = self.fresh("discover").await?;
        let mut egress = self.egress(backend, shown, technical);
        egress.exchanges_left = egress.exchanges_left.saturating_mul(DISCOVERY);
        let whose = self.whose(backend, None, shown);
        guest.begin(None, Some(egress), Some(whose), None);
        let wall = self.wall(backend).saturating_mul(DISCOVERY);
        let timing = guest.timing("discover", &self.version);
        let target = backend.target.load_full();
        let running = guest.exports.call_discover(&mut guest.store, &target);
        let result = tokio::time::timeout(wall, timing.run(running)).await;
        let found = guest.end("discover", wall, result)?;
        if let Ok(catalog) = &found {
            backend.learn(catalog.learned.clone());
        }
        Ok(found)
    }

    /// Calls a tool as the caller. That the call is permitted has been decided before.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed; the inner error when the call did not end well.
    pub async fn call_tool(
        &self,
        user: OnBehalf<'_>,
        call: ToolCall,
        notices: Notices,
    ) -> Result<Result<ToolOutcome, CallError>, Fault> {
        let result = as_caller!(self, user, notices, "call-tool", call_call_tool(&call))?;
        if let Ok(ToolOutcome::Complete(result)) = &result {
            self.check_size(
                "call-tool",
                size_of(&result.content)
                    + result.structured_content.as_ref().map_or(0, String::len),
            )?;
        }
        Ok(result)
    }

    /// Renders a prompt as the caller. That this is permitted has been decided before.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed; the inner error when the call did not end well.
    pub async fn get_prompt(
        &self,
        user: OnBehalf<'_>,
        call: PromptCall,
        notices: Notices,
    ) -> Result<Result<PromptOutcome, CallError>, Fault> {
        let result = as_caller!(self, user, notices, "get-prompt", call_get_prompt(&call))?;
        if let Ok(PromptOutcome::Complete(result)) = &result {
            self.check_size("get-prompt", result.messages.len())?;
        }
        Ok(result)
    }

    /// Reads a resource as the caller. That this is permitted has been decided before.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed; the inner error when the call did not end well.
    pub async fn read_resource(
        &self,
        user: OnBehalf<'_>,
        read: ResourceRead,
        notices: Notices,
    ) -> Result<Result<ResourceOutcome, CallError>, Fault> {
        let result = as_caller!(
            self,
            user,
            notices,
            "read-resource",
            call_read_resource(&read)
        )?;
        if let Ok(ResourceOutcome::Complete(result)) = &result {
            self.check_size("read-resource", result.contents.len())?;
        }
        Ok(result)
    }

    /// Asks for proposals as the caller.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed; the inner error when the call did not end well.
    pub async fn complete(
        &self,
        user: OnBehalf<'_>,
        completion: Completion,
    ) -> Result<Result<CompletionResult, CallError>, Fault> {
        as_caller!(
            self,
            user,
            Notices::default(),
            "complete",
            call_complete(&completion)
        )
    }

    /// Asks what the backend knows about the caller.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed; the inner error when the call did not end well.
    pub async fn whoami(&self, user: OnBehalf<'_>) -> Result<Result<String, CallError>, Fault> {
        as_caller!(self, user, Notices::default(), "whoami", call_whoami())
    }

    /// Hands a ticket, a JSON object, to a backend that keeps its own.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed; the inner error when the call did not end well.
    pub async fn report_ticket(
        &self,
        user: OnBehalf<'_>,
        ticket: String,
    ) -> Result<Result<String, CallError>, Fault> {
        let notices = Notices::default();
        let result = as_caller!(
            self,
            user,
            notices,
            "report-ticket",
            call_report_ticket(&ticket)
        )?;
        self.check_size("report-ticket", result.as_ref().map_or(0, String::len))?;
        Ok(result)
    }

    /// Asks for the caller's tickets in a backend that keeps its own. `query` is a JSON object,
    /// the answer should be a JSON array.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed; the inner error when the call did not end well.
    pub async fn list_tickets(
        &self,
        user: OnBehalf<'_>,
        query: String,
    ) -> Result<Result<String, CallError>, Fault> {
        let notices = Notices::default();
        let result = as_caller!(
            self,
            user,
            notices,
            "list-tickets",
            call_list_tickets(&query)
        )?;
        self.check_size("list-tickets", result.as_ref().map_or(0, String::len))?;
        Ok(result)
    }

    /// An instance for a call of this caller: a kept one where the mode allows, else a fresh one.
    async fn guest_for(
        &self,
        backend: &Backend,
        caller: &Principal,
        function: &'static str,
    ) -> Result<(Guest<AdapterExports>, Option<WarmKey>), Fault> {
        self.profile.admit(function)?;
        if self.runtime.config.instances == InstanceMode::Call {
            return Ok((self.fresh(function).await?, None));
        }
        let key: WarmKey = (
            backend.id.clone(),
            caller.issuer.clone(),
            caller.subject.clone(),
        );
        match self.warm.take(&key) {
            Some(guest) => Ok((guest, Some(key))),
            None => Ok((self.fresh(function).await?, Some(key))),
        }
    }

    /// Lets go of instances that nobody has used for long.
    pub(super) fn tidy(&self) {
        self.warm.tidy();
    }

    fn keep(&self, key: Option<WarmKey>, mut guest: Guest<AdapterExports>) {
        if guest.is_spent() {
            return;
        }
        if let Some(key) = key {
            self.warm.put(key, guest);
        }
    }

    async fn fresh(&self, function: &'static str) -> Result<Guest<AdapterExports>, Fault> {
        let (mut store, slot) = self.profile.room(function, SLOT_WAIT).await?;
        let exports = Box::pin(self.pre.instantiate(&mut store)).await;
        self.profile.born(function, store, slot, exports)
    }

    fn whose(&self, backend: &Backend, caller: Option<&Principal>, shown: &Shown) -> Whose {
        let account = match shown {
            Shown::Account(_, account) => *account,
            Shown::Nothing | Shown::Never | Shown::Caller(_) => 0,
        };
        Whose::new(&self.name, &backend.id, caller, account)
    }

    fn egress(&self, backend: &Backend, shown: &Shown, technical: Option<&Secret>) -> Egress {
        Egress {
            wire: self.runtime.wire.clone(),
            home: Some(Home {
                origin: backend.origin.clone(),
                backend: backend.id.clone(),
                exchanges: Arc::clone(&backend.exchanges),
                last_url: Arc::clone(&backend.last_url),
            }),
            grants: Arc::clone(&self.profile.grants),
            meter: Arc::clone(&self.profile.meter),
            timeout: backend.timeout,
            caller: match shown {
                Shown::Caller(token) => Some(token.clone()),
                Shown::Nothing | Shown::Never | Shown::Account(..) => None,
            },
            account: match shown {
                Shown::Account(token, _) => Some(token.clone()),
                Shown::Nothing | Shown::Never | Shown::Caller(_) => None,
            },
            technical: technical.cloned(),
            anonymous: matches!(shown, Shown::Never),
            exchanges_left: self.profile.limits.max_exchanges,
            max_body: self.profile.limits.max_result_bytes,
        }
    }

    /// Longest whole call: two full exchanges, computing, and a little.
    fn wall(&self, backend: &Backend) -> Duration {
        backend.timeout * 2 + Duration::from_millis(self.profile.limits.compute_ms) + GRACE
    }

    fn check_size(&self, function: &'static str, size: usize) -> Result<(), Fault> {
        let max = self.profile.limits.max_result_bytes;
        if size <= max {
            return Ok(());
        }
        let cause = Cause::BadAnswer(format!("its result of {size} bytes is larger than {max}"));
        Err(Fault {
            plugin: self.name.clone(),
            function,
            cause,
        })
    }
}

/// Backend, issuer, subject: what a kept instance is bound to for good.
type WarmKey = (BackendId, Issuer, Subject);

fn size_of(content: &[Content]) -> usize {
    content
        .iter()
        .map(|block| match block {
            Content::Text(text) | Content::Block(text) => text.len(),
            Content::Image(blob) | Content::Audio(blob) => blob.data.len(),
        })
        .sum()
}

/// A principal as plugins see it.
pub(super) fn to_wire(principal: &Principal) -> WirePrincipal {
    WirePrincipal {
        subject: principal.subject.to_string(),
        issuer: principal.issuer.to_string(),
        client_id: principal.client_id.clone(),
        email: principal.email.clone(),
        name: principal.name.clone(),
        role: principal.role.clone(),
        pool: principal.pool.clone(),
        scopes: principal.scopes.to_strings(),
        // Only for policies that declare that they read claims; the dev bypass has none.
        claims: "{}".to_owned(),
    }
}
