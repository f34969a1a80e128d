//! How a caller wants `tools/list`: of which backends, in which form, within how many tokens.

use std::collections::BTreeSet;

use http::HeaderMap;

use super::Refusal;
use super::version::single;
use crate::config::MIN_CONTEXT_BUDGET as MIN_BUDGET;

/// Names of the headers.
const BACKENDS: &str = "x-cortex-backends";
const MODE: &str = "x-cortex-tool-mode";
const BUDGET: &str = "x-cortex-context-budget";
/// Backends that a header may name.
const MAX_BACKENDS: usize = 1_000;

/// How the list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// Only tools of these backends, sorted; `None`: of all.
    pub(super) backends: Option<BTreeSet<String>>,
    /// Only what is needed to choose one to look up.
    pub(super) search: bool,
    /// Most tokens that the list may take.
    pub(super) budget: Option<u32>,
}

impl Shape {
    /// Reads the headers. `default`: the budget of those who name none.
    pub(super) fn read(headers: &HeaderMap, default: Option<u32>) -> Result<Self, Refusal> {
        let invalid = |what: String| Err(Refusal::InvalidParams(what));
        let backends = match single(headers, BACKENDS)? {
            None => None,
            Some(names) => {
                let names = names
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty());
                let names: BTreeSet<String> = names.map(str::to_owned).collect();
                if names.len() > MAX_BACKENDS {
                    return invalid(format!(
                        "the header X-Cortex-Backends names more than {MAX_BACKENDS} backends"
                    ));
                }
                Some(names)
            }
        };
        let search = match single(headers, MODE)? {
            None | Some("" | "full") => false,
            Some("search") => true,
            Some(_) => {
                return invalid(
                    "the header X-Cortex-Tool-Mode must be `search` or `full`".to_owned(),
                );
            }
        };
        let budget = match single(headers, BUDGET)? {
            None | Some("") => default,
            Some(text) => match text.parse::<u32>() {
                Ok(tokens) if tokens >= MIN_BUDGET => Some(tokens),
                _ => {
                    return invalid(format!(
                        "the header X-Cortex-Context-Budget must be a number of tokens, at least {MIN_BUDGET}"
                    ));
                }
            },
        };
        Ok(Self {
            backends,
            search,
            budget,
        })
    }

    /// Whether a caller may not have seen whole definitions.
    pub(super) fn shortens(headers: &HeaderMap, default: Option<u32>) -> bool {
        match Self::read(headers, default) {
            Ok(shape) => shape.search || shape.budget.is_some(),
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(fields: &[(&'static str, &'static str)]) -> Result<Shape, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Shape::read(&headers, Some(9_000))
    }

    #[test]
    fn what_is_wanted_is_read_and_what_makes_no_sense_is_told() {
        let shape = read(&[(BACKENDS, " b, a,,b "), (MODE, "search"), (BUDGET, "2000")]);
        let shape = shape.expect("a shape");
        let names: Vec<_> = shape.backends.expect("named").into_iter().collect();
        assert_eq!(
            (names, shape.search, shape.budget),
            (vec!["a".to_owned(), "b".to_owned()], true, Some(2_000))
        );
        let plain = read(&[]).expect("a shape");
        assert_eq!(
            (plain.backends, plain.search, plain.budget),
            (None, false, Some(9_000))
        );
        let none = read(&[(BACKENDS, "")]).expect("a shape");
        assert_eq!(none.backends, Some(BTreeSet::new()));
        for bad in [
            (MODE, "short"),
            (BUDGET, "499"),
            (BUDGET, "-1"),
            (BUDGET, "many"),
            (BUDGET, "99999999999"),
        ] {
            assert!(
                matches!(read(&[bad]), Err(Refusal::InvalidParams(_))),
                "{bad:?}"
            );
        }
        assert!(read(&[(MODE, "full"), (MODE, "search")]).is_err());
    }
}
