//! The issuer: its metadata, its keys, and an OAuth flow as far as it goes without a user.

use http::Method;
use serde_json::{Map, Value};
use url::Url;

use super::probe::Probes;
use super::{Section, State};
use crate::config::{Config, OAuthConfig, TechnicalConfig, is_trustworthy};
use crate::oauth::{self, Introspected, Technical};

/// A code that nobody was given.
const MADE_UP: &str = "grant_type=authorization_code&code=made-up-by-cortex-gateway-doctor&client_id=cortex-gateway-doctor\
     &redirect_uri=http%3A%2F%2F127.0.0.1%2F&code_verifier=made-up-by-cortex-gateway-doctor-0123456789abcdef";
const FORM: &str = "application/x-www-form-urlencoded";

pub(super) async fn look(config: &Config, probes: &Probes) -> Section {
    let mut section = Section::new("issuer");
    let Some(oauth) = &config.oauth else {
        section.warn(
            "no issuer is configured: only the dev bypass lets anybody in",
            "set OAUTH_ISSUER to the authorization server whose tokens are accepted",
        );
        return section;
    };
    let Ok(url) = Url::parse(&oauth.issuer) else {
        return section;
    };
    if let Err(why) = probes.reach(&url).await {
        section.told(State::Broken, &format!("the issuer: {why}"));
        return section;
    }
    let metadata = metadata(&mut section, &url, oauth, probes).await;
    keys(&mut section, oauth, probes).await;
    if let Some(metadata) = metadata {
        flow(&mut section, &metadata, probes).await;
        known(&mut section, config, &metadata);
    }
    own(&mut section, config, oauth, probes).await;
    section
}

/// Where clients find out how to log in (RFC 8414, OpenID Connect Discovery 1.0).
async fn metadata(
    section: &mut Section,
    url: &Url,
    oauth: &OAuthConfig,
    probes: &Probes,
) -> Option<Map<String, Value>> {
    let mut why = String::new();
    for place in oauth::metadata_places(url.as_str()) {
        match probes.object(&place).await {
            Ok(metadata) if text(&metadata, "issuer") == Some(&oauth.issuer) => {
                section.ok(format!("its metadata is at {}", place.path()));
                return Some(metadata);
            }
            Ok(metadata) => {
                let named = text(&metadata, "issuer").unwrap_or_default();
                section.broken(
                    format!(
                        "its metadata names the issuer `{}`, and OAUTH_ISSUER is `{}`",
                        shown(named),
                        oauth.issuer
                    ),
                    "set OAUTH_ISSUER to exactly the issuer's own name, with or without the `/` at its end",
                );
                return None;
            }
            Err(error) => why = format!("{}: {error}", place.path()),
        }
    }
    let hint = "clients that discover where to log in find nothing: OAUTH_ISSUER must be the issuer's own name, without \
                anything behind it";
    match oauth.jwks_url {
        Some(_) => section.warn(format!("it has no metadata ({why})"), hint),
        None => section.broken(format!("it has no metadata ({why})"), hint),
    }
    None
}

async fn keys(section: &mut Section, oauth: &OAuthConfig, probes: &Probes) {
    match oauth::issuer_keys(oauth, probes.client.clone()).await {
        Ok(keys) if keys.algorithms.is_empty() => section.broken(
            format!("it publishes {} keys, none of them of use", keys.published),
            "RSA of 2048 bits or more, P-256, P-384 and Ed25519 are of use",
        ),
        Ok(keys) => section.ok(format!(
            "{} of the {} keys that it publishes are of use, for {}",
            keys.usable,
            keys.published,
            keys.algorithms.join(", ")
        )),
        Err(why) => section.told(
            State::Broken,
            &format!("no access token can be verified: {why}; hint: check OAUTH_ISSUER and OAUTH_JWKS_URL"),
        ),
    }
}

/// What a client does to log in, up to where a person is asked.
async fn flow(section: &mut Section, metadata: &Map<String, Value>, probes: &Probes) {
    let named = |name| {
        let url = text(metadata, name).and_then(|text| Url::parse(text).ok());
        url.filter(is_trustworthy)
    };
    let s256 = metadata
        .get("code_challenge_methods_supported")
        .and_then(Value::as_array)
        .is_some_and(|methods| methods.iter().any(|method| method == "S256"));
    if s256 {
        section.ok("it offers the code flow with PKCE S256");
    } else {
        section.broken(
            "its metadata does not promise PKCE with S256: MCP clients refuse to log in",
            "turn it on there, so that `code_challenge_methods_supported` names `S256`",
        );
    }
    match named("authorization_endpoint") {
        Some(url) => match probes.ask(Method::GET, &begun(url)).await {
            Ok(answer) if answer.status.as_u16() == 404 || answer.status.is_server_error() => {
                section.broken(
                    format!("its authorization endpoint answers {}", answer.status),
                    "the issuer's own log says why",
                )
            }
            Ok(answer) => section.ok(format!(
                "its authorization endpoint answers ({})",
                answer.status
            )),
            Err(error) => section.broken(
                format!("its authorization endpoint: {error}"),
                "is it reached from where users are? This machine does not reach it",
            ),
        },
        None => section.broken(
            "its metadata names no authorization endpoint that could be trusted",
            "it has to be https",
        ),
    }
    match named("token_endpoint") {
        Some(url) => match probes.post(&url, FORM, MADE_UP).await {
            Ok(answer) => {
                let refusal: Option<Value> = serde_json::from_slice(&answer.body).ok();
                let code = refusal
                    .as_ref()
                    .and_then(|refusal| refusal["error"].as_str());
                match code {
                    Some(code) if answer.status.is_client_error() => section.ok(format!(
                        "its token endpoint refuses a made-up code as it should (`{}`)",
                        shown(code)
                    )),
                    _ => section.warn(
                        format!("its token endpoint answers a made-up code with {}, and not with an error of RFC 6749", answer.status),
                        "clients may not understand what it refuses; the issuer's own log says more",
                    ),
                }
            }
            Err(error) => section.broken(
                format!("its token endpoint: {error}"),
                "the gateway and its clients need it: does a firewall let this machine through?",
            ),
        },
        None => section.broken(
            "its metadata names no token endpoint that could be trusted",
            "it has to be https",
        ),
    }
}

/// An authorization request of a client that nobody knows: the answer is not a redirect to anywhere else.
fn begun(mut url: Url) -> Url {
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", "cortex-gateway-doctor")
        .append_pair("redirect_uri", "http://127.0.0.1/")
        .append_pair("state", "doctor")
        .append_pair(
            "code_challenge",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        )
        .append_pair("code_challenge_method", "S256");
    url
}

/// How clients, and the gateway's own pages, are known there.
fn known(section: &mut Section, config: &Config, metadata: &Map<String, Value>) {
    let registers = text(metadata, "registration_endpoint").is_some();
    let reads = metadata.get("client_id_metadata_document_supported") == Some(&Value::Bool(true));
    match (reads, registers) {
        (true, _) => section.ok("clients introduce themselves by Client ID Metadata Documents"),
        (false, true) => section.ok("clients register themselves (RFC 7591)"),
        (false, false) => section.warn(
            "it neither reads Client ID Metadata Documents nor registers clients by itself",
            "each MCP client has to be registered there by hand",
        ),
    }
    let linking = config
        .backends
        .iter()
        .any(|backend| backend.account.is_some());
    let readable = config.canonical_uri.scheme() == "https";
    if linking && config.accounts.client.is_none() && !registers && !(reads && readable) {
        section.broken(
            "people cannot sign in to the gateway's own pages, where accounts are linked",
            "register the gateway there by hand, and set OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET",
        );
    }
}

/// The gateway's own credentials.
async fn own(section: &mut Section, config: &Config, oauth: &OAuthConfig, probes: &Probes) {
    if matches!(config.technical, TechnicalConfig::Machine(_)) {
        let technical = Technical::new(&config.technical, probes.client.clone());
        match technical.token(None).await {
            Ok(_) => section.ok("it gives the gateway its own token (CORTEX_TECHNICAL_CLIENT_ID)"),
            Err(error) => section.told(
                State::Broken,
                &format!("it gives the gateway no token of its own: {error}"),
            ),
        }
    }
    let Some(introspection) = &oauth.introspection else {
        return;
    };
    if let Err(why) = probes.reach(&introspection.url).await {
        section.told(State::Broken, &format!("token introspection: {why}"));
        return;
    }
    match oauth::try_introspection(introspection, probes.client.clone()).await {
        Introspected::Works => section.ok("token introspection says that a made-up token is not good"),
        Introspected::Vouches => section.broken(
            "token introspection says that a made-up token is good",
            "is OAUTH_INTROSPECT_URL an introspection endpoint (RFC 7662)?",
        ),
        Introspected::Refuses(why) => section.broken(
            format!("token introspection refuses this gateway: {why}"),
            "check OAUTH_INTROSPECT_URL, OAUTH_INTROSPECT_CLIENT_ID and OAUTH_INTROSPECT_CLIENT_SECRET",
        ),
        Introspected::Silent(why) => section.broken(
            format!("token introspection gives no answer: {why}"),
            "the issuer's own log says why; until then OAUTH_INTROSPECT_FAIL decides",
        ),
    }
}

fn text<'m>(metadata: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    metadata.get(name).and_then(Value::as_str)
}

fn shown(text: &str) -> String {
    text.escape_debug().take(120).collect()
}
