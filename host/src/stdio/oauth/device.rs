//! The device flow (RFC 8628): the user enters a short code in a browser anywhere.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use thiserror::Error;

use crate::oauth_client::discover::Place;
use crate::oauth_client::fetch::{Http, HttpError};
use crate::oauth_client::register::Registered;
use crate::oauth_client::token::{self, Grant, TokenError};
use crate::oauth_client::{form, shown};
use crate::types::ScopeSet;

/// Wait between two questions, if the server names none (§3.2).
const INTERVAL: u64 = 5;
/// Longest that the user may take, whatever the server says.
const PATIENCE: u64 = 30 * 60;

/// Why the device flow failed.
#[derive(Debug, Error)]
pub(in crate::stdio) enum DeviceError {
    /// The server has none.
    #[error("the authorization server has no device flow")]
    NotOffered,
    /// It refuses to begin.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It begins, but does not say how to go on.
    #[error("the authorization server's answer lacks `{0}`")]
    Incomplete(&'static str),
    /// The user did not come.
    #[error("nobody entered the code in time")]
    TooLate,
    /// It cannot be asked.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Shows the user where to enter which code, and waits.
pub(super) async fn log_in(
    http: &Http,
    place: &Place,
    client: &Registered,
    scopes: &ScopeSet,
) -> Result<Grant, DeviceError> {
    let endpoint = place
        .server
        .device
        .as_ref()
        .ok_or(DeviceError::NotOffered)?;
    let scope = scopes.to_string();
    let mut fields = vec![("resource", place.resource.as_str())];
    if !scopes.is_empty() {
        fields.push(("scope", &scope));
    }
    let form = form::of(client, &fields);
    let reply = http.form(endpoint, form.body, form.basic).await?;
    if reply.status != StatusCode::OK {
        return Err(token::refused(&reply).into());
    }
    let text = |name: &'static str| {
        let text = reply.json.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
            .ok_or(DeviceError::Incomplete(name))
    };
    let number = |name: &str| reply.json.get(name).and_then(Value::as_u64);
    let device_code = text("device_code")?;
    let lives = number("expires_in")
        .ok_or(DeviceError::Incomplete("expires_in"))?
        .min(PATIENCE);
    // For a person, and so not as a log line; and not for the terminal to obey.
    let (uri, code) = (shown(text("verification_uri")?), shown(text("user_code")?));
    eprintln!("To log in, open {uri} in any browser and enter the code {code}");
    if let Ok(complete) = text("verification_uri_complete") {
        eprintln!("or open {}", shown(complete));
    }
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device_code),
    ];
    let mut interval = Duration::from_secs(number("interval").unwrap_or(INTERVAL).clamp(1, 60));
    let asking = async {
        loop {
            tokio::time::sleep(interval).await;
            match token::ask(http, place, client, &fields).await {
                Ok(answer) => return Ok(answer.asked(scopes)),
                Err(error) => match error.code() {
                    Some("authorization_pending") => {}
                    Some("slow_down") => interval += Duration::from_secs(5),
                    Some("expired_token") => return Err(DeviceError::TooLate),
                    Some(_) => return Err(error.into()),
                    // No answer: ask less often (§3.5).
                    None if matches!(error, TokenError::Http(HttpError::NoAnswer { .. })) => {
                        interval *= 2
                    }
                    None => return Err(error.into()),
                },
            }
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(lives), asking).await;
    asked.unwrap_or(Err(DeviceError::TooLate))
}
