//! HTTP requests out of the gateway. Backend adapters and audit exporters only.
//!
//! An adapter reaches the origin of the backend it is working for; everybody reaches the origins that
//! the operator [granted](crate::Description::wants_http), and no others. Redirects are
//! not followed: the 3xx response is returned. Statuses are not errors either: whatever came
//! back is a [`Response`].
//!
//! ```
//! use cortex_plugin_sdk::prelude::*;
//!
//! fn search(target: &Target, call: &ToolCall) -> Result<Reply, CallError> {
//!     let response = http::Request::post(target.url("/search"))
//!         .json(call.arguments.as_str())
//!         .as_caller()
//!         .send()?;
//!     Ok(Reply::text(response.text().unwrap_or("(not text)")))
//! }
//! ```

use serde::de::DeserializeOwned;

use crate::backend::{CallError, code};
#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::http::{
    Incoming as HostIncoming, farewell as host_farewell, open as host_open, ready as host_ready,
    send as host_send,
};
#[cfg(not(target_family = "wasm"))]
use crate::testing::{
    FakeIncoming as HostIncoming, farewell as host_farewell, open as host_open,
    ready as host_ready, send as host_send,
};

pub use crate::bindings::cortex::gateway::http::{
    Credential, Header, HttpError, Request, Response,
};

impl Request {
    /// A request without credential and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            credential: Credential::None,
            timeout_ms: None,
        }
    }

    /// `GET` from an absolute URL; [`Target::url`](crate::backend::Target::url) makes one.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// `POST` to an absolute URL.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header field. The gateway refuses fields that are its own (`Host`, `Authorization`,
    /// `Cookie`, …) and values that are not visible ASCII, spaces and tabs.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// A body of any type.
    #[must_use]
    pub fn body(self, content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Some(body.into()),
            ..self.header("content-type", content_type)
        }
    }

    /// A body of JSON text.
    #[must_use]
    pub fn json(self, body: impl Into<String>) -> Self {
        self.body("application/json", body.into())
    }

    /// As whom: see the shorthands below.
    #[must_use]
    pub fn with_credential(self, credential: Credential) -> Self {
        Self { credential, ..self }
    }

    /// With the access token of the user whose call this is. Only inside a call made for a user.
    #[must_use]
    pub fn as_caller(self) -> Self {
        self.with_credential(Credential::Caller)
    }

    /// With the gateway's technical token. Only inside `discover` and `get_snapshot`.
    #[must_use]
    pub fn as_technical(self) -> Self {
        self.with_credential(Credential::Technical)
    }

    /// With the user's own account at the backend of this id, if one is linked.
    #[must_use]
    pub fn as_linked_account(self, provider: impl Into<String>) -> Self {
        self.with_credential(Credential::LinkedAccount(provider.into()))
    }

    /// With a secret that the operator granted by this name.
    #[must_use]
    pub fn with_secret(self, name: impl Into<String>) -> Self {
        self.with_credential(Credential::Secret(name.into()))
    }

    /// Gives up earlier than the backend's own time limit.
    #[must_use]
    pub fn timeout_ms(self, limit: u32) -> Self {
        Self {
            timeout_ms: Some(limit),
            ..self
        }
    }

    /// Sends the request and waits for the whole response.
    ///
    /// # Errors
    ///
    /// When there is no response. `?` turns it into a [`CallError`] of its own.
    pub fn send(self) -> Result<Response, HttpError> {
        host_send(&self)
    }

    /// Sends the request and waits for status and header of the response only: for bodies that
    /// are to be read while they come.
    ///
    /// # Errors
    ///
    /// When there is no response.
    pub fn open(self) -> Result<Incoming, HttpError> {
        let body = host_open(&self)?;
        Ok(Incoming {
            status: body.status(),
            headers: body.headers(),
            body,
        })
    }
}

/// Waits until one of these responses has something to read, its end or its failure, and tells which, by its
/// place in the list; of several the first.
///
/// # Errors
///
/// When none has in time.
pub fn ready(responses: &[&Incoming]) -> Result<usize, HttpError> {
    let bodies: Vec<&HostIncoming> = responses.iter().map(|one| &one.body).collect();
    host_ready(&bodies).map(|place| place as usize)
}

/// What to send should this call be given up before it returns: its client has gone, has called it off, or
/// it took too long. A later one takes the place of an earlier one; `None` takes it back.
///
/// # Errors
///
/// When it could not be sent.
pub fn farewell(request: Option<Request>) -> Result<(), HttpError> {
    host_farewell(request.as_ref())
}

/// A response whose body is still coming. Dropping it closes the exchange: so a backend learns
/// that nobody waits any more.
#[derive(Debug)]
pub struct Incoming {
    /// Status code, 200 to 599.
    pub status: u16,
    /// Header fields without `Set-Cookie`, names in lower case.
    pub headers: Vec<Header>,
    body: HostIncoming,
}

impl Incoming {
    /// A field by its name in lower case; the first of several.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Waits for the next piece of the body, as long as the backend's time limit allows; `None`
    /// when it is complete. Each [`progress::report`](crate::progress::report) begins that limit
    /// anew.
    ///
    /// # Errors
    ///
    /// When nothing more comes, or too much has.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        self.body.read(None)
    }

    /// Like [`read`](Self::read), and gives up after so many milliseconds.
    ///
    /// # Errors
    ///
    /// When nothing more comes, or too much has.
    pub fn read_within(&mut self, timeout_ms: u32) -> Result<Option<Vec<u8>>, HttpError> {
        self.body.read(Some(timeout_ms))
    }

    /// Waits for the rest of the body.
    ///
    /// # Errors
    ///
    /// When it does not come to its end.
    pub fn read_to_end(mut self) -> Result<Vec<u8>, HttpError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.read()? {
            if whole.is_empty() {
                whole = piece;
            } else {
                whole.extend_from_slice(&piece);
            }
        }
        Ok(whole)
    }
}

fn find<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name == name)?;
    Some(&header.value)
}

impl Response {
    /// A field by its name in lower case; the first of several.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body, if it is UTF-8. It is whenever `is_json` is true.
    pub fn text(&self) -> Option<&str> {
        str::from_utf8(&self.body).ok()
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    ///
    /// [`CallError::Failed`] when it is not JSON, or not the JSON that `T` asks for.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            CallError::failed(
                code::ERROR,
                format!(
                    "The backend's answer (HTTP {}) is not as expected: {error}",
                    self.status
                ),
            )
        })
    }
}

/// For adapters that have nothing better to say about their backend.
impl From<HttpError> for CallError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Timeout(limit) => {
                Self::failed(code::TIMEOUT, format!("Backend timed out after {limit}ms"))
            }
            HttpError::ConnectionFailed(_) => {
                Self::failed(code::UNAVAILABLE, "Backend is unavailable: no connection")
            }
            HttpError::ResponseTooLarge(limit) => Self::failed(
                code::ERROR,
                format!("Backend answered with more than {limit} bytes: ask for less"),
            ),
            HttpError::CredentialRefused(why) => {
                Self::failed(code::AUTH, format!("Backend was not called: {why}"))
            }
            HttpError::LimitExceeded(which) => Self::failed(
                code::ERROR,
                format!("Backend was not called: limit used up: {which}"),
            ),
            // These carry addresses or name what the adapter did wrong: nothing for a model.
            HttpError::OriginNotGranted(_) | HttpError::InvalidRequest(_) | HttpError::Other(_) => {
                Self::failed(
                    code::UNAVAILABLE,
                    "Backend is unavailable: the gateway refused to send the request",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_built_from_left_to_right() {
        let built = Request::post("http://docs.test/a")
            .header("x-one", "1")
            .json("{}")
            .as_caller()
            .timeout_ms(50);
        assert_eq!(
            built,
            Request {
                method: "POST".into(),
                url: "http://docs.test/a".into(),
                headers: vec![
                    Header {
                        name: "x-one".into(),
                        value: "1".into()
                    },
                    Header {
                        name: "content-type".into(),
                        value: "application/json".into()
                    },
                ],
                body: Some(b"{}".to_vec()),
                credential: Credential::Caller,
                timeout_ms: Some(50),
            }
        );
    }

    #[test]
    fn each_shorthand_names_one_credential() {
        let get = || Request::get("http://docs.test/");
        let check = |request: Request, expected: Credential| {
            assert_eq!(request.credential, expected);
        };
        check(get(), Credential::None);
        check(get().as_technical(), Credential::Technical);
        check(
            get().as_linked_account("github"),
            Credential::LinkedAccount("github".into()),
        );
        check(get().with_secret("key"), Credential::Secret("key".into()));
    }

    #[test]
    fn no_address_reaches_the_model() {
        for error in [
            HttpError::OriginNotGranted("http://10.0.0.1".into()),
            HttpError::InvalidRequest("url http://10.0.0.1".into()),
            HttpError::ConnectionFailed("10.0.0.1".into()),
            HttpError::Other("10.0.0.1".into()),
        ] {
            let said = format!("{:?}", CallError::from(error));
            assert!(said.contains(code::UNAVAILABLE), "{said}");
            assert!(!said.contains("10.0.0.1"), "{said}");
        }
    }

    #[test]
    fn a_body_that_is_not_as_expected_is_a_failure() {
        let response = crate::testing::response(200, r#"{"n":1}"#);
        assert_eq!(
            response.parse::<serde_json::Value>().map(|v| v["n"] == 1),
            Ok(true)
        );
        assert!(matches!(
            response.parse::<Vec<u8>>(),
            Err(CallError::Failed(_))
        ));
    }
}
