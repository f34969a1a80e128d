//! Takes a grant back at its authorization server (RFC 7009).

use url::Url;

use super::fetch::{Http, HttpError};
use super::form;
use super::register::Registered;
use crate::types::Secret;

/// Revokes a token; `hint` says which kind it is (RFC 7009 §2.1).
///
/// # Errors
/// [`HttpError`] when the server cannot be asked, or does not say that it is done.
pub(crate) async fn revoke(
    http: &Http,
    endpoint: &Url,
    client: &Registered,
    token: &Secret,
    hint: &str,
) -> Result<(), HttpError> {
    let fields = [("token", token.reveal()), ("token_type_hint", hint)];
    let form = form::of(client, &fields);
    http.done(endpoint, form.body, form.basic).await
}
