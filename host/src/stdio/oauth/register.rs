//! How the authorization server knows us: a given client id, or dynamic registration (RFC 7591).

use http::StatusCode;
use serde_json::{Value, json};
use thiserror::Error;

use super::discover::Server;
use super::fetch::{Http, HttpError};
use super::{Wishes, shown, token};
use crate::types::Secret;

/// Why there is no client id.
#[derive(Debug, Error)]
pub(in crate::stdio) enum RegisterError {
    /// Nobody gave one, and the server makes none.
    #[error(
        "`{0}` registers no clients by itself: give a client id that it knows, with --client-id"
    )]
    NotOffered(String),
    /// It refuses.
    #[error("the registration failed: {0}; give a client id with --client-id")]
    Refused(token::TokenError),
    /// It says yes, but not how.
    #[error("the registration's answer names no client id; give one with --client-id")]
    NoId,
    /// It cannot be asked.
    #[error("the registration failed: {0}")]
    Http(#[from] HttpError),
}

/// A client id and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) id: String,
    pub(super) secret: Option<Secret>,
    /// The secret goes into forms, and not into a header.
    pub(super) secret_in_form: bool,
    /// Where its redirects go, where that was registered.
    pub(super) redirect: Option<String>,
}

/// Gets client ids.
#[derive(Clone, Copy)]
pub(super) struct Registrar<'a> {
    pub(super) http: &'a Http,
    pub(super) server: &'a Server,
    pub(super) wishes: &'a Wishes,
}

impl Registrar<'_> {
    /// The client id that the user gave.
    pub(super) fn given(&self) -> Option<Registered> {
        Some(Registered {
            id: self.wishes.client_id.clone()?,
            secret: self.wishes.client_secret.clone(),
            secret_in_form: self.server.secret_in_form,
            redirect: None,
        })
    }

    /// A client for the device flow.
    pub(super) async fn for_device(
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
    pub(super) async fn register(
        &self,
        redirect: Option<&str>,
    ) -> Result<Registered, RegisterError> {
        let Some(endpoint) = &self.server.registration else {
            return Err(RegisterError::NotOffered(shown(&self.server.issuer)));
        };
        let mut asked = json!({
            "client_name": "Cortex Gateway (stdio)",
            "token_endpoint_auth_method": "none",
            "application_type": "native",
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
