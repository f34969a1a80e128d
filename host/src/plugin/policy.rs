//! Scope policies: who may see and call what.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::adapter::to_wire;
use super::fault::{Cause, Fault};
use super::instance::Guest;
use super::lines::{PolicyExports, PolicyPre};
use super::profile::Profile;
use super::v0_2::policy::exports::cortex::gateway::policy::{
    Decision as WireDecision, PolicyError,
};
use crate::mcp::json;
use crate::types::{PluginName, Principal, RequestId, Scope, ScopeSet};

pub use super::v0_2::policy::exports::cortex::gateway::policy::Item;

/// Longest a policy may take, computing and waiting for an instance together.
const WALL: Duration = Duration::from_secs(5);

/// What a policy says of one call.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Yes.
    Allow,
    /// Yes, with these arguments, a JSON object.
    AllowWith(Box<RawValue>),
    /// No; these scopes would change that.
    MissingScope(ScopeSet),
    /// No; more scopes would not help. Carries the reason, for the caller.
    Deny(String),
}

/// A loaded scope policy.
pub struct Policy {
    /// Its name.
    pub name: PluginName,
    /// Its own version.
    pub version: String,
    /// What it looks at besides the item.
    reads: Vec<String>,
    profile: Arc<Profile>,
    pre: PolicyPre,
}

impl Policy {
    /// Loads a policy and asks it what it reads.
    ///
    /// # Errors
    /// [`Fault`] when it fails to say.
    pub(super) async fn new(
        profile: Arc<Profile>,
        version: String,
        pre: PolicyPre,
    ) -> Result<Self, Fault> {
        let mut policy = Self {
            name: profile.name.clone(),
            version,
            profile,
            reads: Vec::new(),
            pre,
        };
        let mut guest = policy.fresh("reads").await?;
        guest.begin(None, None, None, None);
        let timing = guest.timing("reads", &policy.version);
        let running = timing.run(guest.exports.call_reads(&mut guest.store));
        let result = tokio::time::timeout(WALL, running).await;
        policy.reads = guest.end("reads", WALL, result)?;
        Ok(policy)
    }

    /// Whether it looks at this: `scopes`, `subject`, `claims`, `arguments`, `time`.
    pub fn reads(&self, what: &str) -> bool {
        self.reads.iter().any(|word| word == what)
    }

    /// Whether it looks at nothing but these.
    pub fn reads_only(&self, words: &[&str]) -> bool {
        self.reads.iter().all(|word| words.contains(&word.as_str()))
    }

    /// Which of these the caller may see: one answer per item.
    ///
    /// # Errors
    /// [`Fault`]; the caller then sees nothing.
    pub async fn filter(
        &self,
        caller: &Principal,
        items: &[Item],
        request: RequestId,
    ) -> Result<Vec<bool>, Fault> {
        let mut guest = self.fresh("filter").await?;
        guest.begin(Some(request), None, None, Some(caller));
        let timing = guest.timing("filter", &self.version);
        let principal = to_wire(caller);
        let running = timing.run(
            guest
                .exports
                .call_filter(&mut guest.store, &principal, items),
        );
        let result = tokio::time::timeout(WALL, running).await;
        match guest.end("filter", WALL, result)? {
            Ok(answers) if answers.len() == items.len() => Ok(answers),
            Ok(answers) => Err(self.unusable(
                "filter",
                format!("{} answers for {} items", answers.len(), items.len()),
            )),
            Err(error) => Err(self.undecided("filter", error)),
        }
    }

    /// Whether the caller may use this item now.
    ///
    /// # Errors
    /// [`Fault`]; the call is then refused.
    pub async fn authorize(
        &self,
        caller: &Principal,
        item: &Item,
        arguments: &str,
        request: RequestId,
    ) -> Result<Decision, Fault> {
        let decided = self.decide(caller, item, arguments, request).await;
        self.profile.meter.decided(match &decided {
            Ok(Decision::Allow | Decision::AllowWith(_)) => "allow",
            Ok(Decision::Deny(_)) => "deny",
            Ok(Decision::MissingScope(_)) => "missing_scope",
            Err(_) => "fault",
        });
        decided
    }

    /// It allowed the same before, and is not asked again.
    pub fn allowed_before(&self) {
        self.profile.meter.decided("allow");
    }

    async fn decide(
        &self,
        caller: &Principal,
        item: &Item,
        arguments: &str,
        request: RequestId,
    ) -> Result<Decision, Fault> {
        let mut guest = self.fresh("authorize").await?;
        guest.begin(Some(request), None, None, Some(caller));
        let arguments = self.reads("arguments").then(|| arguments.to_owned());
        let timing = guest.timing("authorize", &self.version);
        let principal = to_wire(caller);
        let running =
            guest
                .exports
                .call_authorize(&mut guest.store, &principal, item, arguments.as_ref());
        let result = tokio::time::timeout(WALL, timing.run(running)).await;
        match guest.end("authorize", WALL, result)? {
            Ok(WireDecision::Allow) => Ok(Decision::Allow),
            Ok(WireDecision::AllowWith(arguments)) if self.reads("arguments") => {
                json::raw_object(arguments)
                    .map(Decision::AllowWith)
                    .map_err(|e| self.unusable("authorize", format!("other arguments: {e}")))
            }
            Ok(WireDecision::AllowWith(_)) => Err(self.unusable(
                "authorize",
                "other arguments, though it does not read arguments".to_owned(),
            )),
            Ok(WireDecision::MissingScope(scopes)) => {
                // These go into a header: parsed, never reflected as they came.
                let scopes: Result<ScopeSet, _> =
                    scopes.iter().map(|s| s.parse::<Scope>()).collect();
                scopes
                    .map(Decision::MissingScope)
                    .map_err(|e| self.unusable("authorize", e.to_string()))
            }
            Ok(WireDecision::Deny(reason)) => {
                Ok(Decision::Deny(reason.chars().take(500).collect()))
            }
            Ok(WireDecision::Other(word)) => {
                Err(self.unusable("authorize", format!("decision `{}`", word.escape_debug())))
            }
            Err(error) => Err(self.undecided("authorize", error)),
        }
    }

    fn undecided(&self, function: &'static str, error: PolicyError) -> Fault {
        let (PolicyError::Undecided(said) | PolicyError::Other(said)) = error;
        self.unusable(function, format!("it could not decide: {said}"))
    }

    fn unusable(&self, function: &'static str, said: String) -> Fault {
        let cause = Cause::BadAnswer(said.chars().take(300).collect());
        Fault {
            plugin: self.name.clone(),
            function,
            cause,
        }
    }

    async fn fresh(&self, function: &'static str) -> Result<Guest<PolicyExports>, Fault> {
        self.profile.admit(function)?;
        let (mut store, slot) = self.profile.room(function, WALL).await?;
        let exports = self.pre.instantiate(&mut store).await;
        self.profile.born(function, store, slot, exports)
    }

    /// The part that is the same for all kinds.
    pub(super) fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }
}
