//! What an operator grants a plugin besides what all have: the table `[grants]` of `<name>.toml`.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use url::{Origin, Url};

use super::lines::Line;
use super::model::{Capability, Description};
use crate::postgres::Database;
use crate::types::Secret;

/// Longest name of a secret, in bytes.
const MAX_NAME: usize = 64;
/// Largest quota, in KiB.
const MAX_KV_KIB: u64 = 1024 * 1024;
/// Words that may stand below `[grants]`.
const KEYS: &str = "http, kv-kib, postgres, secrets and without";

/// What one plugin was granted. Nothing, unless the operator says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    origins: Vec<Origin>,
    kv_kib: u64,
    secrets: BTreeMap<String, Granted>,
    databases: BTreeMap<String, Database>,
    /// What it wants and does not get: it runs without.
    without: Vec<String>,
}

/// A secret, and where it may go.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    /// The only origin that it is sent to.
    pub(super) origin: Origin,
    /// In which header field.
    pub(super) field: HeaderName,
    /// What stands there.
    pub(super) value: HeaderValue,
}

/// What is wrong with a grant: the key below `grants`, and what is expected of it.
pub(super) type BadGrant = (String, String);

impl Grants {
    /// Reads the table. `find`: the text of a variable or of a file, by which of the two and its name.
    pub(super) fn parse(
        table: toml::Table,
        find: impl Fn(Place<'_>) -> Result<Secret, String>,
    ) -> Result<Self, BadGrant> {
        let mut grants = Self::default();
        for (key, value) in table {
            let wrong = |expected: &str| (key.clone(), expected.to_owned());
            match (key.as_str(), value) {
                ("http", value) => {
                    let texts = texts(&value).ok_or_else(|| wrong(ORIGINS))?;
                    let origins = texts.iter().map(|text| origin(text));
                    let origins: Option<Vec<_>> = origins.collect();
                    grants.origins = origins.ok_or_else(|| wrong(ORIGINS))?;
                }
                ("kv-kib", value) => {
                    let kib = value.as_integer().and_then(|kib| u64::try_from(kib).ok());
                    let kib = kib.filter(|kib| *kib <= MAX_KV_KIB);
                    grants.kv_kib =
                        kib.ok_or_else(|| wrong("must be a whole number of KiB, up to 1048576"))?;
                }
                ("secrets", toml::Value::Table(secrets)) => {
                    for (name, secret) in secrets {
                        let granted = granted(&name, secret, &find)
                            .map_err(|expected| (format!("secrets.{name}"), expected))?;
                        grants.secrets.insert(name, granted);
                    }
                }
                ("postgres", toml::Value::Table(databases)) => {
                    for (name, place) in databases {
                        let database = database(&name, place, &find)
                            .map_err(|expected| (format!("postgres.{name}"), expected))?;
                        grants.databases.insert(name, database);
                    }
                }
                ("without", value) => {
                    let expected = "must be a list of what the plugin wants and does not get, such as [\"kv\"]";
                    grants.without = texts(&value).ok_or_else(|| wrong(expected))?;
                }
                _ => return Err(wrong(&format!("means nothing; there are {KEYS}"))),
            }
        }
        Ok(grants)
    }

    /// Whether requests may go there.
    pub(super) fn reaches(&self, origin: &Origin) -> bool {
        self.origins.contains(origin)
    }

    /// Where requests may go.
    pub(super) fn origins(&self) -> Vec<String> {
        let origins = self.origins.iter();
        origins.map(Origin::ascii_serialization).collect()
    }

    /// The secret of this name.
    pub(super) fn secret(&self, name: &str) -> Option<&Granted> {
        self.secrets.get(name)
    }

    /// The database of this name.
    pub(super) fn database(&self, name: &str) -> Option<&Database> {
        self.databases.get(name)
    }

    /// How much may be kept, in bytes.
    pub(super) fn kv_bytes(&self) -> u64 {
        self.kv_kib * 1024
    }

    /// Whether a want is met, or was refused in so many words.
    pub(super) fn settles(&self, want: &Want) -> bool {
        self.without.contains(&want.to_string()) || self.meets(want)
    }

    /// Whether a want is met.
    pub(super) fn meets(&self, want: &Want) -> bool {
        match want {
            Want::Http(Some(target)) => origin(target).is_some_and(|origin| self.reaches(&origin)),
            Want::Http(None) => !self.origins.is_empty(),
            Want::Kv(kib) => self.kv_kib >= kib.unwrap_or(1).max(1),
            Want::Secret(Some(name)) => self.secrets.contains_key(name),
            Want::Secret(None) => !self.secrets.is_empty(),
            Want::Postgres(Some(name)) => self.databases.contains_key(name),
            Want::Postgres(None) => !self.databases.is_empty(),
            Want::Other(..) => false,
        }
    }

    /// What is granted, a line each, for a person.
    pub(super) fn in_words(&self) -> Vec<String> {
        let origins = self.origins.iter();
        let mut lines: Vec<String> = origins
            .map(|origin| format!("http: requests to {}", origin.ascii_serialization()))
            .collect();
        if self.kv_kib > 0 {
            lines.push(format!("kv: keeps up to {} KiB", self.kv_kib));
        }
        let databases = self.databases.keys();
        lines.extend(databases.map(|name| format!("postgres {name}: statements to this database")));
        lines.extend(self.secrets.iter().map(|(name, secret)| {
            let origin = secret.origin.ascii_serialization();
            format!(
                "secret {name}: sent to {origin} in the header `{}`",
                secret.field
            )
        }));
        lines
    }
}

const ORIGINS: &str = "must be a list of origins, such as [\"https://api.example.org\"]: scheme, host and port, and no path";

fn texts(value: &toml::Value) -> Option<Vec<String>> {
    let values = value.as_array()?.iter();
    values
        .map(|value| value.as_str().map(str::to_owned))
        .collect()
}

/// An origin, and nothing besides.
pub(super) fn origin(text: &str) -> Option<Origin> {
    let url = Url::parse(text).ok()?;
    let bare = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    bare.then(|| url.origin())
}

/// Where the text of a secret is found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// In a variable of the environment.
    Variable(&'a str),
    /// In a file.
    File(&'a str),
}

/// A database, by the URL that is in a variable or a file.
fn database(
    name: &str,
    place: toml::Value,
    find: impl Fn(Place<'_>) -> Result<Secret, String>,
) -> Result<Database, String> {
    const EXPECTED: &str = "must be a table with `env` or `file`, where the URL of the database is";
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("must have a name of up to {MAX_NAME} characters"));
    }
    let toml::Value::Table(table) = place else {
        return Err(EXPECTED.to_owned());
    };
    let only = (table.iter().next()).filter(|_| table.len() == 1);
    let url = match only.map(|(key, value)| (key.as_str(), value.as_str())) {
        Some(("env", Some(variable))) => find(Place::Variable(variable))?,
        Some(("file", Some(file))) => find(Place::File(file))?,
        _ => return Err(EXPECTED.to_owned()),
    };
    Database::at(&url).map_err(|error| format!("names a URL that {error}"))
}

fn granted(
    name: &str,
    secret: toml::Value,
    find: impl Fn(Place<'_>) -> Result<Secret, String>,
) -> Result<Granted, String> {
    const EXPECTED: &str = "must be a table with `origin`, and `env` or `file`, and `header` if it is not \
         `authorization`";
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("must have a name of up to {MAX_NAME} characters"));
    }
    let mut table: BTreeMap<String, String> = match secret {
        toml::Value::Table(table) => table
            .into_iter()
            .map(|(key, value)| Some((key, value.as_str()?.to_owned())))
            .collect::<Option<_>>()
            .ok_or(EXPECTED)?,
        _ => return Err(EXPECTED.to_owned()),
    };
    let at = table.remove("origin").ok_or(EXPECTED)?;
    let at =
        origin(&at).ok_or("has an `origin` that is none: scheme, host and port, and no path")?;
    let field = table.remove("header");
    let text = match (table.remove("env"), table.remove("file")) {
        (Some(variable), None) => find(Place::Variable(&variable))?,
        (None, Some(file)) => find(Place::File(&file))?,
        _ => return Err(EXPECTED.to_owned()),
    };
    if !table.is_empty() {
        return Err(EXPECTED.to_owned());
    }
    // A token alone is a bearer token (RFC 6750 §2.1); any other field holds the secret as it is.
    let (field, value) = match field {
        None => (
            http::header::AUTHORIZATION,
            HeaderValue::from_str(&format!("Bearer {}", text.reveal())),
        ),
        Some(field) => (
            HeaderName::from_bytes(field.as_bytes())
                .ok()
                .filter(is_free)
                .ok_or("has a `header` that cannot carry a secret")?,
            HeaderValue::from_str(text.reveal()),
        ),
    };
    let mut value =
        value.map_err(|_| "holds what no header field can carry, such as a line break")?;
    value.set_sensitive(true);
    Ok(Granted {
        origin: at,
        field,
        value,
    })
}

/// Whether a field is free for a secret: those that frame a message are not.
fn is_free(field: &HeaderName) -> bool {
    use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
    ![
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(field)
}

/// What a plugin wants. Two wants are the same when they ask for the same, whatever their reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Want {
    /// Requests to an origin; `None`: which one, only the operator can know.
    Http(Option<String>),
    /// So many KiB of storage.
    Kv(Option<u64>),
    /// Requests with a secret.
    Secret(Option<String>),
    /// Statements to a database.
    Postgres(Option<String>),
    /// Something that this gateway does not know.
    Other(String, Option<String>),
}

impl Want {
    /// What a capability asks for.
    pub fn of(capability: &Capability) -> Self {
        let target = capability.target.clone();
        match capability.name.as_str() {
            "http" => Self::Http(target.map(|text| match origin(&text) {
                Some(origin) => origin.ascii_serialization(),
                None => text,
            })),
            "kv" => Self::Kv(target.and_then(|kib| kib.parse().ok())),
            "secret" => Self::Secret(target),
            "postgres" => Self::Postgres(target),
            other => Self::Other(other.to_owned(), target),
        }
    }

    /// What a component wants. Those of the line before say `http` when they mean the backend that a call
    /// is about, which needs no grant, and could not use another.
    pub(super) fn all(description: &Description, line: Line) -> Vec<Self> {
        if line < Line::V0_2 {
            return Vec::new();
        }
        description.capabilities.iter().map(Self::of).collect()
    }

    /// Whether having been let have `other` says nothing against this.
    fn within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Kv(now), Self::Kv(before)) => now.unwrap_or(1) <= before.unwrap_or(1),
            _ => self == other,
        }
    }

    /// What of `now` goes beyond `before`. What nobody could grant does not count.
    pub(super) fn beyond(now: &[Self], before: &[Self]) -> Vec<Self> {
        now.iter()
            .filter(|want| !matches!(want, Self::Other(..)))
            .filter(|want| !before.iter().any(|known| want.within(known)))
            .cloned()
            .collect()
    }
}

/// The way that operators write it below `without`.
impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, target) = match self {
            Self::Http(origin) => ("http", origin.clone()),
            Self::Kv(kib) => ("kv", kib.map(|kib| kib.to_string())),
            Self::Secret(name) => ("secret", name.clone()),
            Self::Postgres(name) => ("postgres", name.clone()),
            Self::Other(name, target) => (name.as_str(), target.clone()),
        };
        match target {
            Some(target) => write!(f, "{} {}", name.escape_debug(), target.escape_debug()),
            None => write!(f, "{}", name.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Grants, BadGrant> {
        let table: toml::Table = text.parse().expect("TOML");
        Grants::parse(table, |place| match place {
            Place::Variable("API_KEY") => Ok(Secret::new("k3y".to_owned())),
            Place::File("/broken") => Ok(Secret::new("a\nb".to_owned())),
            other => Err(format!("{other:?} is not there")),
        })
    }

    const ALL: &str = r#"
        http = ["https://api.example.org", "http://127.0.0.1:8080/"]
        kv-kib = 4
        without = ["secret other"]
        [secrets.api-key]
        origin = "https://api.example.org"
        env = "API_KEY"
        header = "X-Api-Key"
        [secrets.token]
        origin = "https://api.example.org"
        env = "API_KEY"
    "#;

    #[test]
    fn grants_are_read_and_meet_wants() {
        let grants = parse(ALL).expect("grants");
        let want = |name: &str, target: Option<&str>| {
            Want::of(&Capability {
                name: name.to_owned(),
                target: target.map(str::to_owned),
                reason: String::new(),
            })
        };
        for (name, target, met) in [
            ("http", Some("https://api.example.org"), true),
            ("http", Some("https://api.example.org:443/"), true),
            ("http", Some("http://api.example.org"), false),
            ("http", Some("https://evil.example.org"), false),
            ("http", Some("nonsense"), false),
            ("http", None, true),
            ("kv", Some("4"), true),
            ("kv", Some("5"), false),
            ("kv", None, true),
            ("secret", Some("api-key"), true),
            ("secret", Some("other"), false),
            ("postgres", None, false),
        ] {
            assert_eq!(grants.meets(&want(name, target)), met, "{name} {target:?}");
        }
        assert!(grants.settles(&want("secret", Some("other"))));
        let key = grants.secret("api-key").expect("granted");
        assert_eq!(
            (key.field.as_str(), key.value.as_bytes()),
            ("x-api-key", &b"k3y"[..])
        );
        let token = grants.secret("token").expect("granted");
        assert_eq!(token.value.as_bytes(), b"Bearer k3y");
        assert!(!format!("{grants:?}").contains("k3y"), "{grants:?}");
        assert!(Grants::default().in_words().is_empty());
        assert_eq!(grants.in_words().len(), 5);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        for (text, key, told) in [
            ("http = \"https://x.test\"", "http", "list of origins"),
            ("http = [\"https://x.test/path\"]", "http", "no path"),
            ("http = [\"ftp://x.test\"]", "http", "list of origins"),
            ("http = [\"https://u:p@x.test\"]", "http", "list of origins"),
            ("kv-kib = -1", "kv-kib", "whole number"),
            ("kv = 1", "kv", "means nothing"),
            ("secrets = 1", "secrets", "means nothing"),
            ("secrets.a = 1", "secrets.a", "must be a table"),
            ("secrets.a = { env = \"API_KEY\" }", "secrets.a", "`origin`"),
            (
                "secrets.a = { origin = \"https://x.test\", env = \"NO\" }",
                "secrets.a",
                "is not there",
            ),
            (
                "secrets.a = { origin = \"https://x.test\", file = \"/broken\" }",
                "secrets.a",
                "line break",
            ),
            (
                "secrets.a = { origin = \"https://x.test\", env = \"API_KEY\", header = \"host\" }",
                "secrets.a",
                "cannot carry",
            ),
            (
                "secrets.a = { origin = \"https://x.test\", env = \"API_KEY\", file = \"x\" }",
                "secrets.a",
                "must be a table",
            ),
        ] {
            let (named, expected) = parse(text).expect_err(told);
            assert_eq!(named, key, "{text}");
            assert!(expected.contains(told), "{text}: {expected}");
        }
    }

    #[test]
    fn only_what_goes_beyond_counts() {
        let http = |origin: &str| Want::Http(Some(origin.to_owned()));
        let before = [http("https://a.test"), Want::Kv(Some(16))];
        let now = [
            http("https://a.test"),
            http("https://b.test"),
            Want::Kv(Some(8)),
            Want::Other("gpu".to_owned(), None),
        ];
        assert_eq!(Want::beyond(&now, &before), [http("https://b.test")]);
        assert_eq!(Want::beyond(&before, &now), [Want::Kv(Some(16))]);
    }
}
