//! `CORTEX_TECHNICAL_*`: what the gateway presents to backends to be told their catalogs.

use url::Url;

use super::oauth::OAuthConfig;
use super::urls::is_trustworthy;
use super::vars::Vars;
use crate::types::{ScopeSet, Secret};

/// What the gateway presents to backends.
#[derive(Clone, Debug)]
pub enum TechnicalConfig {
    /// Nothing.
    None,
    /// This token.
    Token(Secret),
    /// Tokens that it fetches by client credentials (RFC 6749 §4.4).
    Machine(MachineConfig),
}

/// How such tokens are fetched.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Who gives them out.
    pub issuer: String,
    /// Where, if that is not to be discovered.
    pub token_url: Option<Url>,
    /// The gateway's name there.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// Scopes to ask for.
    pub scope: Option<String>,
    /// The `resource` that the tokens are for (RFC 8707 §2).
    pub resource: Option<String>,
}

/// `needed`: there are backends that want to be shown something.
pub(super) fn read(
    vars: &mut Vars<'_>,
    oauth: Option<&OAuthConfig>,
    needed: bool,
) -> TechnicalConfig {
    let token = vars.secret("CORTEX_TECHNICAL_TOKEN");
    let id = vars.text("CORTEX_TECHNICAL_CLIENT_ID");
    match (token, id) {
        (Some(_), Some(_)) => {
            vars.wrong(
                "CORTEX_TECHNICAL_CLIENT_ID",
                None,
                "CORTEX_TECHNICAL_TOKEN is set, too: the gateway has one identity, unset the other",
            );
            TechnicalConfig::None
        }
        (Some(token), None) => TechnicalConfig::Token(token),
        (None, Some(id)) => machine(vars, oauth, id),
        (None, None) => {
            for name in ["SECRET", "SCOPE", "RESOURCE", "TOKEN_URL"] {
                let name = match name {
                    "SECRET" => "CORTEX_TECHNICAL_CLIENT_SECRET".to_owned(),
                    name => format!("CORTEX_TECHNICAL_{name}"),
                };
                if vars.text(&name).is_some() {
                    vars.note(format!(
                        "{name} is ignored: CORTEX_TECHNICAL_CLIENT_ID is not set"
                    ));
                }
            }
            if needed {
                vars.wrong(
                    "CORTEX_TECHNICAL_TOKEN",
                    None,
                    "required with CORTEX_BACKENDS: the token that backends accept for catalog methods \
                     (or CORTEX_TECHNICAL_CLIENT_ID and _SECRET, to fetch one)",
                );
            }
            TechnicalConfig::None
        }
    }
}

fn machine(vars: &mut Vars<'_>, oauth: Option<&OAuthConfig>, client_id: String) -> TechnicalConfig {
    let token_url = vars.text("CORTEX_TECHNICAL_TOKEN_URL");
    let token_url = token_url.and_then(|text| match Url::parse(&text) {
        Ok(url) if is_trustworthy(&url) && url.fragment().is_none() => Some(url),
        // Not shown: a URL with a user in it holds a password.
        _ => {
            vars.wrong(
                "CORTEX_TECHNICAL_TOKEN_URL",
                None,
                "expected an https URL (or http on this machine), without user",
            );
            None
        }
    });
    let issuer = oauth.map(|oauth| oauth.issuer.clone());
    if issuer.is_none() && token_url.is_none() {
        vars.wrong(
            "CORTEX_TECHNICAL_TOKEN_URL",
            None,
            "required with CORTEX_TECHNICAL_CLIENT_ID when there is no OAUTH_ISSUER to ask",
        );
    }
    let scope = vars.text("CORTEX_TECHNICAL_SCOPE");
    if let Some(scope) = &scope
        && scope.parse::<ScopeSet>().is_err()
    {
        vars.wrong(
            "CORTEX_TECHNICAL_SCOPE",
            Some(scope),
            "expected scopes separated by blanks",
        );
    }
    let Some(client_secret) = vars.secret("CORTEX_TECHNICAL_CLIENT_SECRET") else {
        vars.wrong(
            "CORTEX_TECHNICAL_CLIENT_SECRET",
            None,
            "required with CORTEX_TECHNICAL_CLIENT_ID",
        );
        return TechnicalConfig::None;
    };
    TechnicalConfig::Machine(MachineConfig {
        issuer: issuer.unwrap_or_default(),
        token_url,
        client_id,
        client_secret,
        scope,
        resource: vars.text("CORTEX_TECHNICAL_RESOURCE"),
    })
}
