//! The token endpoint (RFC 6749 §3.2, §5, §6; RFC 8707 §2.2).

use http::StatusCode;
use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

use super::discover::Place;
use super::fetch::{Http, HttpError, Reply};
use super::pkce::NoRandomness;
use super::register::Registered;
use super::{form, seconds_now, shown};
use crate::types::{Scope, ScopeSet, Secret};

/// Why there is no token.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    /// The server says no (RFC 6749 §5.2).
    #[error("the authorization server says `{code}`")]
    Refused {
        /// The error code. What it says besides may say back what it was sent, or name a user.
        code: String,
    },
    /// It says yes, but not how.
    #[error("the authorization server's answer cannot be used: {0}")]
    Unusable(&'static str),
    /// It cannot be asked.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// This machine fails.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl TokenError {
    /// Whether asking again the same way is no use: the user has to log in.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { code, .. }
            if matches!(code.as_str(), "invalid_grant" | "invalid_client" | "unauthorized_client" | "invalid_scope"))
    }

    /// The server's error code.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// What the user granted.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) access: Secret,
    pub(crate) refresh: Option<Secret>,
    /// Seconds since 1970.
    pub(crate) expires_at: Option<u64>,
    pub(crate) scopes: ScopeSet,
}

impl Grant {
    /// Whether the access token lives this many seconds more, as far as is known.
    pub(crate) fn lives_for(&self, seconds: u64) -> bool {
        self.expires_at
            .is_none_or(|end| end > seconds_now().saturating_add(seconds))
    }
}

/// A good answer of the token endpoint.
#[derive(Debug)]
pub(crate) struct Answer {
    access: Secret,
    refresh: Option<Secret>,
    expires_at: Option<u64>,
    scopes: Option<ScopeSet>,
}

impl Answer {
    /// The access token alone.
    pub(crate) fn into_access(self) -> Secret {
        self.access
    }

    /// For how many seconds it is good, if that was said.
    pub(crate) fn seconds_left(&self) -> Option<u64> {
        Some(self.expires_at?.saturating_sub(seconds_now()))
    }

    /// The grant; without words on scopes it has those that were asked for (RFC 6749 §5.1).
    pub(crate) fn asked(self, asked: &ScopeSet) -> Grant {
        Grant {
            access: self.access,
            refresh: self.refresh,
            expires_at: self.expires_at,
            scopes: self.scopes.unwrap_or_else(|| asked.clone()),
        }
    }

    /// The grant after a refresh; what is not said stays as it was (RFC 6749 §6).
    pub(crate) fn after(self, old: &Grant) -> Grant {
        Grant {
            refresh: self.refresh.clone().or_else(|| old.refresh.clone()),
            ..self.asked(&old.scopes)
        }
    }
}

/// Redeems an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5).
pub(crate) async fn redeem(
    http: &Http,
    place: &Place,
    client: &Registered,
    code: &Secret,
    redirect: &str,
    verifier: &str,
) -> Result<Answer, TokenError> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.reveal()),
        ("redirect_uri", redirect),
        ("code_verifier", verifier),
    ];
    ask(http, place, client, &fields).await
}

/// Presents a refresh token.
pub(crate) async fn refresh(
    http: &Http,
    place: &Place,
    client: &Registered,
    token: &Secret,
) -> Result<Answer, TokenError> {
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.reveal()),
    ];
    ask(http, place, client, &fields).await
}

/// Asks the token endpoint; adds the resource.
pub(crate) async fn ask(
    http: &Http,
    place: &Place,
    client: &Registered,
    fields: &[(&str, &str)],
) -> Result<Answer, TokenError> {
    let mut fields = fields.to_vec();
    fields.push(("resource", &place.resource));
    post(http, &place.server.token, client, &fields).await
}

/// Asks a token endpoint just this.
pub(crate) async fn post(
    http: &Http,
    endpoint: &Url,
    client: &Registered,
    fields: &[(&str, &str)],
) -> Result<Answer, TokenError> {
    let form = form::of(client, fields);
    read(&http.form(endpoint, form.body, form.basic).await?)
}

fn read(reply: &Reply) -> Result<Answer, TokenError> {
    if reply.status != StatusCode::OK {
        return Err(refused(reply));
    }
    let text = |name: &str| {
        reply
            .json
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let bearer = text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    if !bearer {
        return Err(TokenError::Unusable("it gives no token of the type Bearer"));
    }
    let access = text("access_token").ok_or(TokenError::Unusable("it gives no access token"))?;
    if !access.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(TokenError::Unusable(
            "its access token is none that a header could hold",
        ));
    }
    let scopes = text("scope").map(|text| {
        text.split(' ')
            .filter_map(|scope| scope.parse::<Scope>().ok())
            .collect()
    });
    Ok(Answer {
        access: Secret::new(access.to_owned()),
        refresh: text("refresh_token").map(|token| Secret::new(token.to_owned())),
        expires_at: lifetime(&reply.json).map(|seconds| seconds_now().saturating_add(seconds)),
        scopes,
    })
}

/// `expires_in`, which some write as text.
fn lifetime(json: &Map<String, Value>) -> Option<u64> {
    let value = json.get("expires_in")?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// An error response (RFC 6749 §5.2).
pub(crate) fn refused(reply: &Reply) -> TokenError {
    let text = |name: &str| reply.json.get(name).and_then(Value::as_str).map(shown);
    TokenError::Refused {
        code: text("error").unwrap_or_else(|| reply.status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, json: Value) -> Result<Answer, TokenError> {
        let Value::Object(json) = json else {
            panic!("an object")
        };
        let status = StatusCode::from_u16(status).expect("a status");
        read(&Reply { status, json })
    }

    #[test]
    fn what_is_not_said_stays() {
        let asked: ScopeSet = "a b".parse().expect("scopes");
        let first = answer(
            200,
            json!({ "access_token": "one", "token_type": "bearer", "refresh_token": "r1", "expires_in": "600" }),
        );
        let first = first.expect("good").asked(&asked);
        assert!(first.lives_for(500) && !first.lives_for(700));
        assert_eq!(first.scopes, asked);

        let second = answer(
            200,
            json!({ "access_token": "two", "token_type": "Bearer", "scope": "a" }),
        )
        .expect("good")
        .after(&first);
        assert_eq!(second.refresh.as_ref().map(Secret::reveal), Some("r1"));
        assert_eq!(second.scopes.to_string(), "a");
        assert!(second.lives_for(1_000_000));

        let third = answer(
            200,
            json!({ "access_token": "3", "token_type": "Bearer", "refresh_token": "r2" }),
        );
        assert_eq!(
            third
                .expect("good")
                .after(&second)
                .refresh
                .as_ref()
                .map(Secret::reveal),
            Some("r2")
        );
    }

    #[test]
    fn bad_answers_are_told() {
        for (json, expected) in [
            (json!({ "access_token": "x" }), "Bearer"),
            (
                json!({ "access_token": "x", "token_type": "DPoP" }),
                "Bearer",
            ),
            (json!({ "token_type": "Bearer" }), "no access token"),
            (
                json!({ "access_token": "a\r\nb", "token_type": "Bearer" }),
                "header",
            ),
        ] {
            let error = answer(200, json).expect_err("bad").to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = answer(
            400,
            json!({ "error": "invalid_grant", "error_description": "<x>\n" }),
        )
        .expect_err("bad");
        assert!(error.is_final() && error.code() == Some("invalid_grant"));
        assert!(!error.to_string().contains("<x>"));
        assert!(
            !answer(400, json!({ "error": "temporarily_unavailable" }))
                .expect_err("bad")
                .is_final()
        );
    }
}
