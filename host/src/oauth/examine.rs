//! The issuer as an operator examines it: its keys, and whether introspection works, without a token of
//! anybody.

use url::Url;

use super::fetch;
use super::introspect::{Introspection, State};
use super::jwk::KeySet;
use super::metadata;
use crate::config::{IntrospectionConfig, OAuthConfig};
use crate::outbound::Client;
use crate::types::Secret;

/// The keys of an issuer.
pub struct IssuerKeys {
    /// How many it publishes.
    pub published: usize,
    /// How many of them may verify access tokens.
    pub usable: usize,
    /// For which algorithms.
    pub algorithms: Vec<&'static str>,
}

/// Fetches the issuer's keys.
///
/// # Errors
/// Why there are none, in words.
pub async fn issuer_keys(config: &OAuthConfig, client: Client) -> Result<IssuerKeys, String> {
    let url = match &config.jwks_url {
        Some(url) => url.clone(),
        None => {
            let found = metadata::discover(&client, &config.issuer).await;
            found.map_err(|error| error.to_string())?
        }
    };
    let document = fetch::document(&client, &url).await;
    let document = document.map_err(|error| error.to_string())?;
    let keys = KeySet::parse(&document.body).ok_or_else(|| {
        format!(
            "`{}` answers no JSON Web Key Set",
            fetch::shown(url.as_str())
        )
    })?;
    let whole: serde_json::Value = serde_json::from_slice(&document.body).unwrap_or_default();
    Ok(IssuerKeys {
        published: whole["keys"].as_array().map_or(0, Vec::len),
        usable: keys.len(),
        algorithms: keys.algorithms(),
    })
}

/// Where the metadata of an issuer may be, in the order in which they are looked for.
pub fn metadata_places(issuer: &str) -> Vec<Url> {
    metadata::metadata_places(issuer)
}

/// What an introspection endpoint says of a token that nobody has.
pub enum Introspected {
    /// That it is not good.
    Works,
    /// That it is good.
    Vouches,
    /// It does not let this gateway ask; why.
    Refuses(String),
    /// Nothing; why.
    Silent(String),
}

/// Asks for a token that nobody has.
pub async fn try_introspection(config: &IntrospectionConfig, client: Client) -> Introspected {
    let made_up = Secret::new("made-up-by-cortex-gateway-doctor".to_owned());
    let introspection = Introspection::new(client, config.clone());
    match introspection.exchange(&made_up).await {
        (State::Inactive, _) => Introspected::Works,
        (State::Active, _) => Introspected::Vouches,
        (State::Misconfigured, why) => Introspected::Refuses(why),
        (State::Unanswered, why) => Introspected::Silent(why),
    }
}
