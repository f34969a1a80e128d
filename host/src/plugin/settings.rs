//! The file `<name>.toml` beside a component: `[limits]`, `[grants]` and `[settings]`, which are
//! checked against the schema that the component describes.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::grants::{Grants, Place};
use super::limits::Limits;
use crate::config::variable;
use crate::types::Secret;

/// Largest file.
const MAX_FILE: u64 = 256 * 1024;
/// Most mistakes that are told at once.
const MAX_TOLD: usize = 5;
/// Longest text of one mistake, in characters.
const MAX_TEXT: usize = 200;

/// Why settings cannot be used. Each says what to do.
#[derive(Debug, Error)]
pub enum BadSettings {
    /// The file cannot be read.
    #[error("`{file}` cannot be read: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
    /// It is not TOML.
    #[error("`{file}` is not TOML: {why}")]
    NotToml {
        /// The file.
        file: String,
        /// Where, and what is wrong.
        why: String,
    },
    /// It has a table or key that means nothing.
    #[error(
        "`{file}` has `{key}` at its top, which means nothing; hint: settings belong below `[settings]`, limits below `[limits]`, grants below `[grants]`"
    )]
    UnknownKey {
        /// The file.
        file: String,
        /// The key.
        key: String,
    },
    /// It grants something in a way that cannot be understood.
    #[error("`{file}`: `grants.{key}` {expected}")]
    BadGrant {
        /// The file.
        file: String,
        /// The grant.
        key: String,
        /// What it should be.
        expected: String,
    },
    /// It sets a limit that is none, or too high or low.
    #[error("`{file}`: `limits.{key}` {expected}")]
    BadLimit {
        /// The file.
        file: String,
        /// The limit.
        key: String,
        /// What it should be.
        expected: String,
    },
    /// The plugin has no settings.
    #[error("`{file}` has settings, and the plugin understands none; hint: remove them")]
    NotWanted {
        /// The file.
        file: String,
    },
    /// The plugin's own schema cannot be used.
    #[error("it describes its settings wrongly: {0}; hint: report it to the plugin's author")]
    BadSchema(String),
    /// They do not fit the plugin's schema.
    #[error("its settings do not fit: {mistakes}; hint: mend `{file}`")]
    DoNotFit {
        /// The file.
        file: String,
        /// Each with its key.
        mistakes: String,
    },
}

/// Settings that fit.
#[derive(Clone, Debug)]
pub(super) struct Settings(Arc<str>);

impl Settings {
    /// None: what a plugin is described with.
    pub(super) fn none() -> Self {
        Self("{}".into())
    }

    /// A JSON object.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// What the operator has set, if it fits what the component says of its settings.
    pub(super) fn fitting(beside: &Beside, schema: Option<&str>) -> Result<Self, BadSettings> {
        check(&beside.settings, schema, &beside.file)?;
        let settings = Value::Object(beside.settings.clone());
        Ok(Self(settings.to_string().into()))
    }
}

/// The file beside a component. Where there is none, it says nothing.
pub(super) struct Beside {
    /// Its name, for messages.
    file: String,
    settings: Map<String, Value>,
    /// What one call may use.
    pub(super) limits: Limits,
    /// What the plugin may reach.
    pub(super) grants: Grants,
}

impl Beside {
    /// What a script says instead of a file.
    pub(super) fn of(settings: Map<String, Value>, limits: &Limits) -> Self {
        Self {
            file: "the script".to_owned(),
            settings,
            limits: limits.clone(),
            grants: Grants::default(),
        }
    }

    /// Reads the file of a component. Limits are the usual ones where it says nothing else.
    pub(super) fn read(component: &Path, usual: &Limits) -> Result<Self, BadSettings> {
        let file = component.with_extension("toml");
        match text(&file)? {
            Some(text) => parse(&text, &shown(&file), usual),
            None => parse("", &shown(&file), usual),
        }
    }
}

fn shown(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn text(file: &Path) -> Result<Option<String>, BadSettings> {
    let unreadable = |why: String| BadSettings::Unreadable {
        file: shown(file),
        why,
    };
    match std::fs::metadata(file) {
        Ok(about) if about.len() > MAX_FILE => {
            return Err(unreadable(format!("it is larger than {MAX_FILE} bytes")));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    }
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    Ok(Some(text))
}

fn parse(text: &str, file: &str, usual: &Limits) -> Result<Beside, BadSettings> {
    let mut table: toml::Table =
        text.parse()
            .map_err(|error: toml::de::Error| BadSettings::NotToml {
                file: file.to_owned(),
                why: error.to_string().trim_end().replace('\n', " "),
            })?;
    let settings = table.remove("settings");
    let limits = limits(table.remove("limits"), file, usual)?;
    let grants = grants(table.remove("grants"), file)?;
    if let Some(key) = table.keys().next() {
        return Err(BadSettings::UnknownKey {
            file: file.to_owned(),
            key: key.clone(),
        });
    }
    let settings = match settings.map(to_json) {
        None => Map::new(),
        Some(Value::Object(settings)) => settings,
        Some(_) => {
            return Err(BadSettings::UnknownKey {
                file: file.to_owned(),
                key: "settings = …".to_owned(),
            });
        }
    };
    Ok(Beside {
        file: file.to_owned(),
        settings,
        limits,
        grants,
    })
}

/// What one plugin is granted.
fn grants(table: Option<toml::Value>, file: &str) -> Result<Grants, BadSettings> {
    let table = match table {
        None => return Ok(Grants::default()),
        Some(toml::Value::Table(table)) => table,
        Some(_) => {
            return Err(BadSettings::UnknownKey {
                file: file.to_owned(),
                key: "grants = …".to_owned(),
            });
        }
    };
    let found = Grants::parse(table, |place| match place {
        Place::Variable(name) => variable(name)
            .map(Secret::new)
            .ok_or_else(|| format!("needs the variable {name}, which is not set")),
        Place::File(name) => std::fs::read_to_string(name)
            .map(|text| Secret::new(text.trim_end().to_owned()))
            .map_err(|error| format!("needs the file `{name}`: {error}")),
    });
    found.map_err(|(key, expected)| BadSettings::BadGrant {
        file: file.to_owned(),
        key,
        expected,
    })
}

/// The limits of one plugin.
fn limits(table: Option<toml::Value>, file: &str, usual: &Limits) -> Result<Limits, BadSettings> {
    let unknown = || BadSettings::UnknownKey {
        file: file.to_owned(),
        key: "limits = …".to_owned(),
    };
    let table = match table {
        None => return Ok(usual.clone()),
        Some(toml::Value::Table(table)) => table,
        Some(_) => return Err(unknown()),
    };
    table
        .into_iter()
        .try_fold(usual.clone(), |limits, (key, value)| {
            let value = value.as_integer().and_then(|value| value.try_into().ok());
            limits
                .with(&key, value)
                .map_err(|expected| BadSettings::BadLimit {
                    file: file.to_owned(),
                    key: key.clone(),
                    expected,
                })
        })
}

/// TOML as JSON. Dates and times become texts.
fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            let members = table.into_iter();
            Value::Object(members.map(|(k, v)| (k, to_json(v))).collect())
        }
    }
}

fn check(
    settings: &Map<String, Value>,
    schema: Option<&str>,
    file: &str,
) -> Result<(), BadSettings> {
    let Some(schema) = schema else {
        if settings.is_empty() {
            return Ok(());
        }
        return Err(BadSettings::NotWanted {
            file: file.to_owned(),
        });
    };
    let bad = |why: String| BadSettings::BadSchema(why.chars().take(MAX_TEXT).collect());
    let schema: Value = serde_json::from_str(schema).map_err(|error| bad(error.to_string()))?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| bad(error.to_string()))?;
    let settings = Value::Object(settings.clone());
    let mistakes: Vec<String> = validator
        .iter_errors(&settings)
        .take(MAX_TOLD)
        .map(|error| {
            let path = error.instance_path().to_string().replace('/', ".");
            let text: String = error.to_string().chars().take(MAX_TEXT).collect();
            format!("`settings{path}`: {}", text.escape_debug())
        })
        .collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(BadSettings::DoNotFit {
        file: file.to_owned(),
        mistakes: mistakes.join("; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "greeting": { "type": "string" },
            "hours": { "type": "object", "properties": { "from": { "type": "integer", "maximum": 24 } } }
        },
        "required": ["greeting"],
        "additionalProperties": false
    }"#;

    fn load(text: Option<&str>, schema: Option<&str>) -> Result<String, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let component = dir.path().join("hello.wasm");
        if let Some(text) = text {
            std::fs::write(dir.path().join("hello.toml"), text).expect("written");
        }
        let beside = Beside::read(&component, &USUAL);
        let settings = beside.and_then(|beside| Settings::fitting(&beside, schema));
        settings
            .map(|settings| settings.text().to_owned())
            .map_err(|error| error.to_string())
    }

    const USUAL: Limits = Limits {
        memory_bytes: 64 * 1024 * 1024,
        compute_ms: 2_000,
        fuel: None,
        max_exchanges: 32,
        max_result_bytes: 8 * 1024 * 1024,
    };

    #[test]
    fn limits_are_set_one_by_one_and_within_bounds() {
        let read = |text: &str| {
            let read = parse(text, "x.toml", &USUAL);
            read.map(|beside| beside.limits)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(""), Ok(USUAL));
        let set = read(
            "[limits]\nmemory-mib = 8\ncompute-ms = 100\nfuel = 50000\nexchanges = 1\nresult-bytes = 1024",
        );
        let expected = Limits {
            memory_bytes: 8 * 1024 * 1024,
            compute_ms: 100,
            fuel: Some(50_000),
            max_exchanges: 1,
            max_result_bytes: 1024,
        };
        assert_eq!(set, Ok(expected));
        for (text, told) in [
            (
                "memory-mib = 65",
                "from 2 to 64, which is CORTEX_PLUGIN_MEMORY_MIB",
            ),
            (
                "compute-ms = 0",
                "`limits.compute-ms` must be a whole number from 10 to 60000",
            ),
            ("exchanges = -1", "from 1 to 10000"),
            ("exchanges = \"2\"", "from 1 to 10000"),
            (
                "cores = 1",
                "`limits.cores` means nothing; there are memory-mib, compute-ms",
            ),
        ] {
            let error = read(&format!("[limits]\n{text}")).expect_err(told);
            assert!(error.contains(told), "{error}");
        }
        let error = read("limits = 1").expect_err("no table");
        assert!(error.contains("below `[limits]`"), "{error}");
    }

    #[test]
    fn settings_are_read_and_fit() {
        let text = "[settings]\ngreeting = \"hi\"\n[settings.hours]\nfrom = 8\n";
        let told = load(Some(text), Some(SCHEMA));
        assert_eq!(
            told.as_deref(),
            Ok(r#"{"greeting":"hi","hours":{"from":8}}"#)
        );
        assert_eq!(load(None, None).as_deref(), Ok("{}"));
        assert_eq!(load(Some(""), None).as_deref(), Ok("{}"));
        let day = load(Some("[settings]\nday = 2026-11-23"), Some("{}"));
        assert_eq!(day.as_deref(), Ok(r#"{"day":"2026-11-23"}"#));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        for (text, schema, told) in [
            (None, Some(SCHEMA), "greeting"),
            (
                Some("[settings]\ngreeting = 1"),
                Some(SCHEMA),
                "`settings.greeting`",
            ),
            (
                Some("[settings]\ngreeting = \"x\"\nhours = { from = 25 }"),
                Some(SCHEMA),
                "`settings.hours.from`",
            ),
            (
                Some("[settings]\ngreeting = \"x\"\nother = 1"),
                Some(SCHEMA),
                "other",
            ),
            (Some("[settings]\nx = 1"), None, "understands none"),
            (
                Some("greeting = 1"),
                Some(SCHEMA),
                "belong below `[settings]`",
            ),
            (
                Some("settings = 1"),
                Some(SCHEMA),
                "belong below `[settings]`",
            ),
            (Some("[grants]\nhttp = [1]"), Some("{}"), "`grants.http`"),
            (Some("grants = 1"), Some("{}"), "below `[grants]`"),
            (Some("[settings"), Some(SCHEMA), "not TOML"),
            (Some(""), Some("{"), "wrongly"),
            (Some(""), Some(r#"{"type":"nonsense"}"#), "wrongly"),
        ] {
            let error = load(text, schema).expect_err(told);
            assert!(error.contains(told), "{error}");
        }
    }
}
