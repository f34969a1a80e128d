//! Whether our clock is that of the others: tokens say from when until when they hold.

use super::Section;
use super::probe::Probes;

/// Seconds by which clocks may differ before it is worth a look.
const A_LITTLE: u64 = 5;
/// Seconds by which they may differ before good tokens are refused: what verification leaves.
const TOO_MUCH: u64 = 60;

/// A line for each peer that says what time it is.
pub(super) fn look(probes: &Probes) -> Section {
    judge(probes.seen().clocks)
}

fn judge(clocks: impl IntoIterator<Item = (String, i64)>) -> Section {
    const HINT: &str = "let this machine keep its time by NTP, and the other one, too";
    let mut section = Section::new("clocks");
    for (peer, ahead) in clocks {
        let off = ahead.unsigned_abs();
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        let what = format!("the clock of `{peer}` is {off} s {direction} ours");
        if off <= A_LITTLE {
            section.ok(format!("the clock of `{peer}` is ours, or almost"));
        } else if off <= TOO_MUCH {
            section.warn(what, HINT);
        } else {
            section.broken(format!("{what}: tokens are refused that are good"), HINT);
        }
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn clocks_are_judged_by_how_far_they_are_off() {
        for (ahead, state) in [
            (0, State::Ok),
            (-5, State::Ok),
            (6, State::Warning),
            (-60, State::Warning),
            (61, State::Broken),
            (-3_600, State::Broken),
        ] {
            let section = judge([("a:1".to_owned(), ahead)]);
            assert_eq!(section.findings[0].state, state, "{ahead}");
        }
    }
}
