//! `CORTEX_TICKET_BACKENDS` and `CORTEX_TICKET_WEBHOOK_URL`.

use std::fmt;

use url::Url;

use super::backends::{self, BackendConfig};
use super::urls::is_trustworthy;
use super::vars::Vars;
use crate::types::BackendId;

/// Where tickets go.
#[derive(Clone, Debug)]
pub struct TicketConfig {
    /// Backends that keep their own tickets.
    pub backends: Vec<BackendId>,
    /// Where new blocking tickets are told, if anywhere.
    pub webhook: Option<WebhookUrl>,
}

/// A URL that is a secret itself: who knows its path may write there. Prints as its origin.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// The whole URL. Every use of this is a place to look at twice.
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

/// `configured`: all backends, those of other kinds included.
pub(super) fn read(vars: &mut Vars<'_>, configured: &[BackendConfig]) -> TicketConfig {
    const BACKENDS: &str = "CORTEX_TICKET_BACKENDS";
    let mut keepers: Vec<BackendId> = Vec::new();
    for text in vars.list(BACKENDS) {
        let Some(id) = backends::id(vars, BACKENDS, &text) else {
            continue;
        };
        match configured.iter().find(|backend| backend.id == id) {
            Some(backend) if backend.account.is_none() => {
                if !keepers.contains(&id) {
                    keepers.push(id);
                }
            }
            Some(_) => vars.wrong(
                BACKENDS,
                Some(&text),
                "expected backends of CORTEX_BACKENDS: a native MCP server keeps no tickets",
            ),
            None => vars.wrong(
                BACKENDS,
                Some(&text),
                "expected backends of CORTEX_BACKENDS that have a URL, separated by commas",
            ),
        }
    }
    TicketConfig {
        backends: keepers,
        webhook: webhook(vars),
    }
}

fn webhook(vars: &mut Vars<'_>) -> Option<WebhookUrl> {
    let text = vars.text("CORTEX_TICKET_WEBHOOK_URL")?;
    match Url::parse(&text) {
        Ok(url) if is_trustworthy(&url) && url.fragment().is_none() => Some(WebhookUrl(url)),
        // Not shown: its path or its user may be what opens the door.
        _ => {
            vars.wrong(
                "CORTEX_TICKET_WEBHOOK_URL",
                None,
                "expected an https URL, or http on this machine, without user and fragment",
            );
            None
        }
    }
}
