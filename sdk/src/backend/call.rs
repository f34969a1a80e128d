//! Reading what the gateway hands over.

use serde::de::DeserializeOwned;

use super::{CallError, Principal, Target, ToolCall, code};
use crate::json;

impl Target {
    /// Absolute URL of a path (starting with `/`) of this backend.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    /// This backend's settings for the adapter, parsed.
    ///
    /// # Errors
    ///
    /// [`CallError::Failed`] when they are not as `T` asks.
    pub fn parse_settings<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_str(&self.settings).map_err(|error| {
            CallError::failed(
                code::UNAVAILABLE,
                format!("Backend {} is misconfigured: {error}", self.id),
            )
        })
    }
}

impl Principal {
    /// Whether the access token names this scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }

    /// Whether the access token names all of these scopes.
    pub fn has_scopes<S: AsRef<str>>(&self, scopes: &[S]) -> bool {
        scopes.iter().all(|scope| self.has_scope(scope.as_ref()))
    }
}

/// Shorthands for [`arguments`](ToolCall::arguments), which is JSON text. An adapter that only
/// passes it on need not parse it.
impl ToolCall {
    /// All arguments, parsed.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidArguments`] when they are not as `T` asks.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_str(&self.arguments)
            .map_err(|error| CallError::invalid_arguments(error.to_string()))
    }

    /// One argument; `None` if it is absent or `null`.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidArguments`] when it is not a `T`.
    pub fn arg<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CallError> {
        json::member(&self.arguments, name)
            .map_err(|error| CallError::invalid_arguments(format!("`{name}`: {error}")))
    }

    /// One text that must be given.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidArguments`] when it is absent or not a string.
    pub fn arg_str(&self, name: &str) -> Result<String, CallError> {
        self.arg(name)?
            .ok_or_else(|| CallError::invalid_arguments(format!("`{name}` is missing")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn said(error: CallError) -> String {
        match error {
            CallError::InvalidArguments(said) => said,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_argument() {
        let check = |arguments: &str, expected: Result<&str, &str>| {
            let got = testing::call("t", arguments).arg_str("name").map_err(said);
            match (&got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected),
                (Err(got), Err(part)) => assert!(got.contains(part), "{arguments}: {got}"),
                _ => panic!("{arguments}: {got:?}"),
            }
        };
        check(r#"{"name":"Ann"}"#, Ok("Ann"));
        check(r#"{}"#, Err("`name` is missing"));
        check(r#"{"name":null}"#, Err("`name` is missing"));
        check(r#"{"name":7}"#, Err("`name`: invalid type: integer `7`"));
    }

    #[test]
    fn all_arguments() {
        let call = testing::call("t", r#"{"a":1,"b":2}"#);
        let sum: u32 = call
            .args::<std::collections::BTreeMap<String, u32>>()
            .map_or(0, |args| args.values().sum());
        assert_eq!(sum, 3);
        assert!(call.args::<Vec<u32>>().map_err(said).is_err());
    }

    #[test]
    fn scopes_are_compared_whole_and_with_case() {
        let caller = testing::caller(&["mcp:docs:read", "mcp:wiki:read"]);
        let check = |scopes: &[&str], expected: bool| {
            assert_eq!(caller.has_scopes(scopes), expected, "{scopes:?}");
        };
        check(&[], true);
        check(&["mcp:docs:read"], true);
        check(&["mcp:docs:read", "mcp:wiki:read"], true);
        check(&["mcp:docs:read", "mcp:docs:write"], false);
        check(&["mcp:docs"], false);
        check(&["MCP:docs:read"], false);
    }

    #[test]
    fn broken_settings_name_the_backend() {
        let mut target = testing::target();
        target.settings = r#"{"path":3}"#.into();
        let error = target.parse_settings::<std::collections::BTreeMap<String, String>>();
        assert!(
            matches!(&error, Err(CallError::Failed(failure))
                if failure.message.starts_with("Backend docs is misconfigured: invalid type")),
            "{error:?}"
        );
    }
}
