//! Scope policy with tiers, wildcards, a deny list and working hours, all set by the operator in
//! `policy-tiers.toml`. It is used instead of `policy-scopes`, whose exact comparison would veto
//! what is only implied here.
//!
//! ```toml
//! [settings]
//! wildcards = true                                # mcp:docs:* stands for all that begins with mcp:docs:
//!
//! [settings.tiers]
//! "mcp:app" = ["basic", "pro", "max"]             # mcp:app:pro implies mcp:app:basic
//!
//! [settings.implies]
//! "mcp:docs:admin" = ["mcp:docs:write", "mcp:docs:read"]
//!
//! [[settings.deny]]
//! backend = "crm"
//! name = "delete_*"
//! reason = "deleting is done in the CRM itself"
//!
//! [[settings.hours]]
//! backend = "bank"
//! days = ["mon", "tue", "wed", "thu", "fri"]
//! from = "08:00"
//! to = "18:00"
//! utc-offset = "+01:00"
//! ```
//!
//! What is denied or outside its hours is denied whatever the scopes; then all scopes of an item
//! are needed. An item without scopes is for nobody, and so is one of an unknown kind.

mod hours;
mod rules;

use cortex_plugin_sdk::prelude::*;
use cortex_plugin_sdk::settings;

use rules::Rules;

struct Tiers;

impl Policy for Tiers {
    fn describe(package: Package) -> Description {
        Description::from(package).settings(include_str!("settings.json"))
    }

    fn reads() -> Vec<Reads> {
        match rules() {
            Ok(rules) => rules.reads(),
            // Nothing is decided then; nor kept.
            Err(_) => vec![Reads::Scopes, Reads::Subject, Reads::Time],
        }
    }

    fn authorize(
        caller: &Principal,
        item: &Item,
        _: Option<&str>,
    ) -> Result<Decision, PolicyError> {
        Ok(rules()?.decide(caller, item, hours::now()))
    }

    fn filter(caller: &Principal, items: &[Item]) -> Result<Vec<bool>, PolicyError> {
        let (rules, now) = (rules()?, hours::now());
        let visible = |item| rules.decide(caller, item, now) == Decision::Allow;
        Ok(items.iter().map(visible).collect())
    }
}

cortex_plugin_sdk::export_policy!(Tiers);

fn rules() -> Result<Rules, PolicyError> {
    settings::read().map_err(|error| PolicyError::undecided(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    #[test]
    fn what_is_looked_at_follows_from_the_settings() {
        let check = |settings: &str, expected: &[Reads]| {
            testing::set_settings(settings);
            assert_eq!(Tiers::reads(), expected, "{settings}");
        };
        check("{}", &[Reads::Scopes]);
        check(r#"{"deny":[{"name":"x"}]}"#, &[Reads::Scopes]);
        check(
            r#"{"deny":[{"subject":"ann"}]}"#,
            &[Reads::Scopes, Reads::Subject],
        );
        check(
            r#"{"hours":[{"from":"08:00","to":"18:00"}]}"#,
            &[Reads::Scopes, Reads::Time],
        );
    }

    #[test]
    fn settings_that_cannot_be_read_decide_nothing() {
        testing::set_settings(r#"{"hours":[{"from":"8","to":"18:00"}]}"#);
        let (caller, item) = (testing::caller(&["a"]), testing::item("t", &["a"]));
        assert!(Tiers::authorize(&caller, &item, None).is_err());
        assert!(Tiers::filter(&caller, &[item]).is_err());
    }

    #[test]
    fn the_schema_is_json() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("settings.json")).expect("JSON");
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["additionalProperties"], false);
    }
}
