//! Reads variables and collects everything that is wrong with them.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use crate::types::Secret;

/// One wrong value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable.
    pub variable: String,
    /// What it held, unless it is a secret or was not set.
    pub held: Option<String>,
    /// What was expected.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held {
            Some(held) => write!(
                f,
                "{} is `{}`: {}",
                self.variable,
                held.escape_debug(),
                self.expected
            ),
            None => write!(f, "{}: {}", self.variable, self.expected),
        }
    }
}

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration cannot be used:")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A source of variables with a memory for what was wrong.
pub(super) struct Vars<'a> {
    source: &'a dyn Fn(&str) -> Option<String>,
    /// Of all variables that are set, where they are known.
    names: Vec<String>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl<'a> Vars<'a> {
    pub(super) fn new(source: &'a dyn Fn(&str) -> Option<String>, names: Vec<String>) -> Self {
        Self {
            source,
            names,
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What the names of set variables say that begin with this: their other parts, sorted.
    pub(super) fn parts(&self, prefix: &str) -> Vec<String> {
        let names = self.names.iter();
        let parts = names.filter_map(|name| name.strip_prefix(prefix));
        let mut parts: Vec<String> = parts.map(str::to_owned).collect();
        parts.sort();
        parts
    }

    /// The trimmed text of a variable; unset and blank are the same.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.source)(name)
            .map(|v| v.trim().to_owned())
            .filter(|v| !v.is_empty())
    }

    /// A secret: the text of a variable, or that of the file which `<name>_FILE` names. What hands
    /// out secrets (systemd, Kubernetes) does so in files.
    pub(super) fn secret(&mut self, name: &str) -> Option<Secret> {
        let place = format!("{name}_FILE");
        let (given, Some(file)) = (self.text(name), self.text(&place)) else {
            return self.text(name).map(Secret::new);
        };
        if given.is_some() {
            let expected = format!("expected either this or {name}, not both");
            self.wrong(&place, Some(&file), &expected);
            return None;
        }
        match std::fs::read_to_string(&file) {
            Ok(text) if !text.trim().is_empty() => Some(Secret::new(text.trim().to_owned())),
            Ok(_) => {
                self.wrong(&place, Some(&file), "expected a file that is not empty");
                None
            }
            Err(error) => {
                let expected = format!("expected a file that can be read: {error}");
                self.wrong(&place, Some(&file), &expected);
                None
            }
        }
    }

    pub(super) fn path(&self, name: &str, default: &str) -> PathBuf {
        PathBuf::from(self.text(name).unwrap_or_else(|| default.to_owned()))
    }

    /// Entries separated by commas, blanks trimmed, empty ones left out.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|e| !e.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.parse() {
            Ok(n) if range.contains(&n) => n,
            _ => {
                let expected = format!(
                    "expected a whole number, {} to {}",
                    range.start(),
                    range.end()
                );
                self.wrong(name, Some(&text), &expected);
                default
            }
        }
    }

    pub(super) fn optional_number<T>(&mut self, name: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        self.text(name)?;
        Some(self.number(name, *range.start(), range))
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.choice(
            name,
            &[("true", true), ("false", false), ("1", true), ("0", false)],
            false,
        )
    }

    pub(super) fn choice<T: Copy>(&mut self, name: &str, options: &[(&str, T)], default: T) -> T {
        let Some(text) = self.text(name) else {
            return default;
        };
        if let Some((_, value)) = options.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let words: Vec<_> = options
            .iter()
            .map(|(word, _)| format!("`{word}`"))
            .collect();
        self.wrong(
            name,
            Some(&text),
            &format!("expected {}", words.join(" or ")),
        );
        default
    }

    pub(super) fn wrong(&mut self, name: &str, held: Option<&str>, expected: &str) {
        self.problems.push(Problem {
            variable: name.to_owned(),
            held: held.map(|h| h.chars().take(120).collect()),
            expected: expected.to_owned(),
        });
    }

    pub(super) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// The notes, or everything that was wrong.
    pub(super) fn finish(self) -> Result<Vec<String>, Problems> {
        if self.problems.is_empty() {
            Ok(self.notes)
        } else {
            Err(Problems(self.problems))
        }
    }
}
