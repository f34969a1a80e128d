//! The backend contract over real HTTP, on a free port.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::net::SocketAddr;
use std::sync::Arc;

use cortex_test_issuer::{Alg, FakeIssuer, Key, now};
use demo_backend::{App, Issuer, PATH, Secret, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const READ: &str = "mcp:demo:read";
const WRITE: &str = "mcp:demo:write";

struct Backend {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Backend {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    async fn start_with(issuer: Option<Issuer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = App::new(
            Secret::new("technical".into()),
            Some(Secret::new("user".into())),
            issuer,
        );
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, Arc::new(app), async {
            drop(stopped.await)
        }));
        Self {
            address,
            stop,
            served,
        }
    }

    /// Sends bytes as they are; answers the status and the body.
    async fn send(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The answer may come, and the connection end, before all is sent.
        drop(stream.write_all(request.as_bytes()).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            body.to_owned(),
        )
    }

    async fn post(&self, headers: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        let (status, body) = self
            .send(&format!(
                "POST {PATH} HTTP/1.1\r\nHost: backend\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n{headers}\r\n{body}"
            ))
            .await;
        (status, serde_json::from_str(&body).unwrap())
    }

    /// As the gateway itself.
    async fn gateway(&self, method: &str) -> (u16, Value) {
        let body = json!({"method": method, "params": {}}).to_string();
        self.post("Authorization: Bearer technical\r\n", &body)
            .await
    }

    /// As the gateway for a user.
    async fn user(&self, role: &str, scopes: &str, method: &str, params: Value) -> (u16, Value) {
        let headers = format!(
            "Authorization: Bearer user\r\nX-Cortex-User-Id: ann\r\nX-Cortex-User-Email: \r\n\
             X-Cortex-User-Role: {role}\r\nX-Cortex-User-Pool: \r\nX-Cortex-Scopes: {scopes}\r\n"
        );
        self.post(
            &headers,
            &json!({"method": method, "params": params}).to_string(),
        )
        .await
    }
}

#[tokio::test]
async fn the_technical_token_serves_the_catalog_and_nothing_else() {
    let backend = Backend::start().await;
    let (status, tools) = backend.gateway("list_tools").await;
    assert_eq!(status, 200);
    let names: Vec<&str> = tools["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "echo",
            "add",
            "list_notes",
            "get_help",
            "say",
            "add_note",
            "delete_note"
        ]
    );
    assert_eq!(
        backend.gateway("list_prompts").await.1["prompts"][0]["name"],
        "summarize_notes"
    );
    let templates = backend.gateway("list_resource_templates").await.1;
    assert_eq!(
        templates["resourceTemplates"][0]["uriTemplate"],
        "demo://notes/{id}"
    );
    let snapshot = backend.gateway("get_snapshot").await.1;
    assert_eq!(snapshot["headline"][0]["value"], 1);
    for method in ["echo", "whoami", "no_such_method"] {
        let (status, body) = backend.gateway(method).await;
        assert_eq!((status, body.get("required")), (403, None), "{method}");
    }
}

#[tokio::test]
async fn who_is_unknown_gets_401() {
    let backend = Backend::start().await;
    for headers in [
        "",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Basic user\r\n",
    ] {
        let (status, body) = backend.post(headers, r#"{"method":"echo"}"#).await;
        assert_eq!(status, 401, "{headers}");
        assert!(body["error"].is_string());
    }
    assert_eq!(backend.user("", READ, "list_tools", json!({})).await.0, 401);
}

#[tokio::test]
async fn an_access_token_says_who_the_user_is_and_the_headers_do_not() {
    let (ours, theirs) = (
        Key::generate(Alg::EdDsa, "ours"),
        Key::generate(Alg::EdDsa, "theirs"),
    );
    let issuer = FakeIssuer::start(&[&ours]).await;
    let audience = "http://127.0.0.1:3213/mcp";
    let trusted = Issuer::new(issuer.url(), audience.to_owned());
    let backend = Backend::start_with(Some(trusted)).await;
    let call = async |token: &str| {
        let headers = format!(
            "Authorization: Bearer {token}\r\nX-Cortex-User-Id: mallory\r\nX-Cortex-Scopes: {WRITE}\r\n"
        );
        backend
            .post(&headers, r#"{"method":"echo","params":{}}"#)
            .await
    };

    let mut good = issuer.claims();
    good["aud"] = json!(audience);
    good["scope"] = json!(READ);
    good["metadata"] = json!({"role": "admin"});
    let (status, body) = call(&ours.token(&good)).await;
    let caller = json!({"sub": "user-1", "role": "admin", "scopes": [READ]});
    assert_eq!((status, &body["caller"]), (200, &caller), "{body}");

    for (claim, value) in [
        ("iss", json!("http://127.0.0.1:1")),
        ("aud", json!("http://127.0.0.1:4213/mcp")),
        ("exp", json!(now() - 3600)),
        ("nbf", json!(now() + 3600)),
        ("sub", json!("")),
    ] {
        let mut bad = good.clone();
        bad[claim] = value;
        assert_eq!(call(&ours.token(&bad)).await.0, 401, "{claim}");
    }
    let good_text = good.to_string();
    for header in [
        json!({"alg": "EdDSA", "kid": "ours", "typ": "JWT"}),
        json!({"alg": "EdDSA", "kid": "ours"}),
        json!({"alg": "none", "kid": "ours", "typ": "at+jwt"}),
        json!({"alg": "EdDSA", "kid": "nobody's", "typ": "at+jwt"}),
    ] {
        let token = ours.sign(&header.to_string(), &good_text);
        assert_eq!(call(&token).await.0, 401, "{header}");
    }
    let forged = theirs.sign(&ours.header().to_string(), &good_text);
    assert_eq!(call(&forged).await.0, 401);
}

#[tokio::test]
async fn tools_answer_users_with_the_scope() {
    let backend = Backend::start().await;
    let (status, body) = backend
        .user("member", READ, "echo", json!({"message": "hi", "n": [1]}))
        .await;
    assert_eq!(status, 200);
    let caller = json!({"sub": "ann", "role": "member", "scopes": [READ]});
    assert_eq!(
        body,
        json!({"echo": {"message": "hi", "n": [1]}, "caller": caller})
    );
    assert_eq!(
        backend
            .user("", READ, "add", json!({"a": 1, "b": 2}))
            .await
            .1
            .to_string(),
        r#"{"sum":3}"#
    );
    assert_eq!(
        backend
            .user("", READ, "add", json!({"a": 1, "b": 0.5}))
            .await
            .1,
        json!({"sum": 1.5})
    );
    assert_eq!(
        backend.user("", "", "whoami", json!({})).await.1["sub"],
        "ann"
    );
    assert!(backend.user("", READ, "get_help", json!({})).await.1["help"].is_string());
}

#[tokio::test]
async fn the_two_kinds_of_403_differ() {
    let backend = Backend::start().await;
    let (status, body) = backend
        .user("admin", READ, "add_note", json!({"text": "x"}))
        .await;
    assert_eq!((status, &body["required"]), (403, &json!(WRITE)));
    let (status, body) = backend
        .user("member", WRITE, "delete_note", json!({"id": 1}))
        .await;
    assert_eq!((status, body.get("required")), (403, None));
    assert_eq!(
        backend
            .user("admin", WRITE, "delete_note", json!({"id": 1}))
            .await,
        (200, json!({"deleted": 1}))
    );
}

#[tokio::test]
async fn errors_have_a_status_and_a_reason() {
    let backend = Backend::start().await;
    let both = format!("{READ} {WRITE}");
    for (method, params, expected) in [
        ("add", json!({"a": 1}), 422),
        ("add", json!({"a": 1e308, "b": 1e308}), 422),
        ("add_note", json!({"text": "x", "tags": "y"}), 422),
        ("delete_note", json!({"id": 99}), 404),
        ("read_resource", json!({"uri": "demo://notes/99"}), 404),
        ("read_resource", json!({"uri": "file:///etc/passwd"}), 404),
        ("get_prompt", json!({"name": "other"}), 404),
        ("no_such_method", json!({}), 404),
    ] {
        let (status, body) = backend.user("admin", &both, method, params).await;
        assert_eq!(status, expected, "{method}");
        assert!(body["error"].is_string(), "{method}");
    }
    assert_eq!(
        backend.user("", "", "no_such_method", json!({})).await.1,
        json!({"error": "unknown method"})
    );
}

#[tokio::test]
async fn a_note_can_be_written_listed_read_and_summarized() {
    let backend = Backend::start().await;
    let both = format!("{READ} {WRITE}");
    let note = backend
        .user(
            "",
            &both,
            "add_note",
            json!({"text": "buy milk", "tags": ["home"]}),
        )
        .await
        .1;
    assert_eq!(note["uri"], "demo://notes/2");
    let listed = backend
        .user("", &both, "list_notes", json!({"tag": "home", "limit": 5}))
        .await
        .1;
    assert_eq!(listed, json!({"count": 1, "notes": [note]}));
    let read = backend
        .user("", &both, "read_resource", json!({"uri": "demo://notes/2"}))
        .await
        .1;
    assert_eq!(read["contents"][0]["text"], "buy milk");
    let arguments =
        json!({"name": "summarize_notes", "arguments": {"language": "German", "tag": "home"}});
    let prompt = backend.user("", &both, "get_prompt", arguments).await.1;
    assert_eq!(
        prompt["messages"][0]["content"]["text"],
        "Summarize these notes in German:\n\n2. buy milk"
    );
    assert_eq!(
        backend.user("", &both, "whoami", json!({})).await.1["notesWritten"],
        1
    );
}

#[tokio::test]
async fn http_itself_is_strict() {
    let backend = Backend::start().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
    assert_eq!(backend.send(&get("/")).await.0, 404);
    assert_eq!(backend.send(&get(PATH)).await.0, 405);
    let user = "Authorization: Bearer user\r\n";
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"method":1}"#,
        r#"{"method":"echo","params":[]}"#,
    ] {
        assert_eq!(backend.post(user, body).await.0, 400, "{body}");
    }
    let large = format!(
        r#"{{"method":"echo","params":{{"x":"{}"}}}}"#,
        "x".repeat(1024 * 1024)
    );
    assert_eq!(backend.post(user, &large).await.0, 413);
}

#[tokio::test]
async fn it_stops_when_told_to() {
    let backend = Backend::start().await;
    assert_eq!(backend.gateway("list_tools").await.0, 200);
    backend.stop.send(()).unwrap();
    backend.served.await.unwrap();
    assert!(TcpStream::connect(backend.address).await.is_err());
}
