//! Forms for the token endpoint and its neighbours (RFC 6749 appendix B), with the client's own
//! authentication in them or beside them (§2.3.1).

use base64::Engine as _;
use http::HeaderValue;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::register::Registered;

/// A form and what goes beside it.
pub(crate) struct Form {
    pub(crate) body: String,
    pub(crate) basic: Option<HeaderValue>,
}

/// A form of this client.
pub(crate) fn of(client: &Registered, fields: &[(&str, &str)]) -> Form {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(fields);
    let mut basic = None;
    match &client.secret {
        Some(secret) if !client.secret_in_form => basic = by_header(&client.id, secret.reveal()),
        secret => {
            form.append_pair("client_id", &client.id);
            if let Some(secret) = secret {
                form.append_pair("client_secret", secret.reveal());
            }
        }
    }
    Form {
        body: form.finish(),
        basic,
    }
}

fn by_header(id: &str, secret: &str) -> Option<HeaderValue> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(id), encoded(secret));
    let pair = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
