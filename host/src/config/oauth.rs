//! `OAUTH_*`: whose tokens are accepted, and for what.

use url::Url;

use super::urls::is_trustworthy;
use super::vars::Vars;
use crate::types::{ScopeSet, Secret};

/// The authorization server, and what its tokens must say.
#[derive(Clone, Debug)]
pub struct OAuthConfig {
    /// The issuer, exactly as tokens and metadata must name it (RFC 8414 §2).
    pub issuer: String,
    /// A token must be for one of these (RFC 9068 §4).
    pub audiences: Vec<String>,
    /// Where the issuer's keys are, if that is not to be discovered.
    pub jwks_url: Option<Url>,
    /// Scopes that every token must have.
    pub required_scopes: ScopeSet,
    /// How revoked tokens are found out, if at all.
    pub introspection: Option<IntrospectionConfig>,
}

/// An introspection endpoint (RFC 7662).
#[derive(Clone, Debug)]
pub struct IntrospectionConfig {
    /// The endpoint.
    pub url: Url,
    /// Client id and secret of the gateway there.
    pub client: Option<(String, Secret)>,
    /// Seconds for which an answer holds.
    pub ttl_seconds: u64,
    /// Whether a token passes when the endpoint gives no answer.
    pub fail_open: bool,
}

/// Reads what tokens are checked against. `needed`: there is no other way to authenticate.
/// `resource`: the names under which this gateway is known, by which tokens may name it.
pub(super) fn read(vars: &mut Vars<'_>, needed: bool, resource: &[String]) -> Option<OAuthConfig> {
    const URL: &str = "expected an https URL (or http on this machine), without user";
    let issuer = issuer(vars);
    let jwks_url = url(vars, "OAUTH_JWKS_URL", URL);
    let required_scopes = scopes(vars);
    let introspection = introspection(vars, URL);
    let mut audiences: Vec<String> = vars.text("OAUTH_AUDIENCE").into_iter().collect();
    audiences.extend(resource.iter().cloned());
    audiences.dedup();
    match issuer {
        Some(issuer) => Some(OAuthConfig {
            issuer,
            audiences,
            jwks_url,
            required_scopes,
            introspection,
        }),
        None if needed && vars.text("OAUTH_ISSUER").is_none() => {
            vars.wrong(
                "OAUTH_ISSUER",
                None,
                "required: the authorization server whose tokens are accepted, such as \
                 `https://login.example.com` (on your own machine CORTEX_DEV_BYPASS_TOKEN can do instead)",
            );
            None
        }
        None => {
            for name in [
                "OAUTH_AUDIENCE",
                "OAUTH_JWKS_URL",
                "OAUTH_REQUIRED_SCOPES",
                "OAUTH_INTROSPECT_URL",
            ] {
                if vars.text("OAUTH_ISSUER").is_none() && vars.text(name).is_some() {
                    vars.note(format!("{name} is ignored: OAUTH_ISSUER is not set"));
                }
            }
            None
        }
    }
}

fn issuer(vars: &mut Vars<'_>) -> Option<String> {
    let text = vars.text("OAUTH_ISSUER")?;
    match Url::parse(&text) {
        Ok(url) if is_trustworthy(&url) && url.query().is_none() && url.fragment().is_none() => {
            Some(text)
        }
        parsed => {
            vars.wrong(
                "OAUTH_ISSUER",
                shown(&parsed, &text),
                "expected an https URL (or http on this machine), without user, query and fragment (RFC 8414 §2)",
            );
            None
        }
    }
}

fn url(vars: &mut Vars<'_>, name: &str, expected: &str) -> Option<Url> {
    let text = vars.text(name)?;
    match Url::parse(&text) {
        Ok(url) if is_trustworthy(&url) && url.fragment().is_none() => Some(url),
        parsed => {
            vars.wrong(name, shown(&parsed, &text), expected);
            None
        }
    }
}

/// What may be shown of a wrong URL: with a user in it, it holds a password.
fn shown<'t>(parsed: &Result<Url, url::ParseError>, text: &'t str) -> Option<&'t str> {
    let quiet = parsed.is_ok() && !text.contains('@');
    quiet.then_some(text)
}

fn scopes(vars: &mut Vars<'_>) -> ScopeSet {
    let text = vars.text("OAUTH_REQUIRED_SCOPES").unwrap_or_default();
    text.parse().unwrap_or_else(|_| {
        vars.wrong(
            "OAUTH_REQUIRED_SCOPES",
            Some(&text),
            "expected scopes separated by blanks",
        );
        ScopeSet::default()
    })
}

fn introspection(vars: &mut Vars<'_>, expected: &str) -> Option<IntrospectionConfig> {
    let (id, secret) = (
        vars.text("OAUTH_INTROSPECT_CLIENT_ID"),
        vars.secret("OAUTH_INTROSPECT_CLIENT_SECRET"),
    );
    let client = match (id, secret) {
        (Some(id), Some(secret)) => Some((id, secret)),
        (None, None) => None,
        (id, _) => {
            let (missing, set) = match id {
                Some(_) => (
                    "OAUTH_INTROSPECT_CLIENT_SECRET",
                    "OAUTH_INTROSPECT_CLIENT_ID",
                ),
                None => (
                    "OAUTH_INTROSPECT_CLIENT_ID",
                    "OAUTH_INTROSPECT_CLIENT_SECRET",
                ),
            };
            vars.wrong(missing, None, &format!("required with {set}"));
            None
        }
    };
    let ttl_seconds = vars.number("OAUTH_INTROSPECT_CACHE_TTL_SECONDS", 60, 0..=3_600);
    let fail_open = vars.choice(
        "OAUTH_INTROSPECT_FAIL",
        &[("open", true), ("closed", false)],
        true,
    );
    let url = url(vars, "OAUTH_INTROSPECT_URL", expected)?;
    Some(IntrospectionConfig {
        url,
        client,
        ttl_seconds,
        fail_open,
    })
}
