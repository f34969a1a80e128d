//! Lets nobody use in the night what is not read-only.
use std::time::{SystemTime, UNIX_EPOCH};

use cortex_plugin_sdk::prelude::*;

struct Nights;

/// The hour of the day, UTC.
fn hour() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() / 3600 % 24)
}

fn decide(item: &Item, hour: u64) -> Decision {
    let reads = item.scopes.iter().all(|scope| scope.ends_with(":read"));
    match (reads, hour) {
        (true, _) | (false, 6..22) => Decision::Allow,
        (false, _) => Decision::Deny("it is night: come back at six".into()),
    }
}

impl Policy for Nights {
    fn reads() -> Vec<Reads> {
        vec![Reads::Time]
    }

    fn authorize(_: &Principal, item: &Item, _: Option<&str>) -> Result<Decision, PolicyError> {
        Ok(decide(item, hour()))
    }
}

cortex_plugin_sdk::export_policy!(Nights);

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    #[test]
    fn only_reading_goes_on_in_the_night() {
        let (read, write) = (
            testing::item("list", &["mcp:docs:read"]),
            testing::item("drop", &["mcp:docs:write"]),
        );
        assert_eq!(decide(&write, 12), Decision::Allow);
        assert_eq!(decide(&read, 3), Decision::Allow);
        assert!(matches!(decide(&write, 3), Decision::Deny(_)));
    }
}
