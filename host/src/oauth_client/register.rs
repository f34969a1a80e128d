//! How the authorization server knows us: a given client id, or dynamic registration (RFC 7591).

use http::StatusCode;
use serde_json::{Value, json};
use thiserror::Error;

use super::discover::Server;
use super::fetch::{Http, HttpError};
use super::{shown, token};
use crate::types::Secret;

/// Why there is no client id.
#[derive(Debug, Error)]
pub(crate) enum RegisterError {
    /// Nobody gave one, and the server makes none.
    #[error("`{0}` registers no clients by itself, and no client id is given that it knows")]
    NotOffered(String),
    /// It refuses.
    #[error("the registration failed: {0}")]
    Refused(token::TokenError),
    /// It says yes, but not how.
    #[error("the registration's answer names no client id")]
    NoId,
    /// It cannot be asked.
    #[error("the registration failed: {0}")]
    Http(#[from] HttpError),
}

/// A client id and what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) secret: Option<Secret>,
    /// The secret goes into forms, and not into a header.
    pub(crate) secret_in_form: bool,
    /// Where its redirects go, where that was registered.
    pub(crate) redirect: Option<String>,
}

/// Gets client ids.
#[derive(Clone, Copy)]
pub(crate) struct Registrar<'a> {
    pub(crate) http: &'a Http,
    pub(crate) server: &'a Server,
    /// A client id that the authorization server knows.
    pub(crate) given: Option<(&'a str, Option<&'a Secret>)>,
    /// How we introduce ourselves where we are not known.
    pub(crate) about: About<'a>,
}

/// What a client says of itself (RFC 7591 §2).
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) name: &'a str,
    /// `native` or `web` (OpenID Connect Dynamic Client Registration 1.0 §2).
    pub(crate) kind: &'a str,
}

impl Registrar<'_> {
    /// The client id that was given.
    pub(crate) fn given(&self) -> Option<Registered> {
        let (id, secret) = self.given?;
        Some(Registered {
            id: id.to_owned(),
            secret: secret.cloned(),
            secret_in_form: self.server.secret_in_form,
            redirect: None,
        })
    }

    /// A client for the device flow.
    pub(crate) async fn for_device(
        &self,
        known: Option<Registered>,
    ) -> Result<Registered, RegisterError> {
        // One that was registered for redirects may not use this flow.
        match self
            .given()
            .or_else(|| known.filter(|client| client.redirect.is_none()))
        {
            Some(client) => Ok(client),
            None => self.register(None).await,
        }
    }

    /// Registers a client with this redirect, or without one for the device flow.
    pub(crate) async fn register(
        &self,
        redirect: Option<&str>,
    ) -> Result<Registered, RegisterError> {
        let Some(endpoint) = &self.server.registration else {
            return Err(RegisterError::NotOffered(shown(&self.server.issuer)));
        };
        let mut asked = json!({
            "client_name": self.about.name,
            "token_endpoint_auth_method": "none",
            "application_type": self.about.kind,
        });
        match redirect {
            Some(redirect) => {
                asked["redirect_uris"] = json!([redirect]);
                asked["grant_types"] = json!(["authorization_code", "refresh_token"]);
                asked["response_types"] = json!(["code"]);
            }
            None => {
                asked["redirect_uris"] = json!([]);
                asked["response_types"] = json!([]);
                asked["grant_types"] = json!([
                    "urn:ietf:params:oauth:grant-type:device_code",
                    "refresh_token"
                ]);
            }
        }
        let reply = self.http.json(endpoint, &asked).await?;
        if !matches!(reply.status, StatusCode::CREATED | StatusCode::OK) {
            return Err(RegisterError::Refused(token::refused(&reply)));
        }
        let text = |name: &str| {
            reply
                .json
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        Ok(Registered {
            id: text("client_id").ok_or(RegisterError::NoId)?.to_owned(),
            secret: text("client_secret").map(|secret| Secret::new(secret.to_owned())),
            secret_in_form: match text("token_endpoint_auth_method") {
                Some(method) => method == "client_secret_post",
                None => self.server.secret_in_form,
            },
            redirect: redirect.map(str::to_owned),
        })
    }
}
