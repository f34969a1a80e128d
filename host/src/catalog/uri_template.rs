//! Which resources does a URI template (RFC 6570) speak of?
//!
//! Only what routing needs: whether a URI could be an expansion of a template, and how much of it
//! the template spells out. Templates and URIs come from others, so the work is bounded by the
//! product of their lengths.

/// A template, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UriTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// Anything, even nothing; `/`, `?` and `#` only where the expression may bring them.
    Expression {
        reserved: bool,
    },
}

impl UriTemplate {
    /// Takes a template apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            if literal.contains('}') {
                return Err("a `}` without `{`".to_owned());
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let (expression, after) = after
                .split_once('}')
                .ok_or_else(|| "a `{` without `}`".to_owned())?;
            if expression.is_empty() || expression.contains('{') {
                return Err(format!("`{{{expression}}}` is no expression"));
            }
            // `+` and `#` let reserved characters through, `/ ? &` bring them, `*` repeats.
            let reserved = expression.starts_with(['+', '#', '/', '?', '&']);
            parts.push(Part::Expression { reserved });
            rest = after;
        }
        if rest.contains('}') {
            return Err("a `}` without `{`".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The scheme of every URI of this template, if the template spells it out.
    pub(super) fn scheme(&self) -> Option<&str> {
        match self.0.first() {
            Some(Part::Literal(text)) => scheme(text),
            _ => None,
        }
    }

    /// How many bytes of a URI the template spells out: of two that match, the one that spells
    /// out more is meant.
    pub(super) fn spelled_out(&self) -> usize {
        let literals = self.0.iter().map(|part| match part {
            Part::Literal(text) => text.len(),
            Part::Expression { .. } => 0,
        });
        literals.sum()
    }

    /// Whether this URI could be an expansion.
    pub(super) fn matches(&self, uri: &str) -> bool {
        let uri = uri.as_bytes();
        // Positions of the URI that the parts so far can have reached.
        let mut reached = vec![false; uri.len() + 1];
        reached[0] = true;
        for part in &self.0 {
            let mut next = vec![false; uri.len() + 1];
            match part {
                Part::Literal(text) => {
                    for at in (0..=uri.len()).filter(|at| reached[*at]) {
                        if uri[at..].starts_with(text.as_bytes()) {
                            next[at + text.len()] = true;
                        }
                    }
                }
                Part::Expression { reserved } => {
                    let mut open = false;
                    for at in 0..=uri.len() {
                        open |= reached[at];
                        next[at] = open;
                        if at < uri.len() && !reserved && matches!(uri[at], b'/' | b'?' | b'#') {
                            open = false;
                        }
                    }
                }
            }
            reached = next;
        }
        reached[uri.len()]
    }
}

/// The scheme of a URI (RFC 3986 §3.1), as written.
pub(super) fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let mut bytes = scheme.bytes();
    let good = bytes.next()?.is_ascii_alphabetic()
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    good.then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_match_what_a_template_could_expand_to() {
        for (template, uri, expected) in [
            ("demo://notes/{id}", "demo://notes/1", true),
            ("demo://notes/{id}", "demo://notes/a%2Fb", true),
            ("demo://notes/{id}", "demo://notes/", true),
            ("demo://notes/{id}", "demo://notes/1/2", false),
            ("demo://notes/{id}", "demo://other/1", false),
            ("demo://notes/{id}", "x-demo://notes/1", false),
            ("t://{id}/data", "t://123/data", true),
            ("t://{id}/data", "t://123/data/more", false),
            ("t://{a}-{b}/x", "t://1-2-3/x", true),
            ("file:///{+path}", "file:///a/b/c", true),
            ("file:///{path}", "file:///a/b/c", false),
            ("s://x{?q,lang}", "s://x?q=1&lang=de", true),
            ("s://x{?q,lang}", "s://x", true),
            ("s://fixed", "s://fixed", true),
            ("s://fixed", "s://fixe", false),
        ] {
            let parsed = UriTemplate::parse(template).expect(template);
            assert_eq!(parsed.matches(uri), expected, "{template} {uri}");
        }
    }

    #[test]
    fn a_hostile_pair_costs_little() {
        let parsed = UriTemplate::parse(&"{+a}x".repeat(1_000)).expect("a template");
        assert!(!parsed.matches(&"y".repeat(2_000)));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in ["a{", "a}", "{}", "a{b{c}}", "a{b}}"] {
            assert!(UriTemplate::parse(bad).is_err(), "{bad}");
        }
        let scheme_of = |text| {
            UriTemplate::parse(text)
                .expect("a template")
                .scheme()
                .map(str::to_owned)
        };
        assert_eq!(scheme_of("demo://{x}").as_deref(), Some("demo"));
        assert_eq!(scheme_of("{x}:y"), None);
        assert_eq!(scheme("1x:y"), None);
    }
}
