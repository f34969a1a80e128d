//! Every way in which a request is not served. Facts only: status codes and JSON-RPC codes are
//! chosen in `server::respond`.

use thiserror::Error;

use crate::oauth::{Invalid, TokenError};
use crate::plugin::Fault;
use crate::streams::NoStream;
use crate::types::ScopeSet;

/// Why a request gets no result.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The `Origin` is not allowed.
    #[error("the origin is not allowed")]
    ForbiddenOrigin,
    /// Too much work at one time, or no place for the audit record.
    #[error("the gateway is overloaded; try again")]
    Overloaded,
    /// The caller's audit records cannot be written now.
    #[error("what you ask for could not be recorded at the moment; try again")]
    Unrecordable,
    /// The caller has as many requests in flight as one may have.
    #[error("too many requests at one time; wait for one to end")]
    TooManyAtOnce,
    /// A legacy `MCP-Protocol-Version` that is not served.
    #[error("protocol version `{0}` is not served")]
    UnknownLegacyVersion(String),
    /// A modern protocol version that is not served.
    #[error("protocol version `{0}` is not served")]
    UnsupportedVersion(String),
    /// A header and the body disagree, or a required header is missing.
    #[error("{0}")]
    HeaderMismatch(String),
    /// A modern request without the `_meta` it needs.
    #[error("{0}")]
    MissingMeta(String),
    /// No credential was presented.
    #[error("a valid access token is required")]
    Unauthenticated,
    /// The `Authorization` header is not what RFC 6750 §2.1 says.
    #[error("{0}")]
    BadAuthorization(&'static str),
    /// An access token that is not accepted.
    #[error(transparent)]
    InvalidToken(Invalid),
    /// Whether an access token is good cannot be told now.
    #[error("access tokens cannot be checked at the moment; try again")]
    TokenUnchecked,
    /// The caller has called too often.
    #[error("too many requests; try again in {seconds} s")]
    TooOften {
        /// When it may call again, in seconds.
        seconds: u64,
    },
    /// `Host` names a place that this gateway is not at.
    #[error("the host is not allowed")]
    ForbiddenHost,
    /// `Host` is missing, there twice or malformed.
    #[error("the request names no host, or more than one")]
    BadHost,
    /// The caller is of no pool, or of another, than this gateway is for.
    #[error("forbidden")]
    OtherPool,
    /// The body is not `application/json`.
    #[error("expected one `Content-Type: application/json`, and no `Content-Encoding`")]
    NotJsonType,
    /// The body is larger than this.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTooSlow,
    /// The body broke off.
    #[error("the body broke off")]
    BodyBroken,
    /// The body is not JSON.
    #[error("{0}")]
    NotJson(String),
    /// The body is not one JSON-RPC message.
    #[error("{0}")]
    InvalidMessage(String),
    /// A session id that this gateway did not give out.
    #[error("session not found; initialize again")]
    UnknownSession,
    /// A request about a session that names none.
    #[error("the header Mcp-Session-Id is required")]
    SessionRequired,
    /// The HTTP method is not for this request; carries those that are.
    #[error("expected {0}")]
    NotThisWay(&'static str),
    /// The client has called the request off.
    #[error("the request was cancelled")]
    Cancelled,
    /// There is no room for another stream.
    #[error(transparent)]
    NoStream(NoStream),
    /// No such method.
    #[error("method not found: {0}")]
    UnknownMethod(String),
    /// Wrong parameters.
    #[error("{0}")]
    InvalidParams(String),
    /// No such tool.
    #[error("unknown tool: {0}")]
    UnknownTool(String),
    /// No such prompt.
    #[error("unknown prompt: {0}")]
    UnknownPrompt(String),
    /// No such resource; carries its URI.
    #[error("resource not found")]
    UnknownResource(String),
    /// A prompt, a resource or a completion could not be had. (A tool says so in its result.)
    #[error("{message}")]
    Failed {
        /// One stable word.
        code: String,
        /// For the model to read.
        message: String,
        /// A JSON object with more about it.
        meta: Option<String>,
    },
    /// What the owner needs to ask of the client was not declared by the client (modern era).
    #[error("the request needs a capability that the client has not declared")]
    MissingCapability {
        /// As `ClientCapabilities` would declare it.
        required: serde_json::Value,
    },
    /// The owner wants the caller's own account, and the client can open links (2025-11-25).
    #[error("{message}")]
    LinkRequired {
        /// For a person to read.
        message: String,
        /// MCP `ElicitRequestURLParams`, an array of them.
        elicitations: serde_json::Value,
    },
    /// The caller lacks scopes for what was asked.
    #[error("insufficient scope")]
    InsufficientScope {
        /// All that are needed.
        required: ScopeSet,
        /// All that the caller has.
        granted: ScopeSet,
    },
    /// A policy said no, and more scopes would not help. Carries the reason.
    #[error("refused by policy: {0}")]
    Denied(String),
    /// The backend said that the caller lacks scopes.
    #[error("backend refused scope")]
    BackendRefusedScope {
        /// What it asked for.
        required: ScopeSet,
        /// Its own name for what was called.
        method: String,
    },
    /// A plugin failed.
    #[error(transparent)]
    Plugin(#[from] Fault),
    /// Something that should not happen.
    #[error("internal error")]
    Internal(String),
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid(why) => Self::InvalidToken(why),
            TokenError::Unchecked => Self::TokenUnchecked,
        }
    }
}

impl Refusal {
    /// One stable word for audit and metrics.
    pub fn code(&self) -> &str {
        match self {
            Self::ForbiddenOrigin => "forbidden_origin",
            Self::Overloaded => "overloaded",
            Self::Unrecordable => "audit_unavailable",
            Self::TooManyAtOnce => "too_many_at_once",
            Self::UnknownLegacyVersion(_) | Self::UnsupportedVersion(_) => "unsupported_version",
            Self::HeaderMismatch(_) => "header_mismatch",
            Self::MissingMeta(_) => "missing_meta",
            Self::Unauthenticated => "unauthenticated",
            Self::BadAuthorization(_) => "bad_authorization",
            Self::InvalidToken(_) => "invalid_token",
            Self::TokenUnchecked => "token_unchecked",
            Self::TooOften { .. } => "rate_limited",
            Self::ForbiddenHost => "forbidden_host",
            Self::BadHost => "bad_host",
            Self::OtherPool => "other_pool",
            Self::NotJsonType => "not_json_type",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::NotJson(_) => "parse_error",
            Self::InvalidMessage(_) => "invalid_request",
            Self::UnknownSession => "unknown_session",
            Self::SessionRequired => "session_required",
            Self::NotThisWay(_) => "method_not_allowed",
            Self::Cancelled => "cancelled",
            Self::NoStream(NoStream::TooManyOfCaller) => "too_many_streams",
            Self::NoStream(NoStream::Undecided) => "policy_undecided",
            Self::NoStream(_) => "overloaded",
            Self::UnknownMethod(_) => "method_not_found",
            Self::InvalidParams(_) => "invalid_params",
            Self::UnknownTool(_) => "unknown_tool",
            Self::UnknownPrompt(_) => "unknown_prompt",
            Self::UnknownResource(_) => "resource_not_found",
            Self::Failed { code, .. } => code,
            Self::MissingCapability { .. } => "missing_capability",
            Self::LinkRequired { .. } => "account_required",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::Denied(_) => "denied_by_policy",
            Self::BackendRefusedScope { .. } => "backend_refused_scope",
            Self::Plugin(fault) => fault.cause.code(),
            Self::Internal(_) => "internal_error",
        }
    }
}
