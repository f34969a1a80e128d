//! Finds an issuer's keys and its token endpoint by its metadata (RFC 8414, OpenID Connect Discovery
//! 1.0).

use serde::Deserialize;
use thiserror::Error;
use tracing::debug;
use url::Url;

use super::fetch::{self, FetchError, shown};
use crate::outbound::Client;

/// Why something of an issuer cannot be found.
#[derive(Debug, Error)]
pub(super) enum DiscoveryError {
    /// RFC 8414 §3.3: such metadata must not be used.
    #[error(
        "the metadata of `{asked}` names the issuer `{named}`; hint: set OAUTH_ISSUER to exactly the issuer's own name"
    )]
    OtherIssuer { asked: String, named: String },
    /// What is looked for is nowhere that could be trusted.
    #[error("the metadata of `{asked}` names no usable `{wanted}`")]
    NotNamed { asked: String, wanted: &'static str },
    /// There is no metadata.
    #[error("`{0}` has no metadata")]
    NoMetadata(String),
    /// The issuer cannot be asked.
    #[error(transparent)]
    Unreachable(#[from] FetchError),
    /// The issuer is no URL to which anything can be appended.
    #[error("`{0}` is not a URL of an issuer")]
    NotAnIssuer(String),
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
    token_endpoint: Option<String>,
}

impl Metadata {
    fn jwks_uri(self) -> Option<String> {
        self.jwks_uri
    }

    fn token_endpoint(self) -> Option<String> {
        self.token_endpoint
    }
}

/// What is looked for: its name, and what the metadata say of it.
type Wanted = (&'static str, fn(Metadata) -> Option<String>);

/// Where the issuer says that its keys are; where they usually are if it has no metadata.
pub(super) async fn discover(client: &Client, issuer: &str) -> Result<Url, DiscoveryError> {
    let places = places(issuer).ok_or_else(|| DiscoveryError::NotAnIssuer(shown(issuer)))?;
    let wanted: Wanted = ("jwks_uri", Metadata::jwks_uri);
    let found = find(client, issuer, &places, wanted).await?;
    Ok(found.unwrap_or(places.keys))
}

/// Where the issuer says that it gives out tokens (RFC 6749 §3.2).
pub(super) async fn token_endpoint(client: &Client, issuer: &str) -> Result<Url, DiscoveryError> {
    let places = places(issuer).ok_or_else(|| DiscoveryError::NotAnIssuer(shown(issuer)))?;
    let wanted: Wanted = ("token_endpoint", Metadata::token_endpoint);
    let found = find(client, issuer, &places, wanted).await?;
    found.ok_or_else(|| DiscoveryError::NoMetadata(shown(issuer)))
}

/// Reads the metadata, where there are some.
async fn find(
    client: &Client,
    issuer: &str,
    places: &Places,
    wanted: Wanted,
) -> Result<Option<Url>, DiscoveryError> {
    let mut refused = None;
    for place in &places.metadata {
        let document = match fetch::document(client, place).await {
            Ok(document) => document,
            // It is not there: it may be at the next place.
            Err(error @ FetchError::Status { .. }) => {
                debug!(%error, "no metadata");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Ok(metadata) = serde_json::from_slice::<Metadata>(&document.body) else {
            debug!(url = %place, "no metadata: not the JSON it should be");
            continue;
        };
        match used(issuer, metadata, wanted) {
            Ok(found) => return Ok(Some(found)),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    // Metadata that was refused is not made up for by a guess.
    match refused {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

fn used(issuer: &str, metadata: Metadata, wanted: Wanted) -> Result<Url, DiscoveryError> {
    let (name, of) = wanted;
    if metadata.issuer != issuer {
        return Err(DiscoveryError::OtherIssuer {
            asked: shown(issuer),
            named: shown(&metadata.issuer),
        });
    }
    of(metadata)
        .and_then(|uri| Url::parse(&uri).ok())
        .filter(crate::config::is_trustworthy)
        .ok_or_else(|| DiscoveryError::NotNamed {
            asked: shown(issuer),
            wanted: name,
        })
}

/// Where metadata may be, as [`places`] has it.
pub(super) fn metadata_places(issuer: &str) -> Vec<Url> {
    places(issuer).map_or_else(Vec::new, |places| places.metadata)
}

struct Places {
    metadata: Vec<Url>,
    keys: Url,
}

/// Where metadata may be: with the well-known part before the issuer's path (RFC 8414 §3.1 and
/// §5), then after it (OpenID Connect Discovery 1.0 §4).
fn places(issuer: &str) -> Option<Places> {
    let base = Url::parse(issuer).ok()?;
    let path = base.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = base.clone();
        url.set_path(&path);
        url
    };
    let mut metadata = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        metadata.push(at(format!("{path}/.well-known/openid-configuration")));
    }
    let keys = at(format!("{path}/.well-known/jwks.json"));
    Some(Places { metadata, keys })
}

#[cfg(test)]
mod tests;
