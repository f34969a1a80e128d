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

    /// Asks for a capability, such as `http`, with a reason that an operator can decide on.
    #[must_use]
    pub fn wants(mut self, capability: impl Into<String>, reason: impl Into<String>) -> Self {
        self.capabilities.push(Capability {
            name: capability.into(),
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
            .wants("http", "to reach the backend");
        assert_eq!(
            described,
            Description {
                name: "hello-backend".into(),
                version: "1.2.3".into(),
                summary: "Greets".into(),
                settings_schema: Some(r#"{"type":"object"}"#.into()),
                capabilities: vec![Capability {
                    name: "http".into(),
                    reason: "to reach the backend".into(),
                }],
            }
        );
    }
}
