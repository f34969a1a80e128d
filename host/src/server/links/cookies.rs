//! Cookies of the pages (RFC 6265): never for scripts, never for other sites, over https where there is
//! https.

use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};

use super::{Reply, Visit};
use crate::account::Cookie;
use crate::pipeline::Gateway;

/// Seconds that the cookie of a flow lives.
pub(super) const FLOW: u32 = 600;
/// Seconds that somebody stays signed in.
pub(super) const SESSION: u32 = 8 * 3600;

/// What the cookies of flows are called, at their beginning.
const FLOWS: &str = "cortex-flow-";
/// Flows whose cookies are taken away in one go.
const MOST: usize = 8;

/// A response that sets a cookie.
pub(super) fn with(gw: &Gateway, mut reply: Reply, cookie: &Cookie, seconds: u32) -> Reply {
    let secure = match gw.accounts.origin().scheme() {
        "https" => "; Secure",
        _ => "",
    };
    let text = format!(
        "{}={}; Path={}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}",
        cookie.name,
        cookie.value.reveal(),
        cookie.path
    );
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        reply.headers_mut().append(SET_COOKIE, value);
    }
    reply
}

/// A response that takes a cookie away.
pub(super) fn forget(mut reply: Reply, name: &str, path: &str) -> Reply {
    let secure = match name.starts_with("__Host-") {
        true => "; Secure",
        false => "",
    };
    let text = format!("{name}=; Path={path}; Max-Age=0; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        reply.headers_mut().append(SET_COOKIE, value);
    }
    reply
}

/// A response that takes away the cookies of the flows that have come back here.
pub(super) fn without_flows(visit: &Visit<'_>, mut reply: Reply) -> Reply {
    let path = visit.arrival.head.uri.path();
    let values = visit.headers().get_all(COOKIE).iter();
    let pairs = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let names = pairs.filter_map(|pair| Some(pair.trim().split_once('=')?.0));
    let plain = |name: &&str| {
        name.strip_prefix(FLOWS)
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    for name in names.filter(plain).take(MOST) {
        reply = forget(reply, name, path);
    }
    reply
}
