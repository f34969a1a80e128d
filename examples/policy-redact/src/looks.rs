//! What looks like something that should not travel.

use serde::Deserialize;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Like {
    /// The number of a payment card.
    Card,
    /// An address of an email.
    Email,
}

impl Like {
    /// The text with something else instead of what looks like this; `None`: nothing does.
    pub(crate) fn replaced(self, text: &str, instead: &str) -> Option<String> {
        let mut without = String::with_capacity(text.len());
        let mut rest = text;
        let mut any = false;
        while let Some(first) = rest.chars().next() {
            let length = match self {
                // In the middle of a number or a word nothing begins.
                _ if without
                    .chars()
                    .next_back()
                    .is_some_and(|last| self.belongs(last)) =>
                {
                    0
                }
                Self::Card => card(rest),
                Self::Email => email(rest),
            };
            if length > 0 {
                any = true;
                without.push_str(instead);
                rest = &rest[length..];
                // What follows is compared with what stood there, not with what stands there now.
                if let Some(next) = rest.chars().next() {
                    without.push(next);
                    rest = &rest[next.len_utf8()..];
                }
                continue;
            }
            without.push(first);
            rest = &rest[first.len_utf8()..];
        }
        any.then_some(without)
    }

    fn belongs(self, c: char) -> bool {
        match self {
            Self::Card => c.is_ascii_digit(),
            Self::Email => is_word(c),
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-')
}

/// How many bytes at the start are the number of a card; 0: none.
fn card(text: &str) -> usize {
    let mut digits = Vec::new();
    let mut found = 0;
    for (at, c) in text.char_indices() {
        match c.to_digit(10) {
            Some(digit) => digits.push(digit),
            None if matches!(c, ' ' | '-') && !digits.is_empty() => continue,
            None => break,
        }
        if digits.len() > 19 {
            return 0;
        }
        found = at + 1;
    }
    if (13..=19).contains(&digits.len()) && checks(&digits) {
        found
    } else {
        0
    }
}

/// The Luhn formula (ISO/IEC 7812-1, annex B).
fn checks(digits: &[u32]) -> bool {
    let from_right = digits.iter().rev().enumerate();
    let sum: u32 = from_right
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, twice) if twice > 9 => twice - 9,
            (_, twice) => twice,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// How many bytes at the start are an address; 0: none.
fn email(text: &str) -> usize {
    let word = |text: &str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    let name = word(text);
    let Some(rest) = text[name..].strip_prefix('@') else {
        return 0;
    };
    let host = rest[..word(rest)].trim_end_matches('.');
    if name == 0 || !host.contains('.') {
        return 0;
    }
    name + 1 + host.len()
}
