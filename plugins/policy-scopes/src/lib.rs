//! Scope policy: a caller sees and calls what the scopes of the token name.
//!
//! All scopes of an item must be granted, compared as they stand, with case (RFC 6749 §3.3). An
//! item without scopes is for nobody, and so is an item of a kind that this policy does not know.

use cortex_plugin_sdk::prelude::*;

struct Scopes;

impl Policy for Scopes {
    fn reads() -> Vec<Reads> {
        vec![Reads::Scopes]
    }

    fn authorize(
        caller: &Principal,
        item: &Item,
        _: Option<&str>,
    ) -> Result<Decision, PolicyError> {
        Ok(match item.kind.as_str() {
            "tool" | "prompt" | "resource" | "resource-template" => decide(caller, item),
            unknown => Decision::Deny(format!("`{unknown}` is not a kind that is known here")),
        })
    }
}

cortex_plugin_sdk::export_policy!(Scopes);

fn decide(caller: &Principal, item: &Item) -> Decision {
    if item.scopes.is_empty() {
        Decision::Deny(format!("{} `{}` names no scope", item.kind, item.name))
    } else if caller.has_scopes(&item.scopes) {
        Decision::Allow
    } else {
        // The granted ones too: a challenge names all that the call needs (RFC 6750 §3.1).
        Decision::MissingScope(item.scopes.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    fn missing(scopes: &[&str]) -> Decision {
        Decision::MissingScope(scopes.iter().map(|&scope| scope.into()).collect())
    }

    #[test]
    fn all_scopes_of_an_item_are_needed() {
        let check = |granted: &[&str], needed: &[&str], expected: Decision| {
            let caller = testing::caller(granted);
            let item = testing::item("search", needed);
            let visible = expected == Decision::Allow;
            let decided = Scopes::authorize(&caller, &item, None);
            assert_eq!(decided, Ok(expected), "{granted:?} {needed:?}");
            let seen = Scopes::filter(&caller, &[item]);
            assert_eq!(seen, Ok(vec![visible]), "{granted:?} {needed:?}");
        };
        let nobody = || Decision::Deny("tool `search` names no scope".into());
        check(&["a"], &["a"], Decision::Allow);
        check(&["a", "b", "c"], &["c", "a"], Decision::Allow);
        check(&["a"], &["a", "b"], missing(&["a", "b"]));
        check(&[], &["a"], missing(&["a"]));
        check(&["a"], &["A"], missing(&["A"]));
        check(&["mcp:docs:read"], &["mcp:docs"], missing(&["mcp:docs"]));
        check(
            &["mcp:docs"],
            &["mcp:docs:read"],
            missing(&["mcp:docs:read"]),
        );
        check(&["*"], &["a"], missing(&["a"]));
        check(&["a b"], &["a"], missing(&["a"]));
        check(&["a"], &[], nobody());
        check(&[], &[], nobody());
    }

    #[test]
    fn unknown_kinds_are_denied_even_with_the_scope() {
        let check = |kind: &str, allowed: bool| {
            let item = Item {
                kind: kind.into(),
                ..testing::item("search", &["a"])
            };
            let decided = Scopes::authorize(&testing::caller(&["a"]), &item, None);
            assert_eq!(
                decided == Ok(Decision::Allow),
                allowed,
                "{kind}: {decided:?}"
            );
        };
        check("tool", true);
        check("prompt", true);
        check("resource", true);
        check("resource-template", true);
        check("Tool", false);
        check("agent", false);
        check("", false);
    }

    #[test]
    fn a_list_is_answered_item_by_item() {
        let items = [&["a"][..], &[], &["b"], &["a", "b"]].map(|s| testing::item("t", s));
        let seen = Scopes::filter(&testing::caller(&["a"]), &items);
        assert_eq!(seen, Ok(vec![true, false, false, false]));
        assert_eq!(Scopes::filter(&testing::caller(&["a"]), &[]), Ok(vec![]));
    }

    #[test]
    fn it_reads_scopes_only() {
        assert_eq!(Scopes::reads(), [Reads::Scopes]);
    }
}
