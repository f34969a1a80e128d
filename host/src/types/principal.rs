//! Who is calling.

use std::fmt;
use std::sync::Arc;

use super::ScopeSet;

/// A token's `sub` (RFC 9068 §2.2): unique together with the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

/// A token's `iss`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer(Arc<str>);

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// From a verified claim.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text_newtype!(Subject);
text_newtype!(Issuer);

/// An authenticated caller: what a verified token says, without the token.
#[derive(Clone, Debug)]
pub struct Principal {
    /// `sub`.
    pub subject: Subject,
    /// `iss`.
    pub issuer: Issuer,
    /// `client_id` or `azp`.
    pub client_id: Option<String>,
    /// `email`.
    pub email: Option<String>,
    /// `name`.
    pub name: Option<String>,
    /// `metadata.role`.
    pub role: Option<String>,
    /// `pool`.
    pub pool: Option<String>,
    /// Granted scopes.
    pub scopes: ScopeSet,
    /// Whether this is the dev bypass and not a token.
    pub dev_bypass: bool,
}

#[cfg(test)]
impl Principal {
    /// Somebody of whom no more is known than who it is.
    pub(crate) fn known_by(issuer: &str, subject: &str) -> Self {
        Self {
            subject: Subject::new(subject),
            issuer: Issuer::new(issuer),
            client_id: None,
            email: None,
            name: None,
            role: None,
            pool: None,
            scopes: ScopeSet::default(),
            dev_bypass: false,
        }
    }
}
