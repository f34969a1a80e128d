//! A scope policy that hides everything from lists, and traps where its setting `at` says: in `authorize` if
//! it says nothing.

use cortex_plugin_sdk::prelude::*;
use cortex_plugin_sdk::settings;
use serde::Deserialize;

struct Trap;

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    at: Option<String>,
}

fn is_asked_to_trap_at(export: &str) -> bool {
    let at = settings::read::<Settings>().ok().and_then(|set| set.at);
    at.as_deref().unwrap_or("authorize") == export
}

impl Policy for Trap {
    fn describe(package: Package) -> Description {
        Description::from(package)
            .settings(r#"{"type":"object","properties":{"at":{"type":"string"}}}"#)
    }

    fn reads() -> Vec<Reads> {
        assert!(!is_asked_to_trap_at("reads"), "asked what it reads");
        vec![Reads::Scopes]
    }

    fn authorize(_: &Principal, item: &Item, _: Option<&str>) -> Result<Decision, PolicyError> {
        assert!(
            !is_asked_to_trap_at("authorize"),
            "asked about `{}`",
            item.name
        );
        Ok(Decision::Allow)
    }

    fn filter(_: &Principal, items: &[Item]) -> Result<Vec<bool>, PolicyError> {
        assert!(!is_asked_to_trap_at("filter"), "asked about a list");
        Ok(vec![false; items.len()])
    }
}

cortex_plugin_sdk::export_policy!(Trap);
