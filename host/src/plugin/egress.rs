//! The `http` import: where a component may reach, and how credentials are attached.
//!
//! A component names a credential; the token is added here, after the component has let go of
//! the request, and only towards the origin of the backend that the call is about. A secret that the
//! operator granted goes to the origin that it is bound to.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use url::{Host as UrlHost, Origin, Url};
use wasmtime::component::Resource;

use super::exchange::Exchanges;
use super::grants::Grants;
use super::incoming::Incoming;
use super::instance::State;
use super::meter::Meter;
use super::profile::Profile;
use super::v0_2::adapter::cortex::gateway::http::{
    Credential, Header, Host, HttpError, Request, Response,
};
use super::wire::Wire;
use crate::mcp::json;
use crate::outbound::SendError;
use crate::types::{BackendId, Secret};

/// Most header fields of one request.
const MAX_HEADERS: usize = 64;
/// Longest header value and longest URL, in bytes.
const MAX_VALUE: usize = 8 * 1024;

/// Fields that the host alone decides about.
const OWNED_BY_HOST: &[&str] = &[
    "host",
    "content-length",
    "authorization",
    "cookie",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "accept-encoding",
    "expect",
];

/// What one call may reach, and as whom.
pub(super) struct Egress {
    /// Sends the requests.
    pub(super) wire: Wire,
    /// The backend that the call is about, if it is about one.
    pub(super) home: Option<Home>,
    /// What else may be reached, and with which secrets.
    pub(super) grants: Arc<Grants>,
    /// Counts requests and what comes back.
    pub(super) meter: Arc<Meter>,
    /// Longest exchange.
    pub(super) timeout: Duration,
    /// The caller's token, in calls made for a user.
    pub(super) caller: Option<Secret>,
    /// That of the account at this backend, if one is linked.
    pub(super) account: Option<Secret>,
    /// The technical token, in catalog calls.
    pub(super) technical: Option<Secret>,
    /// The backend is shown no tokens: where one is wanted, the request goes without.
    pub(super) anonymous: bool,
    /// Exchanges that are left.
    pub(super) exchanges_left: u32,
    /// Largest response body.
    pub(super) max_body: usize,
}

/// The backend of a call.
pub(super) struct Home {
    /// Where it is. The only place that tokens go to.
    pub(super) origin: Origin,
    /// Which one it is.
    pub(super) backend: BackendId,
    /// What is counted of exchanges with it.
    pub(super) exchanges: Arc<Exchanges>,
    /// What it was asked for last.
    pub(super) last_url: Arc<LastUrl>,
}

/// The URL at a backend that was asked for last, and was found to be good: most are asked for again and again.
#[derive(Debug, Default)]
pub(super) struct LastUrl(ArcSwapOption<(String, Uri)>);

impl LastUrl {
    fn of(&self, text: &str) -> Option<Uri> {
        let last = self.0.load();
        let (known, uri) = &**last.as_ref()?;
        (known == text).then(|| uri.clone())
    }

    fn keep(&self, text: &str, uri: &Uri) {
        let last = (text.to_owned(), uri.clone());
        self.0.store(Some(Arc::new(last)));
    }
}

impl Home {
    /// Whether it is here, as a request says it.
    pub(super) fn is_at(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        match &self.origin {
            Origin::Tuple(own, name, number) => {
                let default = if own == "https" { 443 } else { 80 };
                let same = match name {
                    UrlHost::Domain(name) => name == host,
                    address => address.to_string() == host,
                };
                own == scheme && *number == port.unwrap_or(default) && same
            }
            Origin::Opaque(_) => false,
        }
    }
}

impl Host for State {
    async fn send(&mut self, request: Request) -> Result<Response, HttpError> {
        self.egress()?.send(request).await
    }

    async fn open(&mut self, request: Request) -> Result<Resource<Incoming>, HttpError> {
        State::open(self, request).await
    }

    async fn ready(&mut self, responses: Vec<Resource<Incoming>>) -> Result<u32, HttpError> {
        State::ready(self, responses).await
    }

    fn farewell(&mut self, request: Option<Request>) -> Result<(), HttpError> {
        State::farewell(self, request)
    }
}

impl State {
    /// What the call in flight may reach.
    pub(super) fn egress(&mut self) -> Result<&mut Egress, HttpError> {
        self.outgoing.egress.as_mut().ok_or_else(|| {
            HttpError::OriginNotGranted("nothing is granted outside a backend call".to_owned())
        })
    }
}

impl Egress {
    /// That of a call which is about no backend: what was granted, and no tokens.
    pub(super) fn without_backend(plugin: &Arc<Profile>, timeout: Duration) -> Self {
        Self {
            wire: plugin.runtime.wire.clone(),
            home: None,
            grants: Arc::clone(&plugin.grants),
            meter: Arc::clone(&plugin.meter),
            timeout,
            caller: None,
            account: None,
            technical: None,
            anonymous: false,
            exchanges_left: plugin.limits.max_exchanges,
            max_body: plugin.limits.max_result_bytes,
        }
    }

    async fn send(&mut self, request: Request) -> Result<Response, HttpError> {
        let (mut request, timeout) = self.admit(request)?;
        let exchange = self.begin(&mut request);
        let answer = self.wire.send(request, timeout, self.max_body).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                exchange.failed(&why);
                return Err(error(why));
            }
        };
        exchange.answered(answer.status.as_u16());
        self.meter.received(answer.body.len());
        let is_json = json::check(&answer.body).is_ok();
        Ok(Response {
            status: answer.status.as_u16(),
            headers: header_fields(&answer.headers),
            body: answer.body.into(),
            is_json,
        })
    }

    /// Checks a request, attaches the credential, and counts it. With it comes how long its
    /// answer is waited for.
    pub(super) fn admit(
        &mut self,
        request: Request,
    ) -> Result<(http::Request<bytes::Bytes>, Duration), HttpError> {
        let timeout = request.timeout_ms.map_or(self.timeout, |ms| {
            Duration::from_millis(ms.into()).min(self.timeout)
        });
        let request = self.prepare(request)?;
        self.exchanges_left = self.exchanges_left.checked_sub(1).ok_or_else(|| {
            HttpError::LimitExceeded("no more http exchanges in this call".to_owned())
        })?;
        self.meter.exchanged();
        Ok((request, timeout))
    }

    /// Checks a request and attaches the credential.
    fn prepare(&self, request: Request) -> Result<http::Request<bytes::Bytes>, HttpError> {
        let invalid = |what: String| HttpError::InvalidRequest(what);
        if request.url.len() > MAX_VALUE {
            return Err(invalid(format!("the URL is longer than {MAX_VALUE} bytes")));
        }
        let (uri, origin, at_home) = self.destination(&request.url)?;

        let method: Method = match request.method.as_str() {
            "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => request
                .method
                .parse()
                .map_err(|_| invalid("the method is not one".to_owned()))?,
            other => {
                return Err(invalid(format!(
                    "the method `{}` is not accepted",
                    other.escape_debug()
                )));
            }
        };
        if request.headers.len() > MAX_HEADERS {
            return Err(invalid(format!("more than {MAX_HEADERS} header fields")));
        }
        // With room for the credential, and for what the host tells of a trace.
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 3);
        for Header { name, value } in request.headers {
            let (name, value) = field(&name, &value).map_err(invalid)?;
            headers.append(name, value);
        }
        if let Some((name, value)) = self.credential(&request.credential, &origin, at_home)? {
            // A plugin must not be able to stand beside it with a value of its own.
            headers.insert(name, value);
        }
        let mut built = http::Request::new(request.body.unwrap_or_default().into());
        *built.method_mut() = method;
        *built.uri_mut() = uri;
        *built.headers_mut() = headers;
        Ok(built)
    }

    /// Where a URL leads, and whether that is the backend of the call. An error when it may not be reached.
    fn destination(&self, text: &str) -> Result<(Uri, Cow<'_, Origin>, bool), HttpError> {
        let invalid = |what: String| HttpError::InvalidRequest(what);
        if let Some(home) = &self.home
            && let Some(uri) = home.last_url.of(text)
        {
            return Ok((uri, Cow::Borrowed(&home.origin), true));
        }
        let mut url = Url::parse(text).map_err(|e| invalid(format!("the URL is not one: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(invalid(
                "the URL must be absolute, http or https".to_owned(),
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("a URL must not carry a user".to_owned()));
        }
        let origin = url.origin();
        let home = self.home.as_ref().filter(|home| home.origin == origin);
        if home.is_none() && !self.grants.reaches(&origin) {
            return Err(HttpError::OriginNotGranted(origin.ascii_serialization()));
        }
        url.set_fragment(None);
        let uri: Uri = url
            .as_str()
            .parse()
            .map_err(|_| invalid("the URL cannot be requested".to_owned()))?;
        if let Some(home) = home {
            home.last_url.keep(text, &uri);
        }
        Ok((uri, Cow::Owned(origin), home.is_some()))
    }

    /// The field that says as whom a request to this origin is made.
    fn credential(
        &self,
        wanted: &Credential,
        origin: &Origin,
        at_home: bool,
    ) -> Result<Option<(HeaderName, HeaderValue)>, HttpError> {
        let refused = |why: &str| HttpError::CredentialRefused(why.to_owned());
        let token = match wanted {
            Credential::None => None,
            Credential::Secret(name) => {
                let secret = self.grants.secret(name);
                let secret = secret.filter(|secret| secret.origin == *origin).ok_or_else(|| {
                    refused("`secret`: no secret of this name is granted to this plugin for this origin")
                })?;
                return Ok(Some((secret.field.clone(), secret.value.clone())));
            }
            Credential::Other(kind) => {
                let kind = kind.escape_debug();
                return Err(refused(&format!("`{kind}`: not known to this gateway")));
            }
            _ if !at_home => {
                return Err(refused("tokens go to the backend that the call is about only"));
            }
            Credential::Caller | Credential::Technical if self.anonymous => None,
            Credential::Caller => Some(self.caller.as_ref().ok_or_else(|| {
                refused("`caller`: this call is not made for a user, or this backend is shown no tokens")
            })?),
            Credential::Technical => Some(self.technical.as_ref().ok_or_else(|| {
                refused(
                    "`technical`: only `discover` and `get-snapshot` may use it, and only towards backends that are shown tokens",
                )
            })?),
            Credential::LinkedAccount(id) => {
                let home = self.home.as_ref().filter(|home| home.backend.as_str() == id);
                home.ok_or_else(|| {
                    refused("`linked-account`: only the account at the backend that the call is about")
                })?;
                self.account.as_ref()
            }
        };
        token.map(bearer).transpose()
    }
}

/// RFC 6750 §2.1.
fn bearer(token: &Secret) -> Result<(HeaderName, HeaderValue), HttpError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
    let mut value = value.map_err(|_| {
        HttpError::CredentialRefused("the token cannot travel in a header".to_owned())
    })?;
    value.set_sensitive(true);
    Ok((http::header::AUTHORIZATION, value))
}

/// Why there is no answer, in the words of the contract.
pub(super) fn error(error: SendError) -> HttpError {
    match error {
        SendError::Timeout(ms) => HttpError::Timeout(ms),
        SendError::TooLarge(max) => HttpError::ResponseTooLarge(max as u64),
        SendError::Connection(reason) => HttpError::ConnectionFailed(reason.to_owned()),
    }
}

/// The header of an answer as a component sees it.
pub(super) fn header_fields(headers: &HeaderMap) -> Vec<Header> {
    let seen = headers
        .iter()
        .filter(|(name, _)| *name != http::header::SET_COOKIE);
    seen.filter_map(|(name, value)| {
        Some(Header {
            name: name.as_str().to_owned(),
            value: value.to_str().ok()?.to_owned(),
        })
    })
    .collect()
}

/// One header field that a component may set.
fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let shown = || {
        name.chars()
            .take(64)
            .collect::<String>()
            .escape_debug()
            .to_string()
    };
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{}` is not a header name", shown()))?;
    let lower = parsed.as_str();
    if OWNED_BY_HOST.contains(&lower) || lower.starts_with("proxy-") {
        return Err(format!("the header `{lower}` belongs to the host"));
    }
    let carried = value.len() <= MAX_VALUE
        && value
            .bytes()
            .all(|b| b == b'\t' || (0x20..0x7f).contains(&b));
    let value = HeaderValue::from_str(value).ok().filter(|_| carried);
    value.map(|value| (parsed, value)).ok_or_else(|| {
        format!(
            "the value of header `{}` cannot be carried by HTTP",
            shown()
        )
    })
}

#[cfg(test)]
mod tests;
