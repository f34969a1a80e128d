//! Below which path of the backend's origin the paths of a document are.

use cortex_plugin_sdk::prelude::*;

use crate::document::{Object, get, list, object, shown, text};
use crate::settings::Settings;
use crate::text::has_dot_segment;

/// The path that the first server names which is below the backend's base URL; that of the base URL
/// where the document names none. The error says why all of them are left aside.
///
/// `levels`: the members of operation, path and document, the one that counts most first.
pub(crate) fn base(
    target: &Target,
    settings: &Settings,
    levels: &[&Object<'_>],
) -> Result<String, (String, String)> {
    let own = own_path(target);
    if let Some(set) = &settings.base {
        return Ok(format!("{own}{set}"));
    }
    let servers = levels.iter().map(|level| list(level, "servers"));
    let Some(servers) = servers.into_iter().find(|servers| !servers.is_empty()) else {
        return Ok(own.to_owned());
    };
    let mut named = Vec::new();
    for server in servers.into_iter().take(10) {
        let Some(url) = url(&object(server, "it").unwrap_or_default()) else {
            continue;
        };
        match path(target, settings, &url) {
            Some(path) => return Ok(path),
            None => named.push(format!("`{}`", shown(&url))),
        }
    }
    Err((
        own.to_owned(),
        format!(
            "none is below the backend's base URL, which calls go to instead: {}; the setting `base` says otherwise",
            named.join(", ")
        ),
    ))
}

/// Origin of the backend: its base URL without the path.
pub(crate) fn origin(target: &Target) -> &str {
    let own = own_path(target);
    &target.base_url[..target.base_url.len() - own.len()]
}

fn own_path(target: &Target) -> &str {
    let begin = target.base_url.find("://").map_or(0, |at| at + 3);
    let path = target.base_url[begin..].find('/');
    let path = path.map_or("", |at| &target.base_url[begin + at..]);
    path.trim_end_matches('/')
}

/// The URL of a server, with its variables at their defaults.
fn url(server: &Object<'_>) -> Option<String> {
    let mut url = text(server, "url")?;
    let variables = get(server, "variables").and_then(|raw| object(raw, "it").ok());
    for (name, raw) in variables.unwrap_or_default().into_iter().take(20) {
        let default = text(&object(raw, "it").ok()?, "default")?;
        url = url.replace(&format!("{{{name}}}"), &default);
        if url.len() > 1024 {
            return None;
        }
    }
    Some(url)
}

/// The path of a server's URL, if it is below the base URL.
fn path(target: &Target, settings: &Settings, url: &str) -> Option<String> {
    let own = own_path(target);
    let path = if let Some((scheme, rest)) = url.split_once("://") {
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let scheme = scheme.to_ascii_lowercase();
        let authority = authority.to_ascii_lowercase();
        let usual = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(usual).unwrap_or(&authority);
        if format!("{scheme}://{authority}") != origin(target).to_ascii_lowercase() {
            return None;
        }
        path.to_owned()
    } else if url.starts_with("//") {
        return None;
    } else if url.starts_with('/') {
        url.to_owned()
    } else {
        // Relative to where the document is.
        let place = settings.document();
        if !place.starts_with('/') {
            return None;
        }
        let folder = place.rfind('/').map_or("", |at| &place[..at]);
        let url = url.strip_prefix("./").unwrap_or(url);
        let url = if url == "." { "" } else { url };
        format!("{own}{folder}/{url}")
    };
    let path = path.trim_end_matches('/');
    let below = path.strip_prefix(own)?;
    let is_path = |path: &str| !path.contains(['?', '#', '\\', '{', '}', ' ']) && path.is_ascii();
    let fits =
        (below.is_empty() || below.starts_with('/')) && is_path(path) && !has_dot_segment(path);
    fits.then(|| path.to_owned())
}
