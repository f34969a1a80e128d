//! Members that the contract demands of what backends list.

use cortex_plugin_sdk::json::Members;
use serde_json::value::RawValue;

use crate::answer;

/// The members of an object.
pub(crate) fn read(raw: &RawValue) -> Result<Members<'_>, String> {
    Members::parse(raw.get()).map_err(|_| "it is not an object with each member once".to_owned())
}

/// A text that must be there and not be empty.
pub(crate) fn name(members: &mut Members<'_>, name: &str) -> Result<String, String> {
    match members.text(name)? {
        None => Err(format!("it has no `{name}`")),
        Some(text) if text.is_empty() => Err(format!("its `{name}` is empty")),
        Some(text) => Ok(text),
    }
}

/// The scope that every item names.
pub(crate) fn scope(members: &mut Members<'_>) -> Result<String, String> {
    let scope = members.text("scope")?.ok_or("it has no `scope`")?;
    if answer::is_scope(&scope) {
        Ok(scope)
    } else {
        Err(format!("its `scope` is not one OAuth scope: `{scope}`"))
    }
}

/// True or false; absent is false.
pub(crate) fn flag(members: &mut Members<'_>, name: &str) -> Result<bool, String> {
    let flag = members.take(name).map(serde_json::from_str).transpose();
    flag.map(Option::unwrap_or_default)
        .map_err(|_| format!("its `{name}` is neither true nor false"))
}
