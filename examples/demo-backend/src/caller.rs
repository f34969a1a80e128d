//! Who is calling. The bearer token decides; the `X-Cortex-*` headers only describe.
//!
//! A user's bearer is an access token, which `token.rs` verifies, with subject and scopes in its
//! claims. With the gateway's development bypass it is a shared secret instead, and the headers
//! carry the rest.

use std::fmt;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::token::Issuer;

/// A token: compared without telling by the time it takes, never printed.
#[derive(Clone)]
pub struct Secret(String);

/// The two kinds of caller that a contract backend knows.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// The gateway on its own behalf, for the catalog.
    Gateway,
    /// The gateway on behalf of a user.
    User(User),
}

/// A user, as the gateway describes them. A value the gateway does not know is empty; one
/// that HTTP cannot carry arrives percent-encoded, and is taken here as it comes.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) sub: String,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) pool: String,
    pub(crate) scopes: Vec<String>,
}

impl Secret {
    /// Takes the token's text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Compares every byte, whatever the first ones say.
    fn is(&self, other: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), other.as_bytes());
        let differences = ours.iter().zip(theirs).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(differences) == 0 && ours.len() == theirs.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Caller {
    /// Tells from the request's headers who is calling.
    pub(crate) async fn identify(
        headers: &HeaderMap,
        technical: &Secret,
        user: Option<&Secret>,
        issuer: Option<&Issuer>,
    ) -> Result<Self, Failure> {
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(Failure::TokenRefused("bearer token missing"))?;
        if technical.is(bearer) {
            Ok(Self::Gateway)
        } else if user.is_some_and(|secret| secret.is(bearer)) {
            Ok(Self::User(User::from_headers(headers)))
        } else if let Some(issuer) = issuer {
            Ok(Self::User(issuer.verify(bearer).await?))
        } else {
            Err(Failure::TokenRefused("token not accepted"))
        }
    }
}

impl User {
    fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Self {
            sub: text("x-cortex-user-id"),
            email: text("x-cortex-user-email"),
            role: text("x-cortex-user-role"),
            pool: text("x-cortex-user-pool"),
            scopes: text("x-cortex-scopes")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Fails unless the user's token carries this scope.
    pub(crate) fn need_scope(&self, scope: &'static str) -> Result<(), Failure> {
        if self.scopes.iter().any(|granted| granted == scope) {
            Ok(())
        } else {
            Err(Failure::ScopeMissing(scope))
        }
    }

    /// What tools may tell about their caller.
    pub(crate) fn summary(&self) -> Value {
        json!({"sub": self.sub, "role": self.role, "scopes": self.scopes})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn identify(authorization: &str) -> Result<Caller, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers.insert("x-cortex-scopes", " a  b ".parse().unwrap());
        Caller::identify(
            &headers,
            &Secret::new("tech".into()),
            Some(&Secret::new("user".into())),
            None,
        )
        .await
    }

    #[tokio::test]
    async fn the_bearer_decides() {
        assert!(matches!(identify("Bearer tech").await, Ok(Caller::Gateway)));
        assert!(matches!(identify("bearer user").await, Ok(Caller::User(_))));
        for refused in [
            "Bearer users",
            "Bearer use",
            "Bearer ",
            "Basic user",
            "user",
            "",
        ] {
            assert!(
                matches!(identify(refused).await, Err(Failure::TokenRefused(_))),
                "{refused}"
            );
        }
    }

    #[tokio::test]
    async fn scopes_are_words() {
        let Ok(Caller::User(user)) = identify("Bearer user").await else {
            panic!("a user")
        };
        assert_eq!(user.scopes, ["a", "b"]);
        assert_eq!(user.need_scope("a"), Ok(()));
        assert_eq!(user.need_scope("c"), Err(Failure::ScopeMissing("c")));
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("s3cret".into())), "[redacted]");
    }
}
