//! What an answer becomes.

use cortex_plugin_sdk::backend::ToolOutcome;

use super::*;

/// The result of a GET that promises nothing, or an object.
fn read(answer: http::Response, structured: bool) -> Result<Reply, CallError> {
    let schema = if structured {
        json!({ "type": "object" })
    } else {
        json!({ "type": "array" })
    };
    let ok = json!({ "content": { "application/json": { "schema": schema } } });
    let get = json!({ "operationId": "t", "responses": { "200": ok } });
    let document = document("3.1.0", json!({ "/a": { "get": get } }), json!({}));
    call(&document, "t", json!({}), Ok(answer)).1
}

fn failed(answer: http::Response) -> Failure {
    match read(answer, false) {
        Err(CallError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn results_of_every_kind() {
    let typed =
        |mime: &str, body: &[u8]| read(response(200, body).with("content-type", mime), false);
    assert_eq!(
        typed("application/json", br#"{"a":1}"#),
        Ok(Reply::json(r#"{"a":1}"#))
    );
    assert_eq!(
        typed("application/hal+json", b"[1]"),
        Ok(Reply::text("[1]"))
    );
    assert_eq!(
        typed("text/csv; charset=utf-8", b"a,b"),
        Ok(Reply::text("a,b"))
    );
    assert_eq!(typed("image/svg+xml", b"<svg/>"), Ok(Reply::text("<svg/>")));
    assert_eq!(
        typed("Image/PNG; q=1", b"\x89PNG"),
        Ok(Reply::new([Content::image(*b"\x89PNG", "image/png")]))
    );
    assert_eq!(
        typed("audio/ogg", b"Ogg"),
        Ok(Reply::new([Content::audio(*b"Ogg", "audio/ogg")]))
    );
    assert_eq!(
        typed("application/pdf", b"%PDF\xff"),
        Ok(Reply::text(
            "done (HTTP 200): the answer is 5 bytes of application/pdf, which cannot be shown"
        ))
    );
    assert_eq!(
        read(response(204, ""), false),
        Ok(Reply::text("done (HTTP 204, without content)"))
    );
}

#[test]
fn who_promised_an_object_must_bring_one() {
    assert_eq!(read(response(200, "{}"), true), Ok(Reply::json("{}")));
    for body in ["[]", "", "<html>", "1"] {
        let reply = read(response(200, body), true);
        assert!(
            matches!(&reply, Err(CallError::Failed(failure)) if failure.message.contains("something else")),
            "{body}: {reply:?}"
        );
    }
}

#[test]
fn errors_say_what_the_app_said() {
    let said = |status: u16, body: &str| {
        let failure = failed(response(status, body));
        assert_eq!(failure.code, "backend_error");
        failure.message
    };
    for (body, expected) in [
        (
            r#"{"type":"about:blank","title":"Bad pet","detail":"it has no name"}"#,
            "Bad pet: it has no name",
        ),
        (
            r#"{"title":"Bad pet","errors":[{"at":"/name"}]}"#,
            r#"Bad pet: [{"at":"/name"}]"#,
        ),
        (r#"{"message":"no such pet","code":7}"#, "no such pet"),
        (
            r#"{"error":"invalid","error_description":"no such pet"}"#,
            "no such pet",
        ),
        (r#"{"error":{"code":7}}"#, r#"{"code":7}"#),
        (r#""no""#, "no"),
        ("{}", "it gave no reason"),
        ("<html>http://10.0.0.1</html>", "it gave no reason"),
        ("", "it gave no reason"),
    ] {
        assert_eq!(
            said(422, body),
            format!("Backend 422: {expected}"),
            "{body}"
        );
    }
    let failure = failed(response(404, r#"{"title":"gone"}"#));
    assert_eq!(
        failure.meta.as_deref(),
        Some(r#"{"cortex/backendError":{"status":404,"body":{"title":"gone"}}}"#)
    );
    let plain = response(500, "the pump is broken").with("content-type", "text/plain");
    assert_eq!(failed(plain).message, "Backend 500: the pump is broken");
    let busy = response(429, r#"{"title":"slow down"}"#).with("retry-after", "30");
    assert_eq!(
        failed(busy).message,
        "Backend 429: slow down (try again in 30 s)"
    );
    let long = format!(r#"{{"detail":"{}"}}"#, "x".repeat(5_000));
    assert!(said(400, &long).len() < 1_100);
}

#[test]
fn refusals_are_not_mended_by_more_scopes() {
    let failure = failed(response(401, r#"{"required":"pets:write"}"#));
    assert_eq!(failure.code, "backend_auth");
    let failure = failed(response(
        403,
        r#"{"title":"Owners only","required":"pets:write"}"#,
    ));
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("backend_acl", "Backend ACL denied: Owners only")
    );
    let failure = failed(response(302, ""));
    assert_eq!(failure.code, "backend_unavailable");
}

#[test]
fn a_question_is_never_made_of_an_answer() {
    let reply = read(
        response(200, r#"{"resultType":"input_required","requests":{}}"#),
        false,
    );
    let outcome = reply.map(ToolOutcome::from);
    assert!(
        matches!(outcome, Ok(ToolOutcome::Complete(_))),
        "{outcome:?}"
    );
}
