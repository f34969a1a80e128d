//! `WWW-Authenticate`: what a client has to do to get in (RFC 6750 §3, RFC 9728 §5.1).
//!
//! Everything in it is ours: descriptions repeat nothing of a token, and scopes are visible ASCII
//! without quotes by their type.

use crate::config::Config;
use crate::oauth::Invalid;
use crate::types::ScopeSet;

/// For a request without a token. It gets no error code (RFC 6750 §3.1).
pub(super) fn nothing_presented(config: &Config) -> String {
    challenge(config, None, base_scopes(config))
}

/// For a request that presents a token in a way that is none.
pub(super) fn invalid_request(config: &Config, why: &str) -> String {
    challenge(config, Some(("invalid_request", why)), None)
}

/// For a token that is not accepted.
pub(super) fn invalid_token(config: &Config, why: &Invalid) -> String {
    let why = why.to_string();
    challenge(config, Some(("invalid_token", &why)), base_scopes(config))
}

/// For a token that lacks scopes. Names all that the request needs, so that the next token does.
pub(super) fn insufficient_scope(config: &Config, required: &ScopeSet) -> String {
    let all = base_scopes(config).map_or_else(|| required.clone(), |base| base.union(required));
    challenge(config, Some(("insufficient_scope", "")), Some(&all))
}

/// Where the protected resource metadata is found (RFC 9728 §3).
fn metadata_url(config: &Config) -> String {
    format!(
        "{}/.well-known/oauth-protected-resource",
        config.canonical_uri.origin().ascii_serialization()
    )
}

/// The scopes that every token must have, if there are any.
fn base_scopes(config: &Config) -> Option<&ScopeSet> {
    let scopes = &config.oauth.as_ref()?.required_scopes;
    (!scopes.is_empty()).then_some(scopes)
}

fn challenge(config: &Config, error: Option<(&str, &str)>, scope: Option<&ScopeSet>) -> String {
    let mut params = Vec::new();
    if let Some((code, description)) = error {
        params.push(format!("error=\"{code}\""));
        if !description.is_empty() {
            params.push(format!("error_description=\"{description}\""));
        }
    }
    if let Some(scope) = scope {
        params.push(format!("scope=\"{scope}\""));
    }
    params.push(format!("resource_metadata=\"{}\"", metadata_url(config)));
    format!("Bearer {}", params.join(", "))
}
