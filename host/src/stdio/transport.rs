//! Exchanges with the MCP endpoint, each with the credential of the moment.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use thiserror::Error;
use url::Url;

use super::access::{Access, AccessError, Next};
use super::oauth::Challenge;
use crate::outbound::{Client, SendError};
use crate::types::Secret;

/// How often one exchange is tried again with another token after 401.
const NEW_TOKENS: u32 = 2;
/// How often one exchange is tried again with more scopes after 403.
const STEP_UPS: u32 = 2;

/// Header fields of one request.
pub(super) type Fields = Vec<(HeaderName, HeaderValue)>;

/// Why there is no answer. The text goes to the client.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// Nobody is there, or the connection broke.
    #[error(
        "the MCP server at {url} cannot be reached ({why}): check that it runs and that the URL is right, then try again"
    )]
    Unreachable {
        /// Its URL.
        url: Url,
        /// Why.
        #[source]
        why: SendError,
    },
    /// There is no way in.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A header cannot be made.
    #[error("the request cannot be sent: {0}")]
    Request(#[from] http::Error),
}

/// The way to one MCP endpoint.
pub(super) struct Transport {
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) access: Access,
}

impl Transport {
    /// `POST`s one message.
    pub(super) async fn post(
        &self,
        body: &Bytes,
        fields: &Fields,
    ) -> Result<Response<Incoming>, Trouble> {
        self.send(&Method::POST, body, fields).await
    }

    /// Opens the stream of what the server says by itself.
    pub(super) async fn get(&self, fields: &Fields) -> Result<Response<Incoming>, Trouble> {
        self.send(&Method::GET, &Bytes::new(), fields).await
    }

    /// Ends a session. Without a second try: it ends by itself in the end.
    pub(super) async fn delete(&self, fields: &Fields) -> Result<Response<Incoming>, Trouble> {
        let token = self.access.token().await?;
        self.once(&Method::DELETE, &Bytes::new(), fields, token.as_ref())
            .await
    }

    async fn send(
        &self,
        method: &Method,
        body: &Bytes,
        fields: &Fields,
    ) -> Result<Response<Incoming>, Trouble> {
        let (mut tokens, mut step_ups) = (0, 0);
        loop {
            let token = self.access.token().await?;
            let answer = self.once(method, body, fields, token.as_ref()).await?;
            let next = match answer.status() {
                StatusCode::UNAUTHORIZED if tokens < NEW_TOKENS => {
                    tokens += 1;
                    let challenge = Challenge::read(answer.headers());
                    self.access.unauthorized(token.as_ref(), challenge).await?
                }
                StatusCode::FORBIDDEN if step_ups < STEP_UPS => {
                    let challenge = Challenge::read(answer.headers());
                    if challenge.is_insufficient_scope() {
                        step_ups += 1;
                        self.access.insufficient(token.as_ref(), challenge).await?
                    } else {
                        Next::GiveUp
                    }
                }
                _ => Next::GiveUp,
            };
            if next == Next::GiveUp {
                return Ok(answer);
            }
        }
    }

    async fn once(
        &self,
        method: &Method,
        body: &Bytes,
        fields: &Fields,
        token: Option<&Secret>,
    ) -> Result<Response<Incoming>, Trouble> {
        let accept = match *method {
            Method::GET => "text/event-stream",
            _ => "application/json, text/event-stream",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(self.url.as_str())
            .header(ACCEPT, accept);
        if *method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, bearer(token)?);
        }
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let request = request.body(body.clone())?;
        let sent = self.client.begin(request).await;
        let (head, body) = sent.map_err(|why| Trouble::Unreachable {
            url: self.url.clone(),
            why,
        })?;
        Ok(Response::from_parts(head, body))
    }
}

/// RFC 6750 §2.1.
fn bearer(token: &Secret) -> Result<HeaderValue, http::Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal()))?;
    value.set_sensitive(true);
    Ok(value)
}
