//! Times of the week, at a fixed distance from UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

const MINUTES_A_DAY: i64 = 24 * 60;

/// Minutes since 1970, UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now(pub(crate) i64);

pub(crate) fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    Now(i64::try_from(seconds / 60).unwrap_or(i64::MAX))
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// 1970-01-01 was a Thursday.
    const OF_1970: [Self; 7] = [
        Self::Thu,
        Self::Fri,
        Self::Sat,
        Self::Sun,
        Self::Mon,
        Self::Tue,
        Self::Wed,
    ];

    fn number(days_since_1970: i64) -> Self {
        Self::OF_1970[days_since_1970.rem_euclid(7) as usize]
    }
}

/// A time of day, in minutes: `08:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Clock(i64);

impl TryFrom<String> for Clock {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        minutes(&text)
            .filter(|minutes| *minutes <= MINUTES_A_DAY)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no time of day such as `08:30`"))
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A distance from UTC, in minutes: `+01:00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Offset(i64);

impl TryFrom<String> for Offset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let signed = match text.split_at_checked(1) {
            Some(("+", rest)) => minutes(rest),
            Some(("-", rest)) => minutes(rest).map(|minutes| -minutes),
            _ => None,
        };
        signed
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no distance from UTC such as `+01:00`"))
    }
}

fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str| match text.as_bytes() {
        [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => text.parse::<i64>().ok(),
        _ => None,
    };
    let minutes = two(minutes).filter(|minutes| *minutes < 60)?;
    Some(two(hours)? * 60 + minutes)
}

/// From one time of day to another, on some days. Over midnight when the end comes first: then
/// the day is the one on which it begins.
pub(crate) fn within(days: &[Day], from: Clock, to: Clock, offset: Offset, now: Now) -> bool {
    let local = now.0.saturating_add(offset.0);
    let (day, minute) = (
        local.div_euclid(MINUTES_A_DAY),
        local.rem_euclid(MINUTES_A_DAY),
    );
    let on = |day: i64| days.is_empty() || days.contains(&Day::number(day));
    if from <= to {
        on(day) && from.0 <= minute && minute < to.0
    } else {
        (on(day) && from.0 <= minute) || (on(day - 1) && minute < to.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(text: &str) -> Clock {
        Clock::try_from(text.to_owned()).expect("a time")
    }

    /// Minutes since 1970 of a day of January 1970 (the 1st was a Thursday).
    fn at(day: i64, time: &str) -> Now {
        Now((day - 1) * MINUTES_A_DAY + clock(time).0)
    }

    #[test]
    fn hours_of_the_week_are_told_from_others() {
        let week = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri];
        let offset = |text: &str| Offset::try_from(text.to_owned()).expect("a distance");
        let check = |from, to, distance, now, expected: bool| {
            let inside = within(&week, clock(from), clock(to), offset(distance), now);
            assert_eq!(inside, expected, "{from} {to} {distance} {now:?}");
        };
        check("08:00", "18:00", "+00:00", at(1, "08:00"), true);
        check("08:00", "18:00", "+00:00", at(1, "07:59"), false);
        check("08:00", "18:00", "+00:00", at(1, "18:00"), false);
        // The 3rd was a Saturday, the 5th a Monday.
        check("08:00", "18:00", "+00:00", at(3, "12:00"), false);
        check("08:00", "18:00", "+00:00", at(5, "12:00"), true);
        // 07:30 UTC is 08:30 an hour further east, and Sunday evening in UTC is Monday there.
        check("08:00", "18:00", "+01:00", at(1, "07:30"), true);
        check("00:00", "24:00", "+02:00", at(4, "23:00"), true);
        check("00:00", "24:00", "-02:00", at(5, "01:00"), false);
        // Over midnight the day is the one on which it begins.
        check("22:00", "06:00", "+00:00", at(2, "23:00"), true);
        check("22:00", "06:00", "+00:00", at(3, "05:00"), true);
        check("22:00", "06:00", "+00:00", at(3, "23:00"), false);
        check("22:00", "06:00", "+00:00", at(5, "05:00"), false);
        assert!(within(
            &[],
            clock("00:00"),
            clock("24:00"),
            Offset::default(),
            at(4, "12:00")
        ));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "8:00", "25:00", "12:60", "", "1200", "12:0x", "+1:00", "24:01",
        ] {
            assert!(Clock::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        for bad in ["01:00", "+1:00", "", "±01:00", "+01"] {
            assert!(Offset::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert_eq!(clock("08:05").to_string(), "08:05");
    }
}
