//! Why a call did not end well.

use super::{CallError, Failure, LinkRequired, MissingScope, Scope};

/// Words for [`Failure::code`](super::Failure::code), for audit and metrics. An adapter may add
/// its own.
pub mod code {
    /// The backend refused the credential.
    pub const AUTH: &str = "backend_auth";
    /// The backend's own access rules said no; more scopes would not help.
    pub const ACL: &str = "backend_acl";
    /// The backend was asked and answered with an error.
    pub const ERROR: &str = "backend_error";
    /// The backend did not answer in time.
    pub const TIMEOUT: &str = "backend_timeout";
    /// The backend could not be reached, or what answered is not it.
    pub const UNAVAILABLE: &str = "backend_unavailable";
    /// The client would have to be asked for something, and has not declared that it can be. With
    /// `requiredCapabilities` in the `meta` (as MCP `ClientCapabilities`) the client is told which.
    pub const CAPABILITY: &str = "missing_capability";
}

impl CallError {
    /// The call was made, or tried, and did not succeed. `code` is one stable word (see
    /// [`code`]); `message` is for the model to read: no URL, no secret.
    pub fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Failed(Failure {
            code: code.into(),
            message: message.into(),
            meta: None,
        })
    }

    /// MCP `_meta` (a JSON object) for the result that a failure becomes. Other errors have none
    /// and stay as they are.
    #[must_use]
    pub fn with_meta(mut self, meta: impl Into<String>) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.meta = Some(meta.into());
        }
        self
    }

    /// There is no such tool, prompt or resource.
    pub fn not_found(name: impl Into<String>) -> Self {
        Self::NotFound(name.into())
    }

    /// The arguments are wrong; says what, for the model to read.
    pub fn invalid_arguments(what: impl Into<String>) -> Self {
        Self::InvalidArguments(what.into())
    }

    /// The backend wants the user's own account there, or another grant of it than there is: the user
    /// is sent to link one. `scopes`: those that it asked for besides.
    pub fn link_required<S: Into<Scope>>(scopes: impl IntoIterator<Item = S>) -> Self {
        Self::LinkRequired(LinkRequired {
            scopes: scopes.into_iter().map(Into::into).collect(),
        })
    }

    /// The backend wants more scopes, and having them would help: the client is told to step up.
    /// `method` is the backend's own method or tool that asked.
    pub fn missing_scope<S: Into<Scope>>(
        required: impl IntoIterator<Item = S>,
        method: impl Into<String>,
    ) -> Self {
        Self::MissingScope(MissingScope {
            required: required.into_iter().map(Into::into).collect(),
            method: method.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_have_meta() {
        let failed = CallError::failed(code::ERROR, "no").with_meta("{}");
        assert_eq!(
            failed,
            CallError::Failed(Failure {
                code: "backend_error".into(),
                message: "no".into(),
                meta: Some("{}".into()),
            })
        );
        assert_eq!(
            CallError::Unsupported.with_meta("{}"),
            CallError::Unsupported
        );
    }
}
