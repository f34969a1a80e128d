//! The gateway as a client sees it, under `CORTEX_CANONICAL_URI`: what it needs to find out where to log in
//! (RFC 9728, RFC 6750 §3).

use url::Url;

use super::probe::Probes;
use super::{Section, State};
use crate::config::Config;
use crate::oauth_client::Challenge;

/// A request without a token.
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// `runs`: it should be there.
pub(super) async fn look(config: &Config, runs: bool, probes: &Probes) -> Section {
    let mut section = Section::new("as clients see it");
    let uri = &config.canonical_uri;
    if let Err(why) = probes.reach(uri).await {
        let told = format!("CORTEX_CANONICAL_URI: {why}");
        if runs {
            section.told(State::Broken, &told);
        } else {
            section.warn(
                told.split("; hint: ").next().unwrap_or_default(),
                "no gateway runs here: start it, and ask again",
            );
        }
        return section;
    }
    let mut place = uri.clone();
    place.set_query(None);
    place.set_path(&format!("{WELL_KNOWN}{}", uri.path().trim_end_matches('/')));
    let mut root = place.clone();
    root.set_path(WELL_KNOWN);
    for place in [&place, &root] {
        document(&mut section, config, place, probes).await;
    }
    challenge(&mut section, config, &[place, root], probes).await;
    section
}

async fn document(section: &mut Section, config: &Config, place: &Url, probes: &Probes) {
    let path = place.path();
    let document = match probes.object(place).await {
        Ok(document) => document,
        Err(why) => {
            section.broken(
                format!("{path}: {why}"),
                "whatever stands before the gateway has to pass this path on, without a token",
            );
            return;
        }
    };
    let resource = document.get("resource").and_then(|text| text.as_str());
    let resource = resource.unwrap_or_default();
    let same = resource == config.canonical_uri.as_str()
        || Url::parse(resource).is_ok_and(|url| url == config.canonical_uri);
    if !same {
        section.broken(
            format!(
                "{path} is about `{}`, and CORTEX_CANONICAL_URI is `{}`",
                shown(resource),
                config.canonical_uri
            ),
            "somebody else answers there, or the running gateway was started with another value",
        );
        return;
    }
    let named = document.get("authorization_servers");
    let named = named
        .and_then(|list| list.as_array())
        .map_or(&[][..], Vec::as_slice);
    match &config.oauth {
        Some(oauth) if named.iter().any(|name| *name == oauth.issuer) => {
            section.ok(format!("{path} names the resource and the issuer"));
        }
        Some(oauth) => section.broken(
            format!("{path} does not name the issuer `{}`", oauth.issuer),
            "the running gateway was started with another OAUTH_ISSUER: start it anew",
        ),
        None => section.ok(format!(
            "{path} names the resource, and no issuer: none is configured"
        )),
    }
}

/// What somebody without a token is told.
async fn challenge(section: &mut Section, config: &Config, places: &[Url], probes: &Probes) {
    let answer = match probes
        .post(&config.canonical_uri, "application/json", PING)
        .await
    {
        Ok(answer) => answer,
        Err(error) => {
            section.broken(
                format!("CORTEX_CANONICAL_URI does not answer a request: {error}"),
                "whatever stands before the gateway has to pass it on",
            );
            return;
        }
    };
    if answer.status.as_u16() != 401 {
        section.broken(
            format!("a request without a token is answered {}, not 401", answer.status),
            "clients learn from a 401 where to log in: is CORTEX_CANONICAL_URI the URL of /mcp, and its name in CORTEX_ALLOWED_HOSTS?",
        );
        return;
    }
    if config.oauth.is_none() {
        section.ok("a request without a token is answered 401");
        return;
    }
    let challenge = Challenge::read(&answer.headers);
    match challenge.resource_metadata() {
        Some(named) if places.iter().any(|place| place.as_str() == named) => {
            section.ok("a request without a token is answered 401, and told where the metadata is");
        }
        Some(named) => section.broken(
            format!("a request without a token is sent to `{}`", shown(named)),
            "start the gateway with the CORTEX_CANONICAL_URI under which clients reach it",
        ),
        None => section.broken(
            "a request without a token is answered 401, but not told where the metadata is",
            "whatever stands before the gateway has to pass the header WWW-Authenticate on",
        ),
    }
}

fn shown(text: &str) -> String {
    text.escape_debug().take(120).collect()
}
