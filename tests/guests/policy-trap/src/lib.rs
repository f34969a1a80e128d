//! A scope policy that traps when it is asked about a call, and hides everything from lists.

use cortex_plugin_sdk::prelude::*;

struct Trap;

impl Policy for Trap {
    fn reads() -> Vec<Reads> {
        vec![Reads::Scopes]
    }

    fn authorize(_: &Principal, item: &Item, _: Option<&str>) -> Result<Decision, PolicyError> {
        panic!("asked about `{}`", item.name)
    }

    fn filter(_: &Principal, items: &[Item]) -> Result<Vec<bool>, PolicyError> {
        Ok(vec![false; items.len()])
    }
}

cortex_plugin_sdk::export_policy!(Trap);
