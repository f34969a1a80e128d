//! Logins: code flow, device flow, what they leave on disk, refresh, step-up. The authorization
//! server and the MCP server that wants its tokens are one fake; the test is the user.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cortex_tests::Client;
use serde_json::{Value, json};

use super::process::Process;
use super::server::{Answer, FakeServer, Seen};

/// What the server knows.
#[derive(Default)]
struct World {
    /// Access tokens, and whether they may `write`.
    good: Mutex<HashSet<(String, bool)>>,
    refresh: Mutex<HashSet<String>>,
    made: AtomicUsize,
    polls: AtomicUsize,
    /// `expires_in` of the next tokens.
    lifetime: AtomicUsize,
    /// What this server's metadata says besides.
    metadata: Value,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn tokens(&self, scope: &str) -> Answer {
        let n = self.made.fetch_add(1, Ordering::SeqCst);
        let (access, refresh) = (format!("access-{n}"), format!("refresh-{n}"));
        lock(&self.good).insert((access.clone(), scope.contains("write")));
        lock(&self.refresh).insert(refresh.clone());
        Answer::json(
            200,
            json!({
                "access_token": access, "refresh_token": refresh, "token_type": "Bearer",
                "expires_in": self.lifetime.load(Ordering::SeqCst), "scope": scope,
            }),
        )
    }

    fn token(&self, form: &Value) -> Answer {
        let refused = |error: &str| Answer::json(400, json!({ "error": error }));
        match form["grant_type"].as_str() {
            Some("authorization_code")
                if form["code"]
                    .as_str()
                    .is_some_and(|code| code.starts_with("code ")) =>
            {
                let code = form["code"].as_str().unwrap_or_default();
                self.tokens(code.strip_prefix("code ").unwrap_or_default())
            }
            Some("refresh_token") => {
                // Each is good once.
                let token = form["refresh_token"].as_str().unwrap_or_default();
                if lock(&self.refresh).remove(token) {
                    self.tokens("read")
                } else {
                    refused("invalid_grant")
                }
            }
            Some(_) => match self.polls.fetch_add(1, Ordering::SeqCst) {
                0 => refused("authorization_pending"),
                _ => self.tokens("read"),
            },
            None => refused("unsupported_grant_type"),
        }
    }

    fn mcp(&self, base: &str, seen: &Seen) -> Answer {
        let challenge = |more: &str| {
            format!(
                "Bearer {more}resource_metadata=\"{base}/.well-known/oauth-protected-resource/mcp\""
            )
        };
        let token = seen
            .header("authorization")
            .strip_prefix("Bearer ")
            .unwrap_or_default();
        let good = lock(&self.good)
            .iter()
            .find(|(known, _)| known == token)
            .cloned();
        let writes = seen.method() == "write";
        match good {
            None => Answer::json(401, json!({})).header("www-authenticate", &challenge("scope=\"read\", ")),
            Some((_, false)) if writes => Answer::json(403, json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": { "code": -32603, "message": "Insufficient scope" } }))
                .header("www-authenticate", &challenge("error=\"insufficient_scope\", scope=\"write\", ")),
            Some(_) => seen.result(json!({ "by": token })),
        }
    }
}

/// An MCP server and its authorization server, with these words more in its metadata.
async fn world(metadata: Value) -> (FakeServer, Arc<World>) {
    let world = Arc::new(World {
        metadata,
        lifetime: AtomicUsize::new(3600),
        ..World::default()
    });
    let shared = Arc::clone(&world);
    let server = FakeServer::start_with(move |base| move |seen: &Seen| {
        let issuer = format!("{base}/tenant");
        match seen.path.as_str() {
            "/mcp" => shared.mcp(&base, seen),
            "/.well-known/oauth-protected-resource/mcp" => Answer::json(200, json!({
                "resource": format!("{base}/mcp"), "authorization_servers": [issuer], "scopes_supported": ["read", "write"],
            })),
            "/.well-known/openid-configuration/tenant" => {
                let mut metadata = json!({
                    "issuer": issuer,
                    "authorization_endpoint": format!("{base}/authorize?tenant=1"),
                    "token_endpoint": format!("{base}/token"),
                    "registration_endpoint": format!("{base}/register"),
                    "code_challenge_methods_supported": ["S256"],
                });
                for (name, value) in shared.metadata.as_object().into_iter().flatten() {
                    metadata[name] = json!(value.as_str().map_or(value.clone(), |text| json!(text.replace("BASE", &base))));
                }
                Answer::json(200, metadata)
            }
            "/register" => Answer::json(201, json!({ "client_id": "made-for-you" })),
            "/token" => shared.token(&seen.body),
            "/device" => Answer::json(200, json!({
                "device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": "https://login.example.com/device",
                "expires_in": 600, "interval": 1,
            })),
            _ => Answer::empty(404),
        }
    })
    .await;
    (server, world)
}

/// The URL that the user is told to open, and its parameters.
async fn told_to_open(client: &Process) -> (String, Vec<(String, String)>) {
    let line = client.logged("/authorize?").await;
    let url: http::Uri = line.trim().parse().expect("a URL");
    let query = url.query().expect("parameters").to_owned();
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'%' => {
                    let hex: String = rest.by_ref().take(2).map(char::from).collect();
                    bytes.push(u8::from_str_radix(&hex, 16).expect("hex"));
                }
                b'+' => bytes.push(b' '),
                other => bytes.push(other),
            }
        }
        String::from_utf8(bytes).expect("UTF-8")
    };
    let params = query.split('&').filter_map(|pair| pair.split_once('='));
    (line, params.map(|(k, v)| (decode(k), decode(v))).collect())
}

fn param<'p>(params: &'p [(String, String)], name: &str) -> &'p str {
    let mut found = params.iter().filter(|(known, _)| known == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => value,
        _ => panic!("{name}: {params:?}"),
    }
}

/// The browser comes back with this query.
async fn come_back(redirect: &str, query: &str) -> u16 {
    let (base, path) = redirect.split_at(redirect.find("/callback").expect("its path"));
    Client::new(base.to_owned())
        .get(&format!("{path}?{query}"))
        .await
        .status
        .as_u16()
}

/// Logs in as the user would.
async fn log_in(client: &Process) -> Vec<(String, String)> {
    let (_, params) = told_to_open(client).await;
    let scope = param(&params, "scope").replace(' ', "+");
    let query = format!("code=code+{scope}&state={}", param(&params, "state"));
    assert_eq!(come_back(param(&params, "redirect_uri"), &query).await, 200);
    params
}

#[tokio::test]
async fn the_code_flow_asks_rightly_and_its_tokens_are_kept() {
    let (server, world) =
        world(json!({ "authorization_response_iss_parameter_supported": true })).await;
    let args = ["--url", &server.url()];
    let mut client = Process::start(&args, &[]);
    client.ask(1, "read", json!({})).await;
    let (_, params) = told_to_open(&client).await;
    for (name, expected) in [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", "made-for-you"),
        ("code_challenge_method", "S256"),
        ("scope", "read"),
        ("resource", &server.url()),
    ] {
        assert_eq!(param(&params, name), expected, "{name}");
    }
    let (redirect, state) = (param(&params, "redirect_uri"), param(&params, "state"));
    assert!(redirect.starts_with("http://127.0.0.1:"), "{redirect}");
    // What others send there counts for nothing.
    assert_eq!(come_back(redirect, "code=evil&state=guessed").await, 400);
    assert_eq!(come_back(redirect, "").await, 400);
    let issuer = format!("http%3A%2F%2F{}%2Ftenant", server.address);
    assert_eq!(
        come_back(
            redirect,
            &format!("code=code+read&state={state}&iss={issuer}")
        )
        .await,
        200
    );
    assert_eq!(client.result(1).await["by"], "access-0");

    let registered = &server
        .seen()
        .into_iter()
        .find(|seen| seen.path == "/register")
        .expect("registered")
        .body;
    assert_eq!(registered["redirect_uris"], json!([redirect]));
    let token = server
        .seen()
        .into_iter()
        .find(|seen| seen.path == "/token")
        .expect("asked")
        .body;
    assert_eq!(
        (&token["redirect_uri"], &token["resource"]),
        (&json!(redirect), &json!(server.url()))
    );
    assert_eq!(token["client_id"], "made-for-you");
    let verifier = token["code_verifier"].as_str().expect("a verifier");
    assert!(verifier.len() >= 43 && verifier != param(&params, "code_challenge"));
    assert!(!client.log().contains("access-0") && !client.log().contains("refresh-0"));

    // The next process needs no login, only its owner can read what the first one left, and
    // what has expired is refreshed: once, though many ask.
    let dir = Arc::clone(&client.dir);
    client.ends_well().await;
    let kept = dir.path().join("data/stdio");
    for file in std::fs::read_dir(&kept).expect("a folder") {
        let file = file.expect("a file");
        assert_eq!(
            file.metadata().expect("there").permissions().mode() & 0o777,
            0o600,
            "{file:?}"
        );
    }
    lock(&world.good).clear();
    world.lifetime.store(1, Ordering::SeqCst);
    let mut client = Process::start_in(Arc::clone(&dir), &args, &[]);
    for id in 0..4 {
        client.ask(id, "read", json!({})).await;
    }
    for id in 0..4 {
        client.result(id).await;
    }
    let refreshed = server.count("/token");
    assert!(refreshed >= 2, "{refreshed}");
    client.ask(5, "read", json!({})).await;
    assert_ne!(client.result(5).await["by"], "access-0");
    assert_eq!(server.count("/register"), 1);
    client.ends_well().await;
    // Every refresh token was used once, and the last one is on disk.
    assert_eq!(lock(&world.refresh).len(), 1);
    let last = lock(&world.refresh).iter().next().cloned().expect("one");
    let files = std::fs::read_dir(&kept)
        .expect("a folder")
        .map(|file| file.expect("a file").path());
    let json = files
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "json"))
        .expect("kept");
    assert!(
        std::fs::read_to_string(json)
            .expect("readable")
            .contains(&last)
    );
}

#[tokio::test]
async fn more_scopes_are_asked_for_when_a_call_needs_them() {
    let (server, _world) = world(json!({})).await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.ask(1, "read", json!({})).await;
    log_in(&client).await;
    client.result(1).await;
    client.ask(2, "write", json!({})).await;
    let line = client.logged("scope=read+write").await;
    let state = line
        .split("state=")
        .nth(1)
        .and_then(|rest| rest.split('&').next())
        .expect("state");
    let redirect = line
        .split("redirect_uri=http%3A%2F%2F")
        .nth(1)
        .and_then(|rest| rest.split('&').next())
        .expect("redirect");
    let redirect = format!(
        "http://{}",
        redirect.replace("%3A", ":").replace("%2F", "/")
    );
    // The user says no to writing.
    assert_eq!(
        come_back(&redirect, &format!("code=code+read&state={state}")).await,
        200
    );
    assert_eq!(
        client.error(2).await,
        (-32603, "Insufficient scope".to_owned())
    );
    // And is not asked again.
    client.ask(3, "write", json!({})).await;
    client.error(3).await;
    assert_eq!(client.log().matches("/authorize?").count(), 2);
    client.ask(4, "read", json!({})).await;
    client.result(4).await;
    client.ends_well().await;
}

#[tokio::test]
async fn a_login_that_fails_is_told_and_not_repeated_at_once() {
    let (server, _world) =
        world(json!({ "authorization_response_iss_parameter_supported": true })).await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.ask(1, "read", json!({})).await;
    let (_, params) = told_to_open(&client).await;
    let query = format!(
        "code=code+read&state={}&iss=https%3A%2F%2Fevil.example",
        param(&params, "state")
    );
    assert_eq!(come_back(param(&params, "redirect_uri"), &query).await, 400);
    let (_, why) = client.error(1).await;
    assert!(
        why.contains("another authorization server") && !why.contains("evil"),
        "{why}"
    );
    assert_eq!(server.count("/token"), 0, "the code went nowhere");
    client.ask(2, "read", json!({})).await;
    client.error(2).await;
    assert_eq!(client.log().matches("/authorize?").count(), 1);
    client.ends_well().await;
}

#[tokio::test]
async fn a_code_on_another_device_does_where_there_is_no_browser() {
    let device = json!({ "device_authorization_endpoint": "BASE/device" });
    let (server, _world) = world(device).await;
    let mut client = Process::start(
        &["--url", &server.url(), "--client-id", "known"],
        &[("CORTEX_STDIO_CLIENT_SECRET", "s3 cret")],
    );
    client.ask_modern(1, "read", json!({})).await;
    client
        .logged("open https://login.example.com/device in any browser and enter the code ABCD-EFGH")
        .await;
    assert_eq!(client.result(1).await["by"], "access-0");
    let asked: Vec<_> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.path == "/device" || seen.path == "/token")
        .collect();
    assert_eq!(asked.len(), 3, "once for the code, twice for the token");
    for seen in &asked {
        // known:s3+cret
        assert_eq!(seen.header("authorization"), "Basic a25vd246czMrY3JldA==");
        assert_eq!(seen.body["resource"], server.url());
    }
    assert_eq!(
        (&asked[0].body["scope"], server.count("/register")),
        (&json!("read"), 0)
    );
    assert!(!client.log().contains("s3 cret"));
    client.ends_well().await;
}

#[tokio::test]
async fn a_browser_is_opened_where_there_is_one() {
    let (server, _world) = world(json!({ "device_authorization_endpoint": "BASE/device" })).await;
    let bin = tempfile::tempdir().expect("a directory");
    let opener = bin.path().join(if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    });
    // It writes to standard output, which must not reach the client.
    std::fs::write(
        &opener,
        "#!/bin/sh\necho opening\nprintf %s \"$1\" >\"$0.url\"\n",
    )
    .expect("written");
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).expect("set");
    let path = format!(
        "{}:{}",
        bin.path().display(),
        std::env::var("PATH").expect("a path")
    );
    let mut client = Process::start(
        &["--url", &server.url()],
        &[("PATH", &path), ("DISPLAY", ":0")],
    );
    client.ask(1, "read", json!({})).await;
    let params = log_in(&client).await;
    client.result(1).await;
    let opened = opener.with_extension("url");
    cortex_tests::gateway::eventually(
        || std::fs::read_to_string(&opened).is_ok_and(|url| url.contains("resource=")),
        || client.log(),
    )
    .await;
    assert!(
        std::fs::read_to_string(&opened)
            .expect("there")
            .contains(param(&params, "state"))
    );
    client.ends_well().await;
}

#[tokio::test]
async fn hostile_metadata_is_not_followed() {
    for (metadata, words) in [
        (
            json!({ "issuer": "https://honest.example" }),
            "names the issuer",
        ),
        (
            json!({ "code_challenge_methods_supported": ["plain"] }),
            "PKCE",
        ),
        (
            json!({ "token_endpoint": "http://login.example.com/token" }),
            "no usable token endpoint",
        ),
        (json!({ "registration_endpoint": null }), "--client-id"),
    ] {
        let (server, _world) = world(metadata).await;
        let mut client = Process::start(&["--url", &server.url()], &[]);
        client.ask(1, "read", json!({})).await;
        let (code, why) = client.error(1).await;
        assert!(code == -32603 && why.contains(words), "{why}");
        assert_eq!(server.count("/token"), 0);
        client.ends_well().await;
    }
    // A server that is not the resource it speaks of.
    let server = FakeServer::start_with(|base| {
        move |seen: &Seen| match seen.path.as_str() {
            "/mcp" => Answer::empty(401),
            "/.well-known/oauth-protected-resource" => Answer::json(
                200,
                json!({
                    "resource": "https://other.example/mcp", "authorization_servers": [base],
                }),
            ),
            _ => Answer::empty(404),
        }
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.ask(1, "read", json!({})).await;
    let (_, why) = client.error(1).await;
    assert!(
        why.contains("is about `https://other.example/mcp`"),
        "{why}"
    );
    let asked: Vec<_> = server
        .seen()
        .into_iter()
        .skip(1)
        .map(|seen| seen.path)
        .collect();
    assert_eq!(
        asked,
        [
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-protected-resource"
        ]
    );
    client.ends_well().await;
}
