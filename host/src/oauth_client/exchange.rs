//! A token of one's own for each backend (RFC 8693).

use url::Url;

use super::fetch::Http;
use super::register::Registered;
use super::token::{self, Answer, TokenError};
use crate::types::Secret;

/// What an exchanged token is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct For<'a> {
    /// RFC 8693 §2.1 `audience`.
    pub(crate) audience: Option<&'a str>,
    /// RFC 8693 §2.1 `resource`.
    pub(crate) resource: Option<&'a str>,
    /// RFC 8693 §2.1 `scope`.
    pub(crate) scope: Option<&'a str>,
}

/// Exchanges a user's access token.
///
/// # Errors
/// [`TokenError`].
pub(crate) async fn exchange(
    http: &Http,
    endpoint: &Url,
    client: &Registered,
    subject: &Secret,
    wanted: For<'_>,
) -> Result<Answer, TokenError> {
    const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
    let mut fields = vec![
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", subject.reveal()),
        ("subject_token_type", ACCESS_TOKEN),
        ("requested_token_type", ACCESS_TOKEN),
    ];
    let optional = [
        ("audience", wanted.audience),
        ("resource", wanted.resource),
        ("scope", wanted.scope),
    ];
    fields.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    token::post(http, endpoint, client, &fields).await
}
