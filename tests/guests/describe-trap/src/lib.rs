//! A scope policy that traps when it is to introduce itself.

use cortex_plugin_sdk::prelude::*;

struct Trap;

impl Policy for Trap {
    fn describe(package: Package) -> Description {
        panic!("not so loud about `{}`", package.name)
    }

    fn reads() -> Vec<Reads> {
        vec![Reads::Scopes]
    }

    fn authorize(_: &Principal, _: &Item, _: Option<&str>) -> Result<Decision, PolicyError> {
        Ok(Decision::Allow)
    }
}

cortex_plugin_sdk::export_policy!(Trap);
