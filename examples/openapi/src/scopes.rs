//! Which scopes a tool needs.

use cortex_plugin_sdk::prelude::*;

use crate::document::{Document, Object, get, list, object, shown, text};
use crate::settings::Settings;

/// Most scopes of one tool.
const MAX_SCOPES: usize = 20;

/// Those that the document names for the operation, where the operator believes it; else the one for all
/// that reads, or for all that does not. Never none.
pub(crate) fn of(
    target: &Target,
    settings: &Settings,
    document: &Document<'_>,
    operation: &Object<'_>,
    reads: bool,
) -> Result<Vec<String>, String> {
    if settings.scopes_of_operations() {
        let named = named(document, operation);
        if let Some(scope) = named.iter().find(|scope| !is_scope(scope)) {
            return Err(format!("`{}` is no OAuth scope", shown(scope)));
        }
        if named.len() > MAX_SCOPES {
            return Err(format!("it names more than {MAX_SCOPES} scopes"));
        }
        if !named.is_empty() {
            return Ok(named);
        }
    }
    Ok(vec![settings.scope(target, reads)])
}

/// The OAuth scopes of the first security requirement that has any. One of them is enough for the app.
fn named(document: &Document<'_>, operation: &Object<'_>) -> Vec<String> {
    let level = match get(operation, "security") {
        Some(_) => operation,
        None => &document.root,
    };
    let requirements = list(level, "security").into_iter();
    let mut named = requirements.map(|requirement| {
        let schemes = object(requirement, "it").unwrap_or_default().into_iter();
        let schemes = schemes.filter(|(scheme, _)| is_oauth(document, scheme));
        let scopes = schemes.map(|(_, raw)| serde_json::from_str::<Vec<String>>(raw.get()));
        scopes.flat_map(Result::unwrap_or_default).collect()
    });
    let named = named.find(|scopes: &Vec<String>| !scopes.is_empty());
    named.unwrap_or_default()
}

fn is_oauth(document: &Document<'_>, scheme: &str) -> bool {
    let found = document.component("securitySchemes", scheme);
    let found = found.and_then(|raw| document.object(raw, "it").ok());
    let kind = found.and_then(|members| text(&members, "type"));
    matches!(kind.as_deref(), Some("oauth2" | "openIdConnect"))
}

/// RFC 6749 §3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
fn is_scope(text: &str) -> bool {
    let is_allowed = |byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    !text.is_empty() && text.bytes().all(is_allowed)
}
