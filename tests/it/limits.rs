//! Clients that send too much, too slowly, or nonsense, and clients that take nothing: each gets its
//! exact answer, and none of them keeps others out.

use std::net::SocketAddr;
use std::time::Duration;

use cortex_tests::client::DEV_TOKEN;
use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longest anything is waited for. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const BAD_HOST: &str = r#"{"error":"bad_host"}"#;
const PONG: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connected")
}

/// Everything that comes until the other side closes; what came before a reset counts, too.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let reading = stream.read_to_end(&mut all);
    drop(
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("an end"),
    );
    String::from_utf8_lossy(&all).into_owned()
}

/// Sends bytes and reads to the end.
async fn say(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = connect(address).await;
    // The far end may have heard enough before all is said.
    drop(stream.write_all(bytes.as_ref()).await);
    rest(&mut stream).await
}

/// Status, body, and whether the connection is said to end.
fn parts(answer: &str) -> (&str, &str, bool) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    let close = head
        .lines()
        .any(|l| l.eq_ignore_ascii_case("connection: close"));
    (status, body, close)
}

/// A ping with these header lines instead of, and besides, the usual ones.
fn ping(target: &str, lines: &[&str]) -> String {
    let mut head = format!("POST {target} HTTP/1.1\r\n");
    for usual in [
        "Host: localhost",
        "Connection: close",
        "Content-Type: application/json",
        &format!("Content-Length: {}", PING.len()),
        &format!("X-Dev-Mode: {DEV_TOKEN}"),
    ] {
        let name = usual.split(':').next().unwrap_or_default();
        if !lines.iter().any(|line| line.starts_with(name)) {
            head += &format!("{usual}\r\n");
        }
    }
    // A line without a value leaves the usual one out.
    for line in lines.iter().filter(|line| !line.ends_with(':')) {
        head += &format!("{line}\r\n");
    }
    format!("{head}\r\n{PING}")
}

#[tokio::test]
async fn heads_of_every_bad_shape_get_their_answer() {
    let gateway = GatewayBuilder::new().start().await;
    let long = format!("X-Long: {}", "a".repeat(40 * 1024));
    let line = format!("/mcp?{}", "a".repeat(64 * 1024));
    let many: Vec<String> = (0..200).map(|n| format!("X-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let twice = format!("Content-Length: {0}\r\nContent-Length: {0}", PING.len());
    let http10 = |request: String| request.replacen("HTTP/1.1", "HTTP/1.0", 1);
    for (what, request, status, body) in [
        ("nothing wrong", ping("/mcp", &[]), "200", PONG),
        ("a header of 40 KiB", ping("/mcp", &[&long]), "431", ""),
        ("a request line of 64 KiB", ping(&line, &[]), "431", ""),
        ("200 header fields", ping("/mcp", &many), "431", ""),
        (
            "two lengths",
            ping("/mcp", &["Content-Length: 40", "Content-Length: 41"]),
            "400",
            "",
        ),
        ("one length, twice", ping("/mcp", &[&twice]), "200", PONG),
        (
            "a negative length",
            ping("/mcp", &["Content-Length: -1"]),
            "400",
            "",
        ),
        (
            "a length with a sign",
            ping("/mcp", &["Content-Length: +40"]),
            "400",
            "",
        ),
        (
            "a list of lengths",
            ping("/mcp", &["Content-Length: 40, 40"]),
            "400",
            "",
        ),
        (
            "a length beyond numbers",
            ping("/mcp", &["Content-Length: 99999999999999999999"]),
            "400",
            "",
        ),
        (
            "chunked, but not last",
            ping(
                "/mcp",
                &["Content-Length:", "Transfer-Encoding: chunked, gzip"],
            ),
            "400",
            "",
        ),
        (
            "no known coding",
            ping("/mcp", &["Content-Length:", "Transfer-Encoding: xchunked"]),
            "400",
            "",
        ),
        (
            "chunked in HTTP/1.0",
            http10(ping(
                "/mcp",
                &["Content-Length:", "Transfer-Encoding: chunked"],
            )),
            "400",
            "",
        ),
        ("a NUL in a value", ping("/mcp", &["X-A: a\0b"]), "400", ""),
        ("a NUL in a name", ping("/mcp", &["X\0A: a"]), "400", ""),
        (
            "a bare CR in a value",
            ping("/mcp", &["X-A: a\rX-Dev-Mode: b"]),
            "400",
            "",
        ),
        ("a folded line", ping("/mcp", &["X-A: a\r\n b"]), "400", ""),
        (
            "a blank before the colon",
            ping("/mcp", &["X-A : a"]),
            "400",
            "",
        ),
        ("a line without a colon", ping("/mcp", &["X-A"]), "400", ""),
        ("a name that is none", ping("/mcp", &["X A: a"]), "400", ""),
        ("a blank in the target", ping("/mcp /x", &[]), "400", ""),
        (
            "a target that is only a host",
            ping("mcp", &[]),
            "403",
            r#"{"error":"forbidden_host"}"#,
        ),
        (
            "no version of ours",
            ping("/mcp", &[]).replacen("HTTP/1.1", "HTTP/3.0", 1),
            "400",
            "",
        ),
        ("no version", "POST /mcp\r\n\r\n".to_owned(), "400", ""),
        (
            "TLS",
            "\x16\x03\x01\x02\x00\x01\x00\x01\u{7c}\x03\x03".to_owned(),
            "400",
            "",
        ),
        (
            "HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "",
            "",
        ),
        ("HTTP/1.0", http10(ping("/mcp", &[])), "200", PONG),
        ("no Host", ping("/mcp", &["Host:"]), "400", BAD_HOST),
        (
            "two Hosts",
            ping("/mcp", &["Host: localhost", "Host: evil.example"]),
            "400",
            BAD_HOST,
        ),
        (
            "a Host that is none",
            ping("/mcp", &["Host: local host"]),
            "400",
            BAD_HOST,
        ),
        (
            "a Host with a user",
            ping("/mcp", &["Host: a@localhost"]),
            "400",
            BAD_HOST,
        ),
        (
            "an absolute target",
            ping("http://localhost/mcp", &[]),
            "200",
            PONG,
        ),
        (
            "an absolute target elsewhere",
            ping("http://evil.example/mcp", &[]),
            "403",
            r#"{"error":"forbidden_host"}"#,
        ),
    ] {
        let answer = say(gateway.address, request).await;
        let (found, text, _) = parts(&answer);
        assert_eq!((found, text), (status, body), "{what}: {answer:?}");
    }
    assert_eq!(gateway.client.legacy("ping", json!({})).await.status, 200);
}

#[tokio::test]
async fn a_body_of_two_lengths_ends_where_its_chunks_end_and_nothing_follows() {
    let gateway = GatewayBuilder::new().start().await;
    let chunks = format!("{:x}\r\n{PING}\r\n0\r\n\r\n", PING.len());
    // By its length, the body would hold the next request as well.
    for lines in [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 400"],
    ] {
        let head = ping("/mcp", &["Connection: keep-alive", lines[0], lines[1]]);
        let head = head.trim_end_matches(PING);
        let smuggled = ping("/mcp", &[]);
        let answer = say(gateway.address, format!("{head}{chunks}{smuggled}")).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert_eq!(parts(&answer), ("200", PONG, true), "{answer}");
    }
}

#[tokio::test]
async fn chunks_that_are_none_are_refused() {
    let gateway = GatewayBuilder::new().start().await;
    let broken = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "the body broke off" } });
    for chunks in [
        "zz\r\n{}\r\n0\r\n\r\n".to_owned(),
        "-2\r\n{}\r\n0\r\n\r\n".to_owned(),
        "2\r\n{}XX0\r\n\r\n".to_owned(),
        "\r\n\r\n".to_owned(),
        "fffffffffffffffff\r\n{}".to_owned(),
        format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(64 * 1024)),
        format!("2\r\n{{}}\r\n0\r\nX-A: {}\r\n\r\n", "x".repeat(64 * 1024)),
    ] {
        let head = ping("/mcp", &["Content-Length:", "Transfer-Encoding: chunked"]);
        let head = head.trim_end_matches(PING);
        let answer = say(gateway.address, format!("{head}{chunks}")).await;
        let shown: String = chunks.chars().take(20).collect();
        assert_eq!(parts(&answer).0, "400", "{shown:?}: {answer}");
        assert_eq!(
            serde_json::from_str::<Value>(parts(&answer).1)
                .ok()
                .as_ref(),
            Some(&broken),
            "{shown:?}"
        );
    }
}

#[tokio::test]
async fn slow_senders_are_told_and_idle_connections_just_end() {
    let mut gateway = GatewayBuilder::new()
        .env("CORTEX_HEADER_TIMEOUT_SECONDS", "1")
        .env("CORTEX_BODY_TIMEOUT_SECONDS", "1")
        .start()
        .await;
    // A header that never ends, however busily it is sent.
    let mut slow = connect(gateway.address).await;
    slow.write_all(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n")
        .await
        .expect("written");
    let mut answer = [0; 12];
    let dripping = async {
        loop {
            tokio::select! {
                read = slow.readable() => break read.expect("readable"),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            drop(slow.try_write(b"X-Drip: 1\r\n"));
        }
    };
    tokio::time::timeout(PATIENCE, dripping)
        .await
        .expect("an answer");
    slow.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(
        rest(&mut slow)
            .await
            .to_lowercase()
            .contains("connection: close")
    );

    // A body that never comes.
    let request = ping("/mcp", &["Connection: keep-alive", "Content-Length: 100"]);
    let answer = say(gateway.address, request).await;
    let (status, body, close) = parts(&answer);
    assert_eq!((status, close), ("408", true), "{answer}");
    let told = r#"{"error":{"code":-32600,"message":"the body did not arrive in time"},"id":null,"jsonrpc":"2.0"}"#;
    assert_eq!(body, told);
    assert_eq!(gateway.audit(1).await[0]["error_code"], "body_too_slow");

    // Nothing was asked, so nothing is answered.
    assert_eq!(say(gateway.address, "").await, "");
    let answer = say(gateway.address, ping("/mcp", &["Connection: keep-alive"])).await;
    assert_eq!(parts(&answer), ("200", PONG, false));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_told_while_it_is_being_sent() {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_MAX_BODY_BYTES", "65536")
        .start()
        .await;
    let much = "x".repeat(3 * 1024 * 1024);
    let announced = ping("/mcp", &[&format!("Content-Length: {}", much.len())]);
    let chunked = ping("/mcp", &["Content-Length:", "Transfer-Encoding: chunked"]);
    let chunk = format!("{:x}\r\n{much}\r\n0\r\n\r\n", much.len());
    let endless = ping("/mcp", &["Content-Length: 999999999999"]);
    for request in [
        announced.trim_end_matches(PING).to_owned() + &much,
        chunked.trim_end_matches(PING).to_owned() + &chunk,
        endless,
    ] {
        let answer = say(gateway.address, request).await;
        let (status, body, close) = parts(&answer);
        assert_eq!((status, close), ("413", true), "{answer}");
        assert!(
            body.contains("the body is larger than 65536 bytes"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_thousand_half_open_connections_keep_nobody_out() {
    let gateway = GatewayBuilder::new().start().await;
    let mut held = Vec::new();
    for n in 0..1_000 {
        let mut stream = connect(gateway.address).await;
        // Nothing, half a line, half a header, half a body.
        let whole = ping("/mcp", &[]);
        let part = [0, 9, whole.len() - PING.len() - 2, whole.len() - 1][n % 4];
        stream
            .write_all(&whole.as_bytes()[..part])
            .await
            .expect("written");
        // Half bodies count against their caller: theirs is another bound.
        if n % 4 == 3 && n > 400 {
            continue;
        }
        held.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(gateway.client.get("/healthz").await.status, 200);
    }
    assert_eq!(
        parts(&say(gateway.address, ping("/mcp", &[])).await),
        ("200", PONG, true)
    );
    assert!(held.len() > 800);
}

#[tokio::test]
async fn a_connection_without_room_is_told_at_once() {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_MAX_CONNECTIONS", "3")
        .start()
        .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connect(gateway.address).await);
    }
    for request in ["", &ping("/mcp", &[])] {
        let answer = say(gateway.address, request).await;
        let (status, body, close) = parts(&answer);
        assert_eq!(
            (status, body, close),
            ("503", r#"{"error":"overloaded"}"#, true)
        );
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    }
    held.pop();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while parts(&say(gateway.address, ping("/mcp", &[])).await).0 != "200" {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the room was never given back"
        );
    }
}

/// A gateway with a tool `docs_big` whose result is larger than what sockets hold.
async fn with_big_tool(write_seconds: &str) -> (Gateway, FakeBackend) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("big")])).await;
    backend.plan("big", Plan::Json(200, json!("x".repeat(7 * 1024 * 1024))));
    let gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .env("CORTEX_WRITE_TIMEOUT_SECONDS", write_seconds)
        .env("CORTEX_MAX_CONCURRENT_PER_CALLER", "1")
        .start()
        .await;
    gateway.ready().await;
    (gateway, backend)
}

/// Calls it and reads nothing.
async fn call_and_read_nothing(gateway: &mut Gateway) -> TcpStream {
    let before = gateway.audit(0).await.len();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(gateway.address).await.expect("connected");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"docs_big"}}"#;
    let head = ping("/mcp", &[&format!("Content-Length: {}", body.len())]);
    let request = head.trim_end_matches(PING).to_owned() + body;
    stream.write_all(request.as_bytes()).await.expect("written");
    let records = gateway.audit(before + 1).await;
    assert_eq!(records[before]["success"], true, "{records:?}");
    stream
}

#[tokio::test]
async fn an_answer_that_is_not_taken_counts_against_its_caller() {
    let (mut gateway, _backend) = with_big_tool("600").await;
    let stream = call_and_read_nothing(&mut gateway).await;
    let reply = gateway.client.legacy("ping", json!({})).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("retry-after")),
        (429, "1")
    );
    let told = (
        -32000,
        "too many requests at one time; wait for one to end".to_owned(),
    );
    assert_eq!(reply.error(), told);
    let records = gateway.audit(2).await;
    assert_eq!(records[1]["error_code"], "too_many_at_once");
    drop(stream);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while gateway.client.legacy("ping", json!({})).await.status != 200 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the place was never given back"
        );
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up() {
    let (mut gateway, _backend) = with_big_tool("1").await;
    let mut stream = call_and_read_nothing(&mut gateway).await;
    // Its place is free again, though it still holds its end of the connection.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while gateway.client.legacy("ping", json!({})).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "never given up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = rest(&mut stream).await;
    assert!(answer.len() < 7 * 1024 * 1024, "{} bytes", answer.len());
}

#[tokio::test]
async fn one_caller_cannot_take_all_places() {
    let key = Key::generate(Alg::EdDsa, "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("hang")])).await;
    backend.plan("hang", Plan::Hang);
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("docs", &backend.url())
        .env("CORTEX_MAX_CONCURRENT_PER_CALLER", "2")
        .start()
        .await;
    gateway.ready().await;
    let token = |subject: &str, id: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = json!(subject);
        claims["jti"] = json!(id);
        claims["scope"] = json!("mcp:test:use");
        gateway.client.with_token(&key.token(&claims))
    };
    let mut calls = Vec::new();
    for id in ["1", "2"] {
        let ann = token("ann", id);
        calls.push(tokio::spawn(async move {
            ann.call("docs_hang", json!({})).await
        }));
    }
    eventually(
        || backend.seen("hang").len() == 2,
        || "the calls never came".to_owned(),
    )
    .await;
    // Another token is not another caller.
    let refused = token("ann", "3").legacy("ping", json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.error().0), (429, -32000));
    assert_eq!(
        token("bob", "4").legacy("ping", json!({})).await.status,
        200
    );
    for call in calls {
        call.abort();
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while token("ann", "5").legacy("ping", json!({})).await.status != 200 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the places were never given back"
        );
    }
}

#[tokio::test]
async fn an_answer_before_the_body_says_that_the_connection_ends() {
    let gateway = GatewayBuilder::new().start().await;
    // A client that sends header and body one after the other would otherwise keep the connection for
    // its next request, which nobody reads.
    let mut stream = connect(gateway.address).await;
    let wanted = ping("/mcp", &["X-Dev-Mode: wrong", "Connection: keep-alive"]);
    let (head, body) = wanted.split_once("\r\n\r\n").expect("a header");
    let head = format!("{head}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    let (status, _, close) = parts(&answer);
    assert_eq!((status, close), ("401", true), "{answer}");
    drop(stream.write_all(body.as_bytes()).await);
    assert_eq!(rest(&mut stream).await, "");

    // What was read to its end keeps the connection.
    let mut stream = connect(gateway.address).await;
    for _ in 0..2 {
        let good = ping("/mcp", &["Connection: keep-alive"]);
        stream.write_all(good.as_bytes()).await.expect("sent");
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        let (status, _, close) = parts(&answer);
        assert_eq!((status, close), ("200", false), "{answer}");
    }
}
