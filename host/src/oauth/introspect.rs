//! Asks the issuer whether a token is still good (RFC 7662).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::{error, info, warn};
use url::form_urlencoded;

use crate::config::IntrospectionConfig;
use crate::measure::Counter;
use crate::outbound::Client;
use crate::types::Secret;

/// Longest exchange: a caller waits for it.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Largest answer.
const MAX_ANSWER: usize = 64 * 1024;
/// How long an endpoint that gave no answer, or refused to, is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// What the endpoint says of a token, or why it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is good.
    Active,
    /// It is not.
    Inactive,
    /// No answer, or none that means anything.
    Unanswered,
    /// The endpoint refuses to be asked by this gateway.
    Misconfigured,
}

/// The endpoint.
pub(super) struct Introspection {
    client: Client,
    config: IntrospectionConfig,
    authorization: Option<HeaderValue>,
    last: Mutex<Last>,
    asked: [Counter; STATES.len()],
}

/// What it may say, in words.
const STATES: [(State, &str); 4] = [
    (State::Active, "active"),
    (State::Inactive, "inactive"),
    (State::Unanswered, "unanswered"),
    (State::Misconfigured, "refused"),
];

/// How it went last time; what is wrong is said once.
struct Last {
    state: State,
    at: Option<Instant>,
}

impl Introspection {
    pub(super) fn new(client: Client, config: IntrospectionConfig) -> Self {
        let authorization = config
            .client
            .as_ref()
            .and_then(|(id, secret)| basic(id, secret));
        Self {
            client,
            config,
            authorization,
            last: Mutex::new(Last {
                state: State::Active,
                at: None,
            }),
            asked: Default::default(),
        }
    }

    /// For how long an answer holds. Without one the question is put again sooner.
    pub(super) fn holds(&self, state: State) -> Duration {
        let ttl = Duration::from_secs(self.config.ttl_seconds);
        match state {
            State::Active => ttl,
            _ => ttl.min(PAUSE),
        }
    }

    /// Whether a token passes that nothing was said of.
    pub(super) fn fails_open(&self) -> bool {
        self.config.fail_open
    }

    /// Asks for one token.
    pub(super) async fn ask(&self, token: &Secret) -> State {
        if let Some(state) = self.left_alone() {
            return state;
        }
        let (state, why) = self.exchange(token).await;
        let at = STATES.iter().position(|(known, _)| *known == state);
        if let Some(count) = at.and_then(|at| self.asked.get(at)) {
            count.one();
        }
        self.note(state, &why);
        state
    }

    /// How often it said what.
    pub(super) fn said(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = STATES.iter().zip(&self.asked);
        all.map(|((_, word), count)| (*word, count.get()))
    }

    /// Asks, whatever the last answer was; tells why there is none.
    pub(super) async fn exchange(&self, token: &Secret) -> (State, String) {
        #[derive(Deserialize)]
        struct Answer {
            active: bool,
        }
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token.reveal())
            .append_pair("token_type_hint", "access_token")
            .finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.config.url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Bytes::from(body));
        let mut request = match request {
            Ok(request) => request,
            Err(error) => return (State::Misconfigured, error.to_string()),
        };
        if let Some(authorization) = &self.authorization {
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let answer = match self.client.send(request, TIMEOUT, MAX_ANSWER).await {
            Ok(answer) => answer,
            Err(error) => return (State::Unanswered, error.to_string()),
        };
        match answer.status {
            StatusCode::OK => match serde_json::from_slice(&answer.body) {
                Ok(Answer { active: true }) => (State::Active, String::new()),
                Ok(Answer { active: false }) => (State::Inactive, String::new()),
                Err(_) => (
                    State::Unanswered,
                    "its answer is not what RFC 7662 §2.2 says".to_owned(),
                ),
            },
            status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                (State::Unanswered, format!("it answers {status}"))
            }
            status if status.is_server_error() => {
                (State::Unanswered, format!("it answers {status}"))
            }
            // It is there, and it is not to be asked like this.
            status => (State::Misconfigured, format!("it answers {status}")),
        }
    }

    /// What went wrong last time, if that is too fresh to try again.
    fn left_alone(&self) -> Option<State> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = matches!(last.state, State::Unanswered | State::Misconfigured);
        let fresh = last.at.is_some_and(|at| at.elapsed() < PAUSE);
        (wrong && fresh).then_some(last.state)
    }

    /// Remembers how it went and says what changed.
    fn note(&self, state: State, why: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Both are answers.
        let state = if state == State::Inactive {
            State::Active
        } else {
            state
        };
        let before = std::mem::replace(
            &mut *last,
            Last {
                state,
                at: Some(Instant::now()),
            },
        );
        drop(last);
        match (before.state, state) {
            (before, after) if before == after => {}
            (_, State::Active | State::Inactive) => info!("token introspection works again"),
            (_, State::Unanswered) if self.config.fail_open => warn!(
                "token introspection gives no answer: {why}; tokens pass without it; hint: \
                 OAUTH_INTROSPECT_FAIL=closed refuses them instead"
            ),
            (_, State::Unanswered) => error!(
                "token introspection gives no answer: {why}; callers are refused until it does"
            ),
            (_, State::Misconfigured) => error!(
                "token introspection refuses this gateway: {why}; callers are refused; hint: check \
                 OAUTH_INTROSPECT_URL, OAUTH_INTROSPECT_CLIENT_ID and OAUTH_INTROSPECT_CLIENT_SECRET"
            ),
        }
    }
}

/// Client credentials, each form-encoded first (RFC 6749 §2.3.1).
pub(super) fn basic(id: &str, secret: &Secret) -> Option<HeaderValue> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Secret::new(format!("{}:{}", encoded(id), encoded(secret.reveal())));
    let text = Secret::new(format!("Basic {}", STANDARD.encode(pair.reveal())));
    let mut value = HeaderValue::from_str(text.reveal()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
