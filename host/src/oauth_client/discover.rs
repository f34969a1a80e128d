//! From an MCP server to its authorization server (RFC 9728, RFC 8414, OpenID Connect Discovery
//! 1.0; MCP 2026-07-28, "Authorization Server Discovery").

use serde_json::{Map, Value};
use thiserror::Error;
use tracing::debug;
use url::Url;

use super::fetch::{Http, HttpError};
use super::{Challenge, shown};
use crate::config::is_loopback;
use crate::types::{Scope, ScopeSet};

/// Authorization servers that are tried.
const MAX_SERVERS: usize = 4;

/// Why it is not known where to log in.
#[derive(Debug, Error)]
pub(crate) enum DiscoverError {
    /// It does not say.
    #[error("the MCP server asks for a token and does not say where to get one (RFC 9728)")]
    NoMetadata,
    /// What it says is about somebody else: a token for that would be for somebody else, too.
    #[error(
        "the MCP server's metadata is about `{named}`, not about `{asked}`; give the URL that it names"
    )]
    OtherResource { named: String, asked: String },
    /// None of its authorization servers can be used; carries why not the last one.
    #[error("no authorization server of the MCP server can be used: {0}")]
    NoServer(String),
    /// It cannot be asked.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// An authorization server, as far as its metadata matters here.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) issuer: String,
    pub(crate) authorization: Option<Url>,
    pub(crate) token: Url,
    pub(crate) device: Option<Url>,
    pub(crate) registration: Option<Url>,
    pub(crate) revocation: Option<Url>,
    /// It reads what a client says of itself where the client's id leads to (OAuth Client ID
    /// Metadata Document).
    pub(crate) reads_documents: bool,
    /// It promises `iss` in authorization responses (RFC 9207 §3).
    pub(crate) promises_iss: bool,
    /// It takes client secrets in forms, and not by HTTP Basic.
    pub(crate) secret_in_form: bool,
    pub(crate) offline_access: bool,
}

impl Server {
    /// Asks for a refresh token, too, where the server says that this is how (MCP, "Refresh
    /// Tokens"). To ask for nothing is to ask for what is usual there, and stays so.
    pub(crate) fn with_offline_access(&self, scopes: &ScopeSet) -> ScopeSet {
        match "offline_access".parse::<ScopeSet>() {
            Ok(offline) if self.offline_access && !scopes.is_empty() => scopes.union(&offline),
            _ => scopes.clone(),
        }
    }
}

/// Where to get tokens, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) resource: String,
    pub(crate) scopes: Option<ScopeSet>,
    pub(crate) server: Server,
}

/// Finds where to get a token for the MCP server at `mcp`.
pub(crate) async fn find(
    http: &Http,
    mcp: &Url,
    challenge: &Challenge,
) -> Result<Place, DiscoverError> {
    let metadata = resource_metadata(http, mcp, challenge).await?;
    let resource = text(&metadata, "resource").unwrap_or_default();
    if !covers(resource, mcp) {
        return Err(DiscoverError::OtherResource {
            named: shown(resource),
            asked: mcp.to_string(),
        });
    }
    let mut why = "it names none".to_owned();
    for issuer in texts(&metadata, "authorization_servers").take(MAX_SERVERS) {
        match server(http, issuer).await {
            Ok(server) => {
                let scopes = metadata.get("scopes_supported").map(|_| {
                    texts(&metadata, "scopes_supported")
                        .filter_map(|s| s.parse::<Scope>().ok())
                        .collect()
                });
                return Ok(Place {
                    resource: resource.to_owned(),
                    scopes,
                    server,
                });
            }
            Err(error) => why = error,
        }
    }
    Err(DiscoverError::NoServer(why))
}

/// From where the challenge says, else from the well-known places, the one of the path first.
async fn resource_metadata(
    http: &Http,
    mcp: &Url,
    challenge: &Challenge,
) -> Result<Map<String, Value>, DiscoverError> {
    if let Some(named) = challenge.resource_metadata() {
        let url = http
            .trusted(named)
            .ok_or_else(|| HttpError::Untrustworthy(shown(named)))?;
        return Ok(http.get(&url).await?);
    }
    for url in well_known(mcp, "oauth-protected-resource") {
        match http.get(&url).await {
            Ok(metadata) => return Ok(metadata),
            Err(error @ (HttpError::Status { .. } | HttpError::NotJson(_))) => {
                debug!(%error, "no metadata")
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(DiscoverError::NoMetadata)
}

/// The well-known places of something with this URL: with its path, then without.
fn well_known(url: &Url, suffix: &str) -> Vec<Url> {
    let path = url.path().trim_end_matches('/');
    let at = |path: &str| {
        let mut place = url.clone();
        place.set_path(&format!("/.well-known/{suffix}{path}"));
        place.set_query(None);
        place
    };
    match path {
        "" => vec![at("")],
        path => vec![at(path), at("")],
    }
}

/// Whether a resource is the MCP server or what it lies under. Otherwise a hostile server could
/// have us get a token for another one, and hand it over (RFC 9728 §7.3).
pub(crate) fn covers(resource: &str, mcp: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else {
        return false;
    };
    let one_machine = is_loopback(&resource)
        && is_loopback(mcp)
        && resource.scheme() == mcp.scheme()
        && resource.port_or_known_default() == mcp.port_or_known_default();
    let path = resource.path().trim_end_matches('/');
    let under = mcp
        .path()
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    (resource.origin() == mcp.origin() || one_machine) && under && resource.fragment().is_none()
}

/// The authorization server of this name.
///
/// # Errors
/// Why it cannot be used, in words.
pub(crate) async fn server(http: &Http, issuer: &str) -> Result<Server, String> {
    let url = http
        .trusted(issuer)
        .ok_or_else(|| HttpError::Untrustworthy(shown(issuer)).to_string())?;
    let mut why = String::new();
    for place in metadata_places(&url) {
        let metadata = match http.get(&place).await {
            Ok(metadata) => metadata,
            Err(error) => {
                debug!(%error, "no metadata");
                why = error.to_string();
                continue;
            }
        };
        // RFC 8414 §3.3: such metadata must not be used, and neither is it made up for.
        let named = text(&metadata, "issuer").unwrap_or_default();
        if named != issuer {
            return Err(format!(
                "the metadata of `{}` names the issuer `{}`",
                shown(issuer),
                shown(named)
            ));
        }
        return read(http, &metadata);
    }
    Err(why)
}

/// MCP 2026-07-28, "Authorization Server Metadata Discovery", in that order.
fn metadata_places(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut place = issuer.clone();
        place.set_path(&path);
        place
    };
    let mut places = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        places.push(at(format!("{path}/.well-known/openid-configuration")));
    }
    places
}

fn read(http: &Http, metadata: &Map<String, Value>) -> Result<Server, String> {
    let issuer = text(metadata, "issuer").unwrap_or_default().to_owned();
    let url = |name| text(metadata, name).and_then(|url| http.trusted(url));
    let token = url("token_endpoint")
        .ok_or_else(|| format!("`{}` names no usable token endpoint", shown(&issuer)))?;
    // Without this promise it might not check what protects the code (RFC 9700 §2.1.1; MCP refuses).
    let s256 = texts(metadata, "code_challenge_methods_supported").any(|method| method == "S256");
    let authorization = url("authorization_endpoint").filter(|_| s256);
    let device = url("device_authorization_endpoint");
    if authorization.is_none() && device.is_none() {
        return Err(format!(
            "`{}` offers neither the code flow with PKCE S256 nor the device flow",
            shown(&issuer)
        ));
    }
    let methods: Vec<_> = texts(metadata, "token_endpoint_auth_methods_supported").collect();
    Ok(Server {
        authorization,
        token,
        device,
        registration: url("registration_endpoint"),
        revocation: url("revocation_endpoint"),
        reads_documents: metadata.get("client_id_metadata_document_supported")
            == Some(&Value::Bool(true)),
        promises_iss: metadata.get("authorization_response_iss_parameter_supported")
            == Some(&Value::Bool(true)),
        secret_in_form: methods.contains(&"client_secret_post")
            && !methods.contains(&"client_secret_basic"),
        offline_access: texts(metadata, "scopes_supported").any(|scope| scope == "offline_access"),
        issuer,
    })
}

fn text<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    object.get(name).and_then(Value::as_str)
}

fn texts<'v>(object: &'v Map<String, Value>, name: &str) -> impl Iterator<Item = &'v str> {
    let list = object.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn strings(urls: Vec<Url>) -> Vec<String> {
        urls.into_iter().map(String::from).collect()
    }

    #[test]
    fn the_forms_with_a_path_come_first() {
        assert_eq!(
            strings(well_known(
                &url("https://a.example/public/mcp?x=1"),
                "oauth-protected-resource"
            )),
            [
                "https://a.example/.well-known/oauth-protected-resource/public/mcp",
                "https://a.example/.well-known/oauth-protected-resource",
            ]
        );
        assert_eq!(
            strings(metadata_places(&url("https://a.example/t1"))),
            [
                "https://a.example/.well-known/oauth-authorization-server/t1",
                "https://a.example/.well-known/openid-configuration/t1",
                "https://a.example/t1/.well-known/openid-configuration",
            ]
        );
        assert_eq!(metadata_places(&url("https://a.example")).len(), 2);
    }

    #[test]
    fn metadata_of_somebody_else_is_told() {
        for (resource, mcp, good) in [
            ("https://a.example/mcp", "https://a.example/mcp", true),
            ("https://a.example", "https://a.example/mcp", true),
            ("https://a.example/", "https://a.example/mcp", true),
            ("https://A.example:443/mcp", "https://a.example/mcp", true),
            (
                "http://localhost:3213/mcp",
                "http://127.0.0.1:3213/mcp",
                true,
            ),
            (
                "http://localhost:3214/mcp",
                "http://127.0.0.1:3213/mcp",
                false,
            ),
            ("https://a.example/mc", "https://a.example/mcp", false),
            ("https://a.example/mcp/x", "https://a.example/mcp", false),
            ("https://b.example/mcp", "https://a.example/mcp", false),
            ("http://a.example/mcp", "https://a.example/mcp", false),
            ("https://a.example/mcp#x", "https://a.example/mcp", false),
            ("", "https://a.example/mcp", false),
        ] {
            assert_eq!(covers(resource, &url(mcp)), good, "{resource} {mcp}");
        }
    }
}
