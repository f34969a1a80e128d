//! What the operator has set, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use cortex_plugin_sdk::prelude::*;
use serde::Deserialize;

use crate::hours::{Clock, Day, Now, Offset, within};

/// The settings, as `settings.json` describes them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Rules {
    wildcards: bool,
    tiers: BTreeMap<String, Vec<String>>,
    implies: BTreeMap<String, Vec<String>>,
    deny: Vec<Denied>,
    hours: Vec<Hours>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Denied {
    backend: Option<String>,
    name: Option<String>,
    kind: Option<String>,
    subject: Option<String>,
    role: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Hours {
    backend: Option<String>,
    name: Option<String>,
    #[serde(default)]
    days: Vec<Day>,
    from: Clock,
    to: Clock,
    #[serde(default, rename = "utc-offset")]
    offset: Offset,
}

impl Rules {
    /// What a decision depends on besides the item.
    pub(crate) fn reads(&self) -> Vec<Reads> {
        let mut reads = vec![Reads::Scopes];
        if self
            .deny
            .iter()
            .any(|rule| rule.subject.is_some() || rule.role.is_some())
        {
            reads.push(Reads::Subject);
        }
        if !self.hours.is_empty() {
            reads.push(Reads::Time);
        }
        reads
    }

    /// Whether a caller may use an item now.
    pub(crate) fn decide(&self, caller: &Principal, item: &Item, now: Now) -> Decision {
        if !matches!(
            item.kind.as_str(),
            "tool" | "prompt" | "resource" | "resource-template"
        ) {
            return Decision::Deny(format!("`{}` is not a kind that is known here", item.kind));
        }
        if let Some(rule) = self.deny.iter().find(|rule| rule.fits(caller, item)) {
            let reason = rule.reason.clone();
            return Decision::Deny(reason.unwrap_or_else(|| "it is on the deny list".to_owned()));
        }
        let mut hours = self.hours.iter().filter(|hours| hours.fit(item)).peekable();
        if let Some(first) = hours.peek() {
            let told = format!(
                "it may be used from {} to {} only, on some days",
                first.from, first.to
            );
            if !hours.any(|h| within(&h.days, h.from, h.to, h.offset, now)) {
                return Decision::Deny(told);
            }
        }
        if item.scopes.is_empty() {
            return Decision::Deny(format!("{} `{}` names no scope", item.kind, item.name));
        }
        let granted = self.all_of(&caller.scopes);
        if item
            .scopes
            .iter()
            .all(|needed| self.covers(&granted, needed))
        {
            Decision::Allow
        } else {
            Decision::MissingScope(item.scopes.clone())
        }
    }

    /// Granted scopes and all that they imply.
    fn all_of<'a>(&'a self, granted: &'a [String]) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut next: Vec<String> = granted.to_vec();
        // Each scope is looked at once, so that circles end.
        while let Some(scope) = next.pop() {
            if let Some(others) = self.implies.get(&scope) {
                next.extend(others.iter().filter(|other| !all.contains(*other)).cloned());
            }
            if let Some((prefix, tier)) = scope.rsplit_once(':')
                && let Some(tiers) = self.tiers.get(prefix)
                && let Some(at) = tiers.iter().position(|known| known == tier)
            {
                let lower = tiers[..at].iter().map(|tier| format!("{prefix}:{tier}"));
                next.extend(lower.filter(|lower| !all.contains(lower)));
            }
            all.insert(scope);
        }
        all
    }

    fn covers(&self, granted: &BTreeSet<String>, needed: &str) -> bool {
        granted.contains(needed)
            || self.wildcards
                && granted.iter().any(|scope| {
                    // `:*` alone would stand for everything.
                    let prefix = scope
                        .strip_suffix('*')
                        .filter(|p| p.len() > 1 && p.ends_with(':'));
                    prefix.is_some_and(|prefix| {
                        needed.len() > prefix.len() && needed.starts_with(prefix)
                    })
                })
    }
}

impl Denied {
    fn fits(&self, caller: &Principal, item: &Item) -> bool {
        let fits = |pattern: &Option<String>, text: &str| {
            pattern
                .as_ref()
                .is_none_or(|pattern| matches(pattern, text))
        };
        fits(&self.backend, &item.backend)
            && fits(&self.name, &item.name)
            && fits(&self.kind, &item.kind)
            && fits(&self.subject, &caller.subject)
            && fits(&self.role, caller.role.as_deref().unwrap_or_default())
    }
}

impl Hours {
    fn fit(&self, item: &Item) -> bool {
        let fits = |pattern: &Option<String>, text: &str| {
            pattern
                .as_ref()
                .is_none_or(|pattern| matches(pattern, text))
        };
        fits(&self.backend, &item.backend) && fits(&self.name, &item.name)
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        // What came before only has to be somewhere; the last part has to be the end.
        if let Some(part) = last.replace(part) {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
    }
    match last {
        Some(part) => rest.ends_with(part),
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    /// A Thursday at noon.
    const NOON: Now = Now(12 * 60);

    fn rules(settings: &str) -> Rules {
        serde_json::from_str(settings).expect("settings")
    }

    #[test]
    fn scopes_stand_for_others_as_the_operator_says() {
        let all = r#"{
            "wildcards": true,
            "tiers": { "mcp:app": ["basic", "pro", "max"] },
            "implies": { "admin": ["mcp:docs:write", "owner"], "owner": ["admin", "mcp:app:pro"] }
        }"#;
        let check = |settings: &str, granted: &str, needed: &str, allowed: bool| {
            let caller = testing::caller(&[granted]);
            let decided = rules(settings).decide(&caller, &testing::item("t", &[needed]), NOON);
            let expected = match allowed {
                true => Decision::Allow,
                false => Decision::MissingScope(vec![needed.to_owned()]),
            };
            assert_eq!(decided, expected, "{granted} {needed}");
        };
        check(all, "mcp:app:pro", "mcp:app:basic", true);
        check(all, "mcp:app:pro", "mcp:app:pro", true);
        check(all, "mcp:app:pro", "mcp:app:max", false);
        check(all, "mcp:app:basic", "mcp:app:pro", false);
        check(all, "mcp:app:other", "mcp:app:basic", false);
        check(all, "mcp:docs:*", "mcp:docs:read", true);
        check(all, "mcp:docs:*", "mcp:docs:", false);
        check(all, "mcp:docs:*", "mcp:docs2:read", false);
        check(all, "mcp:docs*", "mcp:docs:read", false);
        check(all, "*", "mcp:docs:read", false);
        check(all, ":*", ":x", false);
        // Over several steps, and circles end.
        check(all, "admin", "mcp:app:basic", true);
        check(all, "admin", "mcp:docs:read", false);
        // Nothing of that without settings.
        check("{}", "mcp:app:pro", "mcp:app:basic", false);
        check("{}", "mcp:docs:*", "mcp:docs:read", false);
        check("{}", "a", "a", true);
    }

    #[test]
    fn all_scopes_of_an_item_are_needed_and_one_without_is_for_nobody() {
        let rules = rules(r#"{ "tiers": { "app": ["basic", "pro"] } }"#);
        let item = testing::item("t", &["app:basic", "other"]);
        let decided = rules.decide(&testing::caller(&["app:pro"]), &item, NOON);
        let needed = vec!["app:basic".to_owned(), "other".to_owned()];
        assert_eq!(decided, Decision::MissingScope(needed));
        let decided = rules.decide(&testing::caller(&["app:pro", "other"]), &item, NOON);
        assert_eq!(decided, Decision::Allow);
        let open = testing::item("t", &[]);
        let decided = rules.decide(&testing::caller(&["app:pro"]), &open, NOON);
        assert!(matches!(decided, Decision::Deny(_)));
        let unknown = Item {
            kind: "agent".to_owned(),
            ..testing::item("t", &["other"])
        };
        let decided = rules.decide(&testing::caller(&["other"]), &unknown, NOON);
        assert!(matches!(decided, Decision::Deny(_)));
    }

    #[test]
    fn what_is_denied_is_denied_whatever_the_scopes() {
        let rules = rules(
            r#"{ "deny": [
                { "backend": "docs", "name": "delete_*", "reason": "not from here" },
                { "subject": "eve" },
                { "role": "guest", "kind": "tool", "name": "*_secret_*" }
            ] }"#,
        );
        let decide = |subject: &str, role: Option<&str>, name: &str| {
            let caller = Principal {
                subject: subject.to_owned(),
                role: role.map(str::to_owned),
                ..testing::caller(&["a"])
            };
            rules.decide(&caller, &testing::item(name, &["a"]), NOON)
        };
        let denied = Decision::Deny("not from here".to_owned());
        assert_eq!(decide("ann", None, "delete_page"), denied);
        assert_eq!(decide("ann", None, "undelete_page"), Decision::Allow);
        assert!(matches!(decide("eve", None, "read"), Decision::Deny(_)));
        assert!(matches!(
            decide("ann", Some("guest"), "a_secret_b"),
            Decision::Deny(_)
        ));
        assert_eq!(decide("ann", Some("staff"), "a_secret_b"), Decision::Allow);
        assert_eq!(decide("ann", None, "a_secret_b"), Decision::Allow);
    }

    #[test]
    fn what_has_hours_is_denied_at_others() {
        let rules = rules(
            r#"{ "hours": [
                { "backend": "docs", "name": "pay", "from": "08:00", "to": "11:00" },
                { "backend": "docs", "name": "pay", "from": "13:00", "to": "17:00", "days": ["thu"] }
            ] }"#,
        );
        let caller = testing::caller(&["a"]);
        let decide = |name: &str, hour: i64| {
            rules.decide(&caller, &testing::item(name, &["a"]), Now(hour * 60))
        };
        assert_eq!(decide("pay", 9), Decision::Allow);
        assert_eq!(decide("pay", 14), Decision::Allow, "either rule will do");
        assert!(matches!(decide("pay", 12), Decision::Deny(why) if why.contains("08:00")));
        assert!(
            matches!(decide("pay", 14 + 24), Decision::Deny(_)),
            "a Friday"
        );
        assert_eq!(decide("read", 12), Decision::Allow);
    }

    #[test]
    fn patterns_stand_for_what_they_say() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*", "", true),
            ("a*c", "ac", true),
            ("a*c", "abcb", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*b*b", "ab", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
