//! One record for each request, on every path. Says who did what with which outcome, and holds
//! no token, no argument and no result: emails and parameters only as hashes.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::auth::Caller;
use super::intent::{Action, Intent};
use super::measures::{Measures, Served, known_method};
use super::parse::Parsed;
use super::shape::Shape;
use super::{Answer, Arrival, Gateway, Refusal};
use crate::audit::{Draft, Full, NotKept, Personal, Place, Receipt};
use crate::catalog::Kind;
use crate::mcp::jsonrpc::Id;
use crate::mcp::method;
use crate::mcp::version::ProtocolVersion;
use crate::trace::{self, Attribute, Trace};
use crate::types::{Secret, SessionId, hex};
use crate::vault::Owner;

/// The `Origin` of a request, if it is one (RFC 6454 §7): nothing else belongs into a record.
fn as_origin(text: &str) -> Option<&str> {
    let is_one = |url: Url| {
        url.origin()
            .ascii_serialization()
            .eq_ignore_ascii_case(text)
    };
    (text == "null" || (text.len() <= 256 && Url::parse(text).is_ok_and(is_one))).then_some(text)
}

/// The record of a request in flight. Dropped without being closed, it tells that the client
/// went away.
pub struct Record {
    place: Option<Place>,
    begun: Instant,
    key: Option<Secret>,
    draft: Draft,
    scopes: Option<String>,
    id: Option<Id>,
    version: Option<ProtocolVersion>,
    measures: Arc<Measures>,
    /// Where it is told what became of the request, if anywhere.
    trace: Option<Arc<Trace>>,
}

/// Opens the record, with a place in the queue for it.
pub(super) fn open(gw: &Gateway, arrival: &Arrival) -> Result<Record, Full> {
    let origin = arrival.head.headers.get(http::header::ORIGIN);
    let origin = origin.map(|origin| origin.to_str().unwrap_or_default());
    let mut draft = Draft::default();
    draft.public.ts = OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .unwrap_or_default();
    draft.public.request_id = arrival.id.to_string();
    draft.personal.origin = origin.map(|origin| as_origin(origin).unwrap_or("unknown").to_owned());
    Ok(Record {
        place: Some(gw.audit.reserve()?),
        begun: Instant::now(),
        key: gw.audit_key.clone(),
        draft,
        scopes: None,
        id: None,
        version: None,
        measures: Arc::clone(&gw.measures),
        trace: (gw.tracing.as_ref()).map(|tracing| tracing.begin(&arrival.head.headers)),
    })
}

impl Record {
    /// The id of the request, once it is known.
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// The protocol version it is served by, once it is known.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// The trace of the request, if it may have one.
    pub(super) fn trace(&self) -> Option<Arc<Trace>> {
        self.trace.clone()
    }

    pub(super) fn answering(&mut self, id: &Id) {
        self.id = Some(id.clone());
    }

    pub(super) fn caller(&mut self, caller: &Caller) {
        let principal = caller.principal();
        self.draft.owner = Some(Owner {
            issuer: principal.issuer.clone(),
            subject: principal.subject.clone(),
        });
        self.draft.personal.caller_sub = Some(principal.subject.to_string());
        self.draft.personal.caller_email_hash = principal
            .email
            .as_deref()
            .map(|e| self.hash(e.trim().to_lowercase().as_bytes()));
        self.draft.personal.caller_role = principal.role.clone();
        self.draft.personal.caller_pool = principal.pool.clone();
        self.draft.personal.client_id = principal.client_id.clone();
        self.draft.public.dev_bypass = principal.dev_bypass;
    }

    pub(super) fn request(&mut self, request: &Parsed) {
        self.named(&request.message.method);
        self.draft.personal.params_hash = request
            .message
            .params
            .as_deref()
            .map(|p| self.hash(p.get().as_bytes()));
        self.served_by(request.version);
        if let Some(trace) = &self.trace {
            let told = request.meta.text("traceparent");
            let told = told.and_then(|parent| {
                trace::Parent::of_texts(parent, request.meta.text("tracestate"))
            });
            trace.known(
                known_method(Some(&request.message.method)).unwrap_or("POST"),
                told,
            );
        }
    }

    /// Another record of the same HTTP request, as far as it is known.
    pub(super) fn again(&self, gw: &Gateway) -> Result<Self, Full> {
        Ok(Self {
            place: Some(gw.audit.reserve()?),
            begun: self.begun,
            key: self.key.clone(),
            draft: self.draft.clone(),
            scopes: None,
            id: None,
            version: self.version,
            measures: Arc::clone(&self.measures),
            trace: self.trace.as_ref().map(|trace| Arc::new(trace.again())),
        })
    }

    /// From now on the request waits for something to happen.
    pub(super) fn rests(&mut self) {
        if let Some(place) = &mut self.place {
            place.rests();
        }
    }

    /// Takes the record back: others tell what happened.
    pub(super) fn withdraw(&mut self) {
        self.place = None;
    }

    /// The method that the caller names. One that MCP does not have is a word of the caller's own.
    pub(super) fn named(&mut self, method: &str) {
        self.method(method::known(method).unwrap_or("unknown"));
    }

    /// What was done, for what is no JSON-RPC request.
    pub(super) fn method(&mut self, method: &'static str) {
        self.draft.public.method = Some(method);
        self.draft.public.target_app = Some("gateway".to_owned());
    }

    /// The session it belongs to.
    pub(super) fn session(&mut self, id: SessionId) {
        self.draft.personal.session_id = Some(id.to_string());
    }

    /// The version it is served by, when that is told by something else than the request.
    pub(super) fn served_by(&mut self, version: ProtocolVersion) {
        self.draft.public.protocol_version = Some(version.as_str());
        self.version = Some(version);
    }

    pub(super) fn target(&mut self, intent: &Intent) {
        if matches!(intent.action, Action::Call { .. }) {
            self.draft.public.tool = Some(intent.entry.name.clone());
        }
        self.draft.public.target_app = Some(intent.entry.backend.to_string());
        self.scopes = Some(intent.entry.item.scopes.join(" "));
    }

    /// One of the gateway's own tools is called.
    pub(super) fn builtin(&mut self, name: &str) {
        self.draft.public.tool = Some(name.to_owned());
    }

    pub(super) fn permitted(&mut self) {
        self.draft.public.scope_used = self.scopes.take();
    }

    /// How a list was wanted.
    pub(super) fn list(&mut self, gw: &Gateway, kind: Kind, shape: &Shape) {
        if kind == Kind::Tools {
            let backends = shape.backends.as_ref();
            // Others are words of the caller's own.
            let known = |name: &&String| gw.routes.keys().any(|id| id.as_str() == *name);
            self.draft.public.backends_filter =
                backends.map(|names| names.iter().filter(known).cloned().collect());
            self.draft.public.tool_mode = Some(if shape.search { "search" } else { "full" });
        }
    }

    /// How much was in it.
    pub(super) fn listed(&mut self, kind: Kind, listed: usize) {
        if kind == Kind::Tools {
            self.draft.public.tools_listed = Some(listed);
        }
    }

    /// Waits until it is certain that the record can be written. If it cannot, it becomes one of nobody: that can.
    ///
    /// # Errors
    /// [`Refusal::Unrecordable`].
    pub(super) async fn can_be_kept(&mut self, gw: &Gateway) -> Result<(), Refusal> {
        match gw.audit.can_keep(&self.draft.owner).await {
            Ok(()) => Ok(()),
            Err(NotKept) => {
                self.draft.owner = None;
                self.draft.personal = Personal {
                    origin: self.draft.personal.origin.take(),
                    ..Personal::default()
                };
                Err(Refusal::Unrecordable)
            }
        }
    }

    /// Closes the record with what the client is sent, which must wait for the receipt.
    pub fn close(&mut self, outcome: &Result<Answer, Refusal>, response_size: usize) -> Receipt {
        let public = &mut self.draft.public;
        public.response_size = response_size;
        public.error_code = match outcome {
            Ok(
                Answer::Accepted | Answer::Session { .. } | Answer::Listening(_) | Answer::Batch(_),
            ) => None,
            Ok(Answer::Result { error_code, .. }) => error_code.clone(),
            Err(refusal) => Some(refusal.code().to_owned()),
        };
        if public.tools_listed.is_some() && outcome.is_ok() {
            public.tokens_estimate = Some(response_size / 4);
        }
        public.success = public.error_code.is_none();
        self.send()
    }

    fn send(&mut self) -> Receipt {
        let Some(place) = self.place.take() else {
            return Receipt::none();
        };
        let took = self.begun.elapsed();
        let public = &mut self.draft.public;
        public.latency_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        self.measures.served(&Served {
            method: public.method,
            version: self.version,
            backend: public.target_app.as_deref(),
            error: public.error_code.as_deref(),
            took,
        });
        let began = self.trace.as_ref().map(|_| SystemTime::now());
        // What it tells is in the draft, which goes away with the record.
        let told = self.trace.as_ref().map(|_| self.told());
        let receipt = place.fill(std::mem::take(&mut self.draft));
        if let (Some(trace), Some(began), Some(told)) = (self.trace.take(), began, told) {
            trace.early("audit", began);
            trace.finish(|| told);
        }
        receipt
    }

    /// What a trace tells of the request: nothing that its caller has made up.
    fn told(&self) -> trace::Outcome {
        let fields = &self.draft.public;
        let method = known_method(fields.method);
        let mut attributes = vec![
            Attribute::new("cortex.request.id", fields.request_id.clone()),
            Attribute::new("network.transport", "tcp"),
            Attribute::new("network.protocol.name", "http"),
        ];
        let mut tell = |name: &'static str, value: Option<String>| {
            attributes.extend(value.map(|value| Attribute::new(name, value)));
        };
        let http = matches!(method, Some("GET" | "DELETE"));
        let of_mcp = method.filter(|_| !http);
        let verb = method.filter(|_| http).unwrap_or("POST");
        tell("http.request.method", Some(verb.to_owned()));
        tell("mcp.method.name", of_mcp.map(str::to_owned));
        tell(
            "mcp.protocol.version",
            fields.protocol_version.map(str::to_owned),
        );
        tell("mcp.session.id", self.draft.personal.session_id.clone());
        tell("jsonrpc.request.id", self.id.as_ref().and_then(number));
        tell("cortex.backend.id", fields.target_app.clone());
        let mut name = match of_mcp {
            Some(method) => method.to_owned(),
            None => format!("{verb} /mcp"),
        };
        if let Some(tool) = &fields.tool {
            name = format!("{name} {tool}");
            tell("gen_ai.operation.name", Some("execute_tool".to_owned()));
            tell("gen_ai.tool.name", Some(tool.clone()));
        }
        trace::Outcome {
            name,
            attributes,
            error: fields.error_code.clone(),
        }
    }

    fn hash(&self, bytes: &[u8]) -> String {
        match &self.key {
            None => hex(&Sha256::digest(bytes)),
            Some(key) => match Hmac::<Sha256>::new_from_slice(key.reveal().as_bytes()) {
                Ok(mac) => hex(&mac.chain_update(bytes).finalize().into_bytes()),
                Err(never) => never.to_string(),
            },
        }
    }
}

/// The id of a request, if it is a number. A text may hold whatever its caller has put there.
fn number(id: &Id) -> Option<String> {
    match id {
        Id::Number(number) => Some(number.to_string()),
        Id::Text(_) => None,
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.draft.public.error_code = Some("client_closed".to_owned());
            // Nobody is there to be told anything.
            drop(self.send());
        }
    }
}
