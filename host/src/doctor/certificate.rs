//! When certificates end (RFC 5280 §4.1.2.5), read from their DER; whether they hold is rustls's business.

use time::{Date, Month, PrimitiveDateTime, Time};

use super::Section;
use super::probe::{Probes, seconds};

/// A certificate that ends sooner is worth a look.
const SOON_DAYS: i64 = 14;

/// A line for each https peer whose certificate was seen.
pub(super) fn look(probes: &Probes) -> Section {
    judge(probes.seen().certificates, seconds())
}

fn judge(ends: impl IntoIterator<Item = (String, Option<i64>)>, now: i64) -> Section {
    let mut section = Section::new("certificates");
    for (peer, ends) in ends {
        let Some(ends) = ends else {
            section.warn(
                format!("`{peer}`: it cannot be read when its certificate ends"),
                "look at it with `openssl s_client`",
            );
            continue;
        };
        let days = (ends - now) / (24 * 3600);
        let what = format!("`{peer}`: its certificate holds for {days} more days");
        if days < SOON_DAYS {
            section.warn(
                what,
                "renew it, and find out why that has not happened by itself",
            );
        } else {
            section.ok(what);
        }
    }
    section
}

/// When a certificate ends, in seconds since 1970.
pub(super) fn ends(der: &[u8]) -> Option<i64> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    let (_, rest) = element(rest, INTEGER)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, _, after) = any(validity)?;
    let (tag, text, _) = any(after)?;
    let text = std::str::from_utf8(text).ok()?;
    let (year, rest) = match tag {
        // Two digits: 1950 to 2049.
        UTC_TIME => {
            let (year, rest) = (number(text, 0, 2)?, text.get(2..)?);
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => (number(text, 0, 4)?, text.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| u8::try_from(number(rest, at, 2)?).ok();
    let date = Date::from_calendar_date(year, Month::try_from(part(0)?).ok()?, part(2)?).ok()?;
    let time = Time::from_hms(part(4)?, part(6)?, part(8)?).ok()?;
    let moment = PrimitiveDateTime::new(date, time).assume_utc();
    (rest.get(10..) == Some("Z")).then(|| moment.unix_timestamp())
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

fn number(text: &str, at: usize, digits: usize) -> Option<i32> {
    let text = text.get(at..at + digits)?;
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The content of the first element, if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(der)?;
    (found == tag).then_some((content, rest))
}

/// The first element: tag, content, and what follows it (X.690 §8.1, definite lengths).
fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
pub(in crate::doctor) mod tests;
