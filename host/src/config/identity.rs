//! `CORTEX_SERVER_NAME`, `CORTEX_WEBSITE_URL`, `CORTEX_SERVER_CARD_NAME`: who the gateway says it is.

use url::Url;

use super::vars::Vars;

/// Longest name.
const MAX_NAME: usize = 200;

/// How the gateway introduces itself.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// MCP `serverInfo.name`.
    pub name: String,
    /// Where people read about it; the origin of its own URL unless it was told.
    pub website: String,
    /// Its name in the server card.
    pub card_name: String,
}

pub(super) fn read(vars: &mut Vars<'_>, canonical_uri: &Url) -> IdentityConfig {
    let name = name(vars, "CORTEX_SERVER_NAME").unwrap_or_else(|| "cortex-gateway".to_owned());
    IdentityConfig {
        website: website(vars).unwrap_or_else(|| canonical_uri.origin().ascii_serialization()),
        card_name: self::name(vars, "CORTEX_SERVER_CARD_NAME").unwrap_or_else(|| name.clone()),
        name,
    }
}

fn name(vars: &mut Vars<'_>, variable: &str) -> Option<String> {
    let text = vars.text(variable)?;
    if text.chars().count() > MAX_NAME || text.chars().any(char::is_control) {
        vars.wrong(
            variable,
            Some(&text),
            "expected a name of 200 characters at most, without control characters",
        );
        return None;
    }
    Some(text)
}

fn website(vars: &mut Vars<'_>) -> Option<String> {
    let text = vars.text("CORTEX_WEBSITE_URL")?;
    match Url::parse(&text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none() =>
        {
            Some(url.to_string())
        }
        _ => {
            // Everybody would see it, so it may hold no password; and the message must not, either.
            vars.wrong(
                "CORTEX_WEBSITE_URL",
                None,
                "expected an http or https URL without user and password, such as `https://www.example.com/tools`",
            );
            None
        }
    }
}
