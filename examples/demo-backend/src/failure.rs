//! Everything that can go wrong, and the status and body that say so.

use hyper::StatusCode;
use serde_json::{Value, json};

/// A refusal or an error, as the gateway expects to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No token, or one that is not good here.
    TokenRefused(&'static str),
    /// The technical token is no identity: it lists, it never acts.
    TechnicalTokenOnly,
    /// The token lacks this scope; more scopes would help.
    ScopeMissing(&'static str),
    /// Our own access rules say no; more scopes would not help.
    NotAllowed(&'static str),
    /// No tool or method has this name.
    UnknownMethod,
    /// What was asked for does not exist.
    NotFound(String),
    /// The arguments make no sense to the tool.
    BadArguments(String),
    /// The notebook is full.
    Full,
    /// The request is not one of the contract's.
    BadRequest(&'static str),
    /// The request's body is too large.
    TooLarge,
    /// The request's body took too long to arrive.
    TooSlow,
}

impl Failure {
    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TokenRefused(_) => StatusCode::UNAUTHORIZED,
            Self::TechnicalTokenOnly | Self::ScopeMissing(_) | Self::NotAllowed(_) => {
                StatusCode::FORBIDDEN
            }
            Self::UnknownMethod | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::BadArguments(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Full => StatusCode::CONFLICT,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The body of the answer. Only a missing scope carries `required`: by this the gateway
    /// tells "ask for more scopes" from "you may not".
    pub fn body(&self) -> Value {
        let error = match self {
            Self::TokenRefused(why) | Self::NotAllowed(why) | Self::BadRequest(why) => {
                (*why).to_owned()
            }
            Self::TechnicalTokenOnly => {
                "the technical token serves catalog methods only".to_owned()
            }
            Self::ScopeMissing(scope) => {
                return json!({"error": format!("missing scope {scope}"), "required": scope});
            }
            Self::UnknownMethod => "unknown method".to_owned(),
            Self::NotFound(what) => format!("no such {what}"),
            Self::BadArguments(why) => why.clone(),
            Self::Full => "the notebook is full: delete a note first".to_owned(),
            Self::TooLarge => "request body too large".to_owned(),
            Self::TooSlow => "request body too slow".to_owned(),
        };
        json!({ "error": error })
    }
}
