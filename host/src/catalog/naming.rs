//! Public names of tools: `<backend>_<tool>`, within what MCP clients accept.

use sha2::{Digest, Sha256};

use crate::types::BackendId;

/// Longest public name.
const MAX: usize = 64;
/// Hexadecimal digits that tell aliases apart.
const DIGITS: usize = 8;

/// The public name of a backend's tool. A name that is too long, or that has characters other
/// than `A-Za-z0-9_.-`, gets an alias that is the same on every start.
pub(super) fn public_name(backend: &BackendId, own: &str) -> String {
    let plain = format!("{backend}_{own}");
    let accepted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if plain.len() <= MAX && !own.is_empty() && plain.chars().all(accepted) {
        return plain;
    }
    let digest = Sha256::digest(plain.as_bytes());
    let digits: String = digest
        .iter()
        .take(DIGITS / 2)
        .map(|b| format!("{b:02x}"))
        .collect();
    let readable: String = plain
        .chars()
        .map(|c| if accepted(c) { c } else { '_' })
        .take(MAX - DIGITS - 1)
        .collect();
    format!("{readable}_{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_what_clients_accept() {
        let docs: BackendId = "docs".parse().expect("valid");
        let long = "x".repeat(70);
        assert_eq!(public_name(&docs, "search_pages"), "docs_search_pages");
        for own in ["", "mit leer", "größe", long.as_str(), "a/b"] {
            let name = public_name(&docs, own);
            assert!(
                name.len() <= MAX && name.is_ascii() && name.starts_with("docs_"),
                "{name}"
            );
            assert_eq!(name, public_name(&docs, own));
        }
        assert_ne!(public_name(&docs, "a/b"), public_name(&docs, "a b"));
    }
}
