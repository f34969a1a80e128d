//! `WWW-Authenticate` as a client reads it (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1).

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use super::shown;
use crate::types::{Scope, ScopeSet};

/// What a `Bearer` challenge says; empty if there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    params: BTreeMap<String, String>,
    scopes: Option<ScopeSet>,
}

impl Challenge {
    /// Reads the first `Bearer` challenge.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(parse);
        let bearer = challenges
            .into_iter()
            .find(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let params = bearer.map(|(_, params)| params).unwrap_or_default();
        // What is no scope is left out: no token could have it.
        let scopes = params.get("scope").map(|text| {
            text.split(' ')
                .filter_map(|scope| scope.parse::<Scope>().ok())
                .collect::<ScopeSet>()
        });
        Self {
            scopes: scopes.filter(|scopes| !scopes.is_empty()),
            params,
        }
    }

    /// Whether more scopes would help.
    pub(crate) fn is_insufficient_scope(&self) -> bool {
        self.params
            .get("error")
            .is_some_and(|error| error == "insufficient_scope")
    }

    /// The scopes that it asks for.
    pub(crate) fn scopes(&self) -> Option<&ScopeSet> {
        self.scopes.as_ref()
    }

    /// Why, in the server's words.
    pub(crate) fn description(&self) -> Option<String> {
        let text = self
            .params
            .get("error_description")
            .or_else(|| self.params.get("error"));
        text.map(|text| shown(text))
    }

    /// Where the resource's metadata is.
    pub(crate) fn resource_metadata(&self) -> Option<&str> {
        self.params.get("resource_metadata").map(String::as_str)
    }
}

/// Every challenge of one header value, with its parameters.
fn parse(value: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut challenges: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = value.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, after) = rest.split_at(token_len(rest));
        if word.is_empty() {
            // No grammar has this; what was read before still counts.
            break;
        }
        let trimmed = after.trim_start_matches([' ', '\t']);
        rest = match trimmed.strip_prefix('=') {
            // A parameter, unless it is the padding of a token68.
            Some(value) if !challenges.is_empty() => {
                let (value, after) = parameter(value.trim_start_matches([' ', '\t']));
                if let Some((_, params)) = challenges.last_mut() {
                    // The first one counts.
                    params.entry(word.to_ascii_lowercase()).or_insert(value);
                }
                after
            }
            Some(padding) => padding.trim_start_matches('='),
            None => {
                challenges.push((word.to_owned(), BTreeMap::new()));
                trimmed
            }
        };
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    challenges
}

/// A token or a quoted string, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(token_len(text));
        // What is neither is skipped up to the next comma.
        let skipped = rest.find(',').unwrap_or(rest.len());
        return (value.to_owned(), rest.get(skipped..).unwrap_or_default());
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn token_len(text: &str) -> usize {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    text.bytes()
        .position(|b| !is_token(b))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Challenge {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().expect("a value"));
        }
        Challenge::read(&headers)
    }

    #[test]
    fn the_bearer_challenge_is_found_among_others() {
        let expected = read(&[
            r#"Bearer error="insufficient_scope", scope="a:read b:write", resource_metadata="https://x/y""#,
        ]);
        assert!(expected.is_insufficient_scope());
        assert_eq!(
            expected.scopes().map(ToString::to_string).as_deref(),
            Some("a:read b:write")
        );
        assert_eq!(expected.resource_metadata(), Some("https://x/y"));
        for values in [
            &[
                r#"Basic realm="a, Bearer error=\"no\"", bearer error=insufficient_scope , SCOPE = "a:read b:write",resource_metadata="https://x/y""#,
            ][..],
            &[
                "Negotiate",
                r#"BEARER scope="a:read b:write", error="insufficient_scope", resource_metadata="https://x/y", scope="c""#,
            ],
            &[
                r#"Digest a=b, Bearer error="insufficient_scope", resource_metadata="https://x/y", scope="b:write a:read""#,
            ],
        ] {
            let mut found = read(values);
            found
                .params
                .insert("scope".to_owned(), "a:read b:write".to_owned());
            assert_eq!(found, expected, "{values:?}");
        }
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for values in [
            &[][..],
            &[""],
            &["Bearer"],
            &["=,=,"],
            &["Bearer \"x"],
            &["Basic error=\"insufficient_scope\""],
        ] {
            let found = read(values);
            assert!(
                !found.is_insufficient_scope() && found.scopes().is_none(),
                "{values:?}: {found:?}"
            );
        }
    }
}
