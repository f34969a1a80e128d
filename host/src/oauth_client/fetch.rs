//! Exchanges with authorization servers: only where tokens may travel, bounded, no redirects.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

use super::shown;
use crate::config::{is_loopback, is_trustworthy};
use crate::outbound::{Answer, Client, SendError};

/// Largest document.
const MAX_DOCUMENT: usize = 256 * 1024;
/// Longest exchange.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no document.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    /// Nothing secret may go there.
    #[error(
        "`{0}` is not to be trusted: it is not https, or a server elsewhere names this machine"
    )]
    Untrustworthy(String),
    /// No whole answer.
    #[error("`{url}` gives no answer: {why}")]
    NoAnswer {
        /// Whom was asked.
        url: String,
        /// Why.
        why: SendError,
    },
    /// Another status than one of success.
    #[error("`{url}` answers {status}")]
    Status {
        /// Whom was asked.
        url: String,
        /// What it says.
        status: StatusCode,
    },
    /// No JSON object.
    #[error("`{0}` does not answer with a JSON object")]
    NotJson(String),
}

/// A JSON answer, of success or not.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) json: Map<String, Value>,
}

/// Speaks to authorization servers on behalf of one MCP server.
pub(crate) struct Http {
    client: Client,
    /// The MCP server is on this machine, and so may be what it names.
    is_local: bool,
}

impl Http {
    pub(crate) fn new(client: Client, mcp: &Url) -> Self {
        Self::of(client, is_loopback(mcp))
    }

    /// `is_local`: whatever is asked may be on this machine.
    pub(crate) fn of(client: Client, is_local: bool) -> Self {
        Self { client, is_local }
    }

    /// A URL that others named, if anything may be sent there. A server elsewhere must not make us
    /// speak to this machine.
    pub(crate) fn trusted(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        (is_trustworthy(&url)
            && self.client.may_reach(&url)
            && (self.is_local || !is_loopback(&url)))
        .then_some(url)
    }

    /// Fetches a document.
    pub(crate) async fn get(&self, url: &Url) -> Result<Map<String, Value>, HttpError> {
        let request = Request::builder().method(Method::GET);
        let reply = self.send(url, request, Bytes::new()).await?;
        if reply.status != StatusCode::OK {
            let (url, status) = (shown(url.as_str()), reply.status);
            return Err(HttpError::Status { url, status });
        }
        Ok(reply.json)
    }

    /// Posts a form, with HTTP Basic authentication where that is given.
    pub(crate) async fn form(
        &self,
        url: &Url,
        form: String,
        basic: Option<HeaderValue>,
    ) -> Result<Reply, HttpError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(basic) = basic {
            request = request.header(AUTHORIZATION, basic);
        }
        self.send(url, request, form.into()).await
    }

    /// Posts JSON.
    pub(crate) async fn json(&self, url: &Url, json: &Value) -> Result<Reply, HttpError> {
        let request = Request::builder()
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/json");
        self.send(url, request, json.to_string().into()).await
    }

    /// Posts a form of whose answer only the status matters.
    pub(crate) async fn done(
        &self,
        url: &Url,
        form: String,
        basic: Option<HeaderValue>,
    ) -> Result<(), HttpError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(basic) = basic {
            request = request.header(AUTHORIZATION, basic);
        }
        let answer = self.exchange(url, request, form.into()).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(HttpError::Status {
            url: shown(url.as_str()),
            status: answer.status,
        })
    }

    async fn send(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Reply, HttpError> {
        let name = || shown(url.as_str());
        let answer = self.exchange(url, request, body).await?;
        match serde_json::from_slice(&answer.body) {
            Ok(json) => Ok(Reply {
                status: answer.status,
                json,
            }),
            Err(_) if answer.status.is_success() => Err(HttpError::NotJson(name())),
            Err(_) => Err(HttpError::Status {
                url: name(),
                status: answer.status,
            }),
        }
    }

    /// One exchange, whatever comes of it.
    pub(crate) async fn exchange(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Answer, HttpError> {
        let name = || shown(url.as_str());
        // This is the one place that all of them pass.
        if self.trusted(url.as_str()).is_none() {
            return Err(HttpError::Untrustworthy(name()));
        }
        let request = request
            .uri(url.as_str())
            .header(ACCEPT, "application/json")
            .body(body);
        let request = request.map_err(|_| HttpError::Untrustworthy(name()))?;
        let answer = self.client.send(request, TIMEOUT, MAX_DOCUMENT).await;
        answer.map_err(|why| HttpError::NoAnswer { url: name(), why })
    }
}
