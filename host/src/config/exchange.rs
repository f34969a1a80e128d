//! `CORTEX_EXCHANGE_*`, and the parts of `CORTEX_BACKEND_<ID>_*` that are about exchanged tokens
//! (RFC 8693).

use url::Url;

use super::accounts::{self, StaticClient};
use super::technical::TechnicalConfig;
use super::urls::is_trustworthy;
use super::vars::Vars;

/// As whom, and where, tokens are exchanged.
#[derive(Clone, Debug)]
pub struct ExchangeConfig {
    /// Whose tokens.
    pub issuer: String,
    /// Where, if that is not to be discovered.
    pub token_url: Option<Url>,
    /// The gateway's name there.
    pub client: StaticClient,
}

/// What the tokens of one backend are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeTarget {
    /// Its name at the authorization server.
    pub audience: Option<String>,
    /// Its URI.
    pub resource: String,
    /// Scopes to ask for; `None`: those of the exchanged token.
    pub scope: Option<String>,
}

/// What the tokens of a backend at `url` are for.
pub(super) fn target(vars: &Vars<'_>, url: &Url, named: &dyn Fn(&str) -> String) -> ExchangeTarget {
    let resource = vars.text(&named("RESOURCE"));
    ExchangeTarget {
        audience: vars.text(&named("AUDIENCE")),
        resource: resource.unwrap_or_else(|| url.as_str().trim_end_matches('/').to_owned()),
        scope: vars.text(&named("EXCHANGE_SCOPE")),
    }
}

/// `needed`: a backend wants exchanged tokens.
pub(super) fn read(
    vars: &mut Vars<'_>,
    issuer: Option<&str>,
    technical: &TechnicalConfig,
    needed: bool,
) -> Option<ExchangeConfig> {
    let client = accounts::client(
        vars,
        "CORTEX_EXCHANGE_CLIENT_ID",
        "CORTEX_EXCHANGE_CLIENT_SECRET",
    );
    let machine = match technical {
        TechnicalConfig::Machine(machine) => Some(StaticClient {
            id: machine.client_id.clone(),
            secret: Some(machine.client_secret.clone()),
        }),
        _ => None,
    };
    let client = client.or(machine);
    let token_url = vars.text("CORTEX_EXCHANGE_TOKEN_URL");
    let token_url = token_url.and_then(|text| match Url::parse(&text) {
        Ok(url) if is_trustworthy(&url) && url.fragment().is_none() => Some(url),
        // Not shown: a URL with a user in it holds a password.
        _ => {
            vars.wrong(
                "CORTEX_EXCHANGE_TOKEN_URL",
                None,
                "expected an https URL (or http on this machine), without user",
            );
            None
        }
    });
    if !needed {
        return None;
    }
    if client.is_none() {
        vars.wrong(
            "CORTEX_EXCHANGE_CLIENT_ID",
            None,
            "required with a backend whose _TOKEN is `exchange`, with CORTEX_EXCHANGE_CLIENT_SECRET \
             (or CORTEX_TECHNICAL_CLIENT_ID and _SECRET): as whom tokens are exchanged",
        );
    }
    if issuer.is_none() {
        vars.wrong(
            "OAUTH_ISSUER",
            None,
            "required with a backend whose _TOKEN is `exchange`: whose tokens are exchanged",
        );
    }
    Some(ExchangeConfig {
        issuer: issuer?.to_owned(),
        token_url,
        client: client?,
    })
}
