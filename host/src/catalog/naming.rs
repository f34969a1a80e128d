//! Public names of tools and prompts, within what MCP clients accept: `<backend>_<tool>`, or, for
//! the one backend that may keep its names, `<tool>`.

use sha2::{Digest, Sha256};

use crate::config::NameStyle;
use crate::plugin::Backend;
use crate::types::{BackendId, hex};

/// Longest public name.
const MAX: usize = 64;
/// Hexadecimal digits that tell aliases apart.
const DIGITS: usize = 8;

/// How things of one backend are called in public.
pub(super) struct Naming {
    pub(super) backend: BackendId,
    pub(super) style: NameStyle,
    /// What names of other backends begin with.
    pub(super) others: Vec<String>,
}

impl Naming {
    /// `all`: every configured backend.
    pub(super) fn new<'a>(backend: &Backend, all: impl Iterator<Item = &'a BackendId>) -> Self {
        let others = all.filter(|id| **id != backend.id);
        Self {
            backend: backend.id.clone(),
            style: backend.names,
            others: others.map(|id| format!("{id}_")).collect(),
        }
    }

    /// The public name of a tool or prompt. A name that is too long, or that has characters other
    /// than `A-Za-z0-9_.-`, gets an alias that is the same on every start. So does one that would
    /// be taken for another backend's, whether that backend has such a thing or not: a name must
    /// not change its owner when a backend comes or goes.
    pub(super) fn public_name(&self, own: &str) -> String {
        let plain = match self.style {
            NameStyle::Prefixed => format!("{}_{own}", self.backend),
            NameStyle::Verbatim => own.to_owned(),
        };
        let accepted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let chars = plain.chars();
        let mut readable: String = chars.map(|c| if accepted(c) { c } else { '_' }).collect();
        let others = self.style == NameStyle::Verbatim
            && self.others.iter().any(|other| readable.starts_with(other));
        if plain.len() <= MAX && !own.is_empty() && readable == plain && !others {
            return plain;
        }
        if others {
            readable = format!("{}_{readable}", self.backend);
        }
        let digest = Sha256::digest(plain.as_bytes());
        let digits = hex(&digest[..DIGITS / 2]);
        readable.truncate(MAX - DIGITS - 1);
        format!("{readable}_{digits}")
    }

    /// What a description begins with.
    pub(super) fn mark(&self) -> String {
        match self.style {
            NameStyle::Prefixed => format!("[{}] ", self.backend),
            NameStyle::Verbatim => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn accepted(name: &str) -> bool {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        !name.is_empty() && name.len() <= MAX && name.chars().all(fine)
    }

    /// Names of things as hostile backends could have them.
    fn own() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z_]{1,20}",
            "[A-Za-z0-9_.-]{1,90}",
            ".{0,90}",
            "(crm|docs)_.{0,70}"
        ]
    }

    proptest! {
        #[test]
        fn whatever_it_is_called_it_can_be_called(names in proptest::collection::btree_set(own(), 1..40), verbatim: bool) {
            let naming = |backend: &str, other: &str, style| Naming {
                backend: backend.parse().expect("valid"),
                style,
                others: vec![format!("{other}_")],
            };
            let docs = naming("docs", "crm", if verbatim { NameStyle::Verbatim } else { NameStyle::Prefixed });
            let crm = naming("crm", "docs", NameStyle::Prefixed);
            let mut owners: BTreeMap<String, (&str, &str)> = BTreeMap::new();
            for own in &names {
                for (backend, naming) in [("docs", &docs), ("crm", &crm)] {
                    let name = naming.public_name(own);
                    prop_assert!(accepted(&name), "{name}");
                    prop_assert_eq!(&name, &naming.public_name(own));
                    if naming.style == NameStyle::Prefixed {
                        let prefix = format!("{backend}_");
                        prop_assert!(name.starts_with(&prefix), "{name}");
                    } else {
                        prop_assert!(!name.starts_with("crm_"), "{name}");
                    }
                    let before = owners.insert(name.clone(), (backend, own));
                    prop_assert!(before.is_none(), "{name}: {before:?} and {own}");
                }
            }
        }
    }

    #[test]
    fn names_stay_within_what_clients_accept() {
        let docs = Naming {
            backend: "docs".parse().expect("valid"),
            style: NameStyle::Prefixed,
            others: Vec::new(),
        };
        let long = "x".repeat(70);
        assert_eq!(docs.public_name("search_pages"), "docs_search_pages");
        for own in ["", "mit leer", "größe", long.as_str(), "a/b"] {
            let name = docs.public_name(own);
            assert!(
                name.len() <= MAX && name.is_ascii() && name.starts_with("docs_"),
                "{name}"
            );
            assert_eq!(name, docs.public_name(own));
        }
        assert_ne!(docs.public_name("a/b"), docs.public_name("a b"));
    }

    #[test]
    fn a_backend_may_keep_its_names() {
        let docs = Naming {
            backend: "docs".parse().expect("valid"),
            style: NameStyle::Verbatim,
            others: vec!["crm_".to_owned()],
        };
        assert_eq!(docs.public_name("search_pages"), "search_pages");
        assert_eq!(docs.mark(), "");
        // What no client could call gets an alias all the same.
        let alias = docs.public_name("a b");
        assert!(alias.starts_with("a_b_") && alias.len() == 12, "{alias}");
        // So does what would be taken for another's.
        let alias = docs.public_name("crm_find");
        assert!(alias.starts_with("docs_crm_find_"), "{alias}");
        assert_eq!(docs.public_name("crmfind"), "crmfind");
    }
}
