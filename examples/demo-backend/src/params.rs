//! Taking arguments out of a call: each is what the tool expects, or the caller is told why not.

use serde_json::{Map, Value};

use crate::failure::Failure;

/// The arguments of one call.
pub(crate) type Params = Map<String, Value>;

pub(crate) fn number(params: &Params, name: &str) -> Result<f64, Failure> {
    let value = params.get(name).and_then(Value::as_f64);
    value.ok_or_else(|| Failure::BadArguments(format!("`{name}` must be a number")))
}

pub(crate) fn whole_number(params: &Params, name: &str) -> Result<u64, Failure> {
    let value = number(params, name)?;
    // Up to here a float holds every whole number (2^53).
    if value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value) {
        Ok(value as u64)
    } else {
        Err(Failure::BadArguments(format!(
            "`{name}` must be a whole number, 0 or more"
        )))
    }
}

pub(crate) fn string<'a>(params: &'a Params, name: &str) -> Result<&'a str, Failure> {
    let value = params.get(name).and_then(Value::as_str);
    value.ok_or_else(|| Failure::BadArguments(format!("`{name}` must be a string")))
}

pub(crate) fn optional_string<'a>(
    params: &'a Params,
    name: &str,
) -> Result<Option<&'a str>, Failure> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => string(params, name).map(Some),
    }
}

pub(crate) fn strings(params: &Params, name: &str) -> Result<Vec<String>, Failure> {
    let wrong = || Failure::BadArguments(format!("`{name}` must be a list of strings"));
    match params.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_whole() {
        let params = json!({"a": 3, "b": 3.0, "c": 3.5, "d": -1, "e": 1e300, "f": "3"});
        let params = params.as_object().unwrap();
        assert_eq!(whole_number(params, "a"), Ok(3));
        assert_eq!(whole_number(params, "b"), Ok(3));
        for wrong in ["c", "d", "e", "f", "g"] {
            assert!(whole_number(params, wrong).is_err(), "{wrong}");
        }
    }
}
