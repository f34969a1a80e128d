//! The `metrics` import: what plugins count themselves.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Figures of one plugin.
pub(super) const MOST_FIGURES: usize = 32;
/// Longest name, in bytes.
const MAX_NAME: usize = 64;

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// Only grows. When it is told: by how much.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It counts.
    Yes,
    /// It was left out, for the first time.
    RefusedFirst,
    /// It was left out, as others before.
    Refused,
}

/// All figures of one plugin.
#[derive(Debug, Default)]
pub(super) struct Figures(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_name: BTreeMap<String, Figure>,
    refused: bool,
}

impl Figures {
    /// Takes a figure. A name is a counter or a gauge, as it was first.
    pub(super) fn tell(&self, name: &str, told: Figure) -> Told {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = known.by_name.len() < MOST_FIGURES;
        let counts = match (known.by_name.get_mut(name), told) {
            (Some(Figure::Counter(sum)), Figure::Counter(by)) => {
                *sum = sum.saturating_add(by);
                true
            }
            (Some(Figure::Gauge(value)), Figure::Gauge(now)) if now.is_finite() => {
                *value = now;
                true
            }
            (Some(_), _) => false,
            (None, _) if is_name(name) && room => {
                known.by_name.insert(name.to_owned(), told);
                true
            }
            (None, _) => false,
        };
        match (counts, known.refused) {
            (true, _) => Told::Yes,
            (false, true) => Told::Refused,
            (false, false) => {
                known.refused = true;
                Told::RefusedFirst
            }
        }
    }

    pub(super) fn read(&self) -> Vec<(String, Figure)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = known.by_name.iter();
        figures
            .map(|(name, figure)| (name.clone(), *figure))
            .collect()
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_bounded_and_keep_their_kind() {
        let figures = Figures::default();
        assert_eq!(figures.tell("hits", Figure::Counter(2)), Told::Yes);
        assert_eq!(figures.tell("hits", Figure::Counter(3)), Told::Yes);
        assert_eq!(figures.tell("depth", Figure::Gauge(1.5)), Told::Yes);
        assert_eq!(figures.tell("hits", Figure::Gauge(1.0)), Told::RefusedFirst);
        for wrong in ["", "Hits", "a b", "x\"} 1", &"x".repeat(65)] {
            assert_eq!(
                figures.tell(wrong, Figure::Counter(1)),
                Told::Refused,
                "{wrong}"
            );
        }
        let expected = [
            ("depth".to_owned(), Figure::Gauge(1.5)),
            ("hits".to_owned(), Figure::Counter(5)),
        ];
        assert_eq!(figures.read(), expected);
        for number in 2..MOST_FIGURES {
            assert_eq!(
                figures.tell(&format!("n{number}"), Figure::Counter(1)),
                Told::Yes
            );
        }
        assert_eq!(figures.tell("one_more", Figure::Counter(1)), Told::Refused);
    }
}
