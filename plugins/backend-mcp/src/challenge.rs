//! What a server that refuses a request wants (RFC 6750 §3).

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// 401 or 403.
    pub(crate) status: u16,
    /// It says that more scopes would help; these.
    pub(crate) scopes: Option<Vec<String>>,
}

/// Reads a challenge.
pub(crate) fn read(status: u16, challenge: &str) -> Refused {
    let wants_more = parameter(challenge, "error").as_deref() == Some("insufficient_scope");
    let scopes = parameter(challenge, "scope").unwrap_or_default();
    let scopes = scopes.split(' ').filter(|scope| !scope.is_empty());
    Refused {
        status,
        scopes: wants_more.then(|| scopes.map(str::to_owned).collect()),
    }
}

/// A parameter of a challenge: a token or a quoted string (RFC 9110 §11.2). What stands inside the
/// quotes of another parameter is none.
fn parameter(challenge: &str, wanted: &str) -> Option<String> {
    let mut rest = challenge;
    loop {
        let (before, after) = rest.split_once('=')?;
        let name = before.rsplit([' ', ',', '\t']).next()?;
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted),
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

/// Up to the closing quote, and what follows it.
fn quoted_string(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_more_it_wants_is_read() {
        let scopes = |challenge: &str| read(403, challenge).scopes;
        let some = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect());
        assert_eq!(
            scopes(r#"Bearer error="insufficient_scope", scope="a b""#),
            some(&["a", "b"])
        );
        assert_eq!(
            scopes(r#"Bearer realm="x, scope=evil", scope=a, error=insufficient_scope"#),
            some(&["a"])
        );
        assert_eq!(scopes(r#"Bearer error="insufficient_scope""#), some(&[]));
        for other in [
            "",
            "Bearer",
            r#"Bearer error="invalid_token", scope="a""#,
            r#"Bearer error="invalid_token\" error=insufficient_scope""#,
            "=\"",
        ] {
            assert_eq!(scopes(other), None, "{other}");
        }
    }
}
