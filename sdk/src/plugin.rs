//! How a plugin introduces itself.

pub use crate::bindings::cortex::gateway::types::{Capability, Description};

/// The author's crate, as its `Cargo.toml` names it. The export macros fill it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// `package.name`.
    pub name: &'static str,
    /// `package.version`.
    pub version: &'static str,
    /// `package.description`.
    pub description: &'static str,
}

impl From<Package> for Description {
    /// The crate's own words. Plugin names have `-` and lower case where crates may have `_` and
    /// capitals.
    fn from(package: Package) -> Self {
        Self {
            name: package.name.to_ascii_lowercase().replace('_', "-"),
            version: package.version.to_owned(),
            summary: package.description.to_owned(),
            settings_schema: None,
            capabilities: Vec::new(),
        }
    }
}

impl Description {
    /// Declares the settings: a JSON Schema (an object), as text.
    #[must_use]
    pub fn settings(mut self, schema: impl Into<String>) -> Self {
        self.settings_schema = Some(schema.into());
        self
    }

    /// Asks for requests to an origin such as `https://api.example.org`, besides those to the backend
    /// that a call is about, which need no grant.
    #[must_use]
    pub fn wants_http(self, origin: impl Into<String>, reason: impl Into<String>) -> Self {
        self.wants("http", Some(origin.into()), reason)
    }

    /// Asks for requests to origins that only the operator can know.
    #[must_use]
    pub fn wants_some_http(self, reason: impl Into<String>) -> Self {
        self.wants("http", None, reason)
    }

    /// Asks for [requests with a secret](crate::http::Request::with_secret) of this name.
    #[must_use]
    pub fn wants_secret(self, name: impl Into<String>, reason: impl Into<String>) -> Self {
        self.wants("secret", Some(name.into()), reason)
    }

    /// Asks for so many KiB of [storage](crate::kv).
    #[must_use]
    pub fn wants_kv(self, kib: u32, reason: impl Into<String>) -> Self {
        self.wants("kv", Some(kib.to_string()), reason)
    }

    /// Asks for [statements](crate::postgres) to the database of this name.
    #[must_use]
    pub fn wants_postgres(self, database: impl Into<String>, reason: impl Into<String>) -> Self {
        self.wants("postgres", Some(database.into()), reason)
    }

    /// Asks for any capability, with a reason that an operator can decide on.
    #[must_use]
    pub fn wants(
        mut self,
        capability: impl Into<String>,
        target: Option<String>,
        reason: impl Into<String>,
    ) -> Self {
        self.capabilities.push(Capability {
            name: capability.into(),
            target,
            reason: reason.into(),
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_comes_from_the_package() {
        let package = Package {
            name: "Hello_backend",
            version: "1.2.3",
            description: "Greets",
        };
        let described = Description::from(package)
            .settings(r#"{"type":"object"}"#)
            .wants_http("https://api.test", "to look words up")
            .wants_kv(16, "to remember them");
        assert_eq!(
            described,
            Description {
                name: "hello-backend".into(),
                version: "1.2.3".into(),
                summary: "Greets".into(),
                settings_schema: Some(r#"{"type":"object"}"#.into()),
                capabilities: vec![
                    Capability {
                        name: "http".into(),
                        target: Some("https://api.test".into()),
                        reason: "to look words up".into(),
                    },
                    Capability {
                        name: "kv".into(),
                        target: Some("16".into()),
                        reason: "to remember them".into(),
                    },
                ],
            }
        );
    }
}
