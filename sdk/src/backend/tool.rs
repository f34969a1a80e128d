//! What a catalog is made of.

use super::{Catalog, Deprecation, Scope, Skipped, Tool};
use crate::schema::Params;

impl Tool {
    /// A tool by the backend's own name. It takes no parameters yet, and without a
    /// [scope](Self::scope) the default policy shows it to nobody.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: None,
            description: description.into(),
            input_schema: r#"{"type":"object"}"#.into(),
            output_schema: None,
            annotations: None,
            icons: None,
            meta: None,
            extra: None,
            scopes: Vec::new(),
            version: None,
            deprecated: None,
        }
    }

    /// A name for people to read.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Asks for one scope more.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Adds a parameter to the input schema, in the [notation](crate::schema) of the backend
    /// contract: `.param("tags", "string[]?")`. Replaces a schema given as a whole.
    ///
    /// # Panics
    ///
    /// When `notation` is not one.
    #[must_use]
    pub fn param(mut self, name: &str, notation: &str) -> Self {
        let mut params = Params::from_schema(&self.input_schema).unwrap_or_default();
        if let Err(error) = params.add(name, notation) {
            panic!("parameter `{name}` of tool `{}`: {error}", self.name);
        }
        self.input_schema = params.to_schema();
        self
    }

    /// The whole input schema: JSON Schema of an object, as text.
    #[must_use]
    pub fn input_schema(mut self, json: impl Into<String>) -> Self {
        self.input_schema = json.into();
        self
    }

    /// JSON Schema of the structured content, as text.
    #[must_use]
    pub fn output_schema(mut self, json: impl Into<String>) -> Self {
        self.output_schema = Some(json.into());
        self
    }

    /// MCP `annotations`, a JSON object: `{"readOnlyHint":true}`.
    #[must_use]
    pub fn annotations(mut self, json: impl Into<String>) -> Self {
        self.annotations = Some(json.into());
        self
    }

    /// The tool's own version (semver).
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Says that the tool will go away.
    #[must_use]
    pub fn deprecated(mut self, deprecation: Deprecation) -> Self {
        self.deprecated = Some(deprecation);
        self
    }
}

impl Catalog {
    /// A catalog of tools.
    pub fn of(tools: impl IntoIterator<Item = Tool>) -> Self {
        Self {
            tools: tools.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Notes what was left out and why, so that its owner can mend it.
    pub fn skip(&mut self, item: impl Into<String>, reason: impl Into<String>) {
        self.skipped.push(Skipped {
            item: item.into(),
            reason: reason.into(),
        });
    }
}

#[expect(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Catalog {
    fn default() -> Self {
        Self {
            tools: Vec::new(),
            prompts: Vec::new(),
            resource_templates: Vec::new(),
            resources: Vec::new(),
            skipped: Vec::new(),
            learned: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_add_up() {
        let tool = Tool::new("search", "Searches");
        assert_eq!(tool.input_schema, r#"{"type":"object"}"#);
        let tool = tool.param("q", "string").param("n", "number?");
        assert_eq!(
            tool.input_schema,
            concat!(
                r#"{"type":"object","properties":{"q":{"type":"string"},"#,
                r#""n":{"type":"number"}},"required":["q"]}"#
            )
        );
        assert_eq!(
            tool.input_schema(r#"{"type":"object","x":1}"#).input_schema,
            r#"{"type":"object","x":1}"#
        );
    }

    #[test]
    #[should_panic = "parameter `q` of tool `search`: `text` is not"]
    fn a_misspelt_notation_is_found_by_the_first_test() {
        let _ = Tool::new("search", "Searches").param("q", "text");
    }
}
