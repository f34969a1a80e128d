//! To the authorization endpoint and back (RFC 6749 §4.1, RFC 7636, RFC 8707, RFC 9207).

use std::collections::HashMap;

use thiserror::Error;
use url::Url;

use super::pkce::Pkce;
use super::shown;
use crate::types::{ScopeSet, Secret};

/// Why an authorization response brings no code.
#[derive(Debug, Error)]
pub(crate) enum AuthorizeError {
    /// Somebody else answered (RFC 9207 §2.4).
    #[error("the answer came from another authorization server than was asked")]
    OtherIssuer,
    /// It is not known who answered.
    #[error("the answer lacks `iss`, which the authorization server promises")]
    NoIssuer,
    /// The server, or the user, says no.
    #[error("the authorization server says `{0}`{1}")]
    Refused(String, String),
    /// The server says neither yes nor no.
    #[error("the answer has no code")]
    NoCode,
}

/// An authorization request (RFC 6749 §4.1.1).
pub(crate) struct Authorization<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) redirect: &'a str,
    pub(crate) state: &'a str,
    pub(crate) pkce: &'a Pkce,
    /// What the token is to be for (RFC 8707).
    pub(crate) resource: &'a str,
    pub(crate) scopes: &'a ScopeSet,
}

impl Authorization<'_> {
    /// Where the browser goes.
    pub(crate) fn url(&self, endpoint: &Url) -> Url {
        let mut url = endpoint.clone();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", self.client_id)
                .append_pair("redirect_uri", self.redirect)
                .append_pair("state", self.state)
                .append_pair("code_challenge", &self.pkce.challenge)
                .append_pair("code_challenge_method", "S256")
                .append_pair("resource", self.resource);
            if !self.scopes.is_empty() {
                query.append_pair("scope", &self.scopes.to_string());
            }
        }
        url
    }
}

/// Parameters of an authorization response, of which nothing is believed yet.
pub(crate) struct Response(HashMap<String, String>);

impl Response {
    /// Reads a query. `None`: something is there twice (RFC 6749 §3.1).
    pub(crate) fn read(query: &str) -> Option<Self> {
        let mut params = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if params
                .insert(name.into_owned(), value.into_owned())
                .is_some()
            {
                return None;
            }
        }
        Some(Self(params))
    }

    /// The state: whose answer this is. To be looked at before anything else.
    pub(crate) fn state(&self) -> Option<&str> {
        self.0.get("state").map(String::as_str)
    }

    /// The code, if it comes from `issuer`.
    ///
    /// # Errors
    /// [`AuthorizeError`].
    pub(crate) fn code(
        mut self,
        issuer: &str,
        promises_iss: bool,
    ) -> Result<Secret, AuthorizeError> {
        match self.0.get("iss") {
            Some(iss) if iss != issuer => return Err(AuthorizeError::OtherIssuer),
            None if promises_iss => return Err(AuthorizeError::NoIssuer),
            _ => {}
        }
        if let Some(error) = self.0.get("error") {
            let description = self.0.get("error_description");
            let description = description.map(|text| format!(" ({})", shown(text)));
            return Err(AuthorizeError::Refused(
                shown(error),
                description.unwrap_or_default(),
            ));
        }
        let code = self.0.remove("code").filter(|code| !code.is_empty());
        code.map(Secret::new).ok_or(AuthorizeError::NoCode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_servers_answer_brings_a_code() {
        let judged = |query: &str, promised| {
            let response = Response::read(query)?;
            response.state().filter(|state| *state == "s1")?;
            let code = response.code("https://i.example/t", promised);
            Some(
                code.map(|code| code.reveal().to_owned())
                    .map_err(|error| error.to_string()),
            )
        };
        let code = Some(Ok("c1".to_owned()));
        assert_eq!(judged("code=c1&state=s1", false), code);
        assert_eq!(
            judged("code=c1&state=s1&iss=https%3A%2F%2Fi.example%2Ft", true),
            code
        );
        for other in [
            "",
            "code=c1",
            "code=c1&state=s2",
            "code=c1&state=s1&state=s1",
            "code=c1&code=c2&state=s1",
        ] {
            assert_eq!(judged(other, false), None, "{other}");
        }
        for (query, promised, expected) in [
            ("code=c1&state=s1", true, "iss"),
            (
                "code=c1&state=s1&iss=https%3A%2F%2Fi.example%2Ft%2F",
                false,
                "another",
            ),
            (
                "error=evil&state=s1&iss=https%3A%2F%2Fevil.example",
                false,
                "another",
            ),
            (
                "error=access_denied&error_description=No.&state=s1",
                false,
                "access_denied` (No.)",
            ),
            ("state=s1", false, "no code"),
        ] {
            let error = judged(query, promised).expect("judged").expect_err(query);
            assert!(
                error.contains(expected) && !error.contains("evil"),
                "{error}"
            );
        }
    }
}
