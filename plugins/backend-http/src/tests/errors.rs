//! What it makes of errors.

use super::*;

const AUTH: &str = "Backend auth failed: the token may have expired";

/// The failure of a call that the backend answered like this.
fn check(answer: Answer, code: &str, message: &str, meta: Option<&str>) {
    let shown = format!("{answer:?}");
    let failure = call(answer, true).map_err(failure);
    let expected = Failure {
        code: code.into(),
        message: message.into(),
        meta: meta.map(Into::into),
    };
    assert_eq!(failure, Err(expected), "{shown}");
}

#[test]
fn refused_tokens() {
    check(
        Ok(response(401, r#"{"error":"no"}"#)),
        "backend_auth",
        AUTH,
        None,
    );
    check(Ok(response(401, "")), "backend_auth", AUTH, None);
    check(Ok(response(401, "<html>")), "backend_auth", AUTH, None);
    check(
        Ok(response(401, r#"{"required":"a"}"#)),
        "backend_auth",
        AUTH,
        None,
    );
}

#[test]
fn a_missing_scope_is_told_from_an_acl() {
    let scopes = |body: &str, expected: &[&str]| {
        let error = call(Ok(response(403, body)), false);
        let expected = CallError::missing_scope(expected.iter().copied(), "search");
        assert_eq!(error, Err(expected), "{body}");
    };
    scopes(
        r#"{"error":"scope","required":"mcp:docs:write"}"#,
        &["mcp:docs:write"],
    );
    scopes(r#"{"required":"a b a"}"#, &["a", "b"]);
    scopes(r#"{"required":["a","b"]}"#, &["a", "b"]);
    scopes(r#"{"required":["a b",3,null,"a"]}"#, &["a", "b"]);
    // What could not be granted must not reach a challenge header.
    scopes(r#"{"required":["ok","a\"b","a\\b","a\nb","ü"]}"#, &["ok"]);

    let acl = |body: &str, reason: &str| {
        let message = format!("Backend ACL denied: {reason}");
        check(Ok(response(403, body)), "backend_acl", &message, None);
    };
    acl(r#"{"error":"editors only"}"#, "editors only");
    acl(
        r#"{"error":{"why":"editors only"}}"#,
        r#"{"why":"editors only"}"#,
    );
    acl("{}", "it gave no reason");
    acl(r#"{"error":null}"#, "it gave no reason");
    acl(r#""go away""#, "go away");
    acl("", "it gave no reason");
    acl("<html>", "it gave no reason");
    // Nothing that could be granted is asked for.
    acl(r#"{"error":"no","required":null}"#, "no");
    acl(r#"{"error":"no","required":""}"#, "no");
    acl(r#"{"error":"no","required":[]}"#, "no");
    acl(r#"{"error":"no","required":true}"#, "no");
    acl(r#"{"error":"no","required":["\n"]}"#, "no");
}

#[test]
fn business_errors_keep_the_whole_body() {
    let business = |status: u16, body: &str, reason: &str| {
        let message = format!("Backend {status}: {reason}");
        let meta = format!(r#"{{"cortex/backendError":{{"status":{status},"body":{body}}}}}"#);
        check(
            Ok(response(status, body)),
            "backend_error",
            &message,
            Some(&meta),
        );
    };
    business(400, r#"{"error":"bad query","at":1.0}"#, "bad query");
    business(404, r#"{"error":"no such page"}"#, "no such page");
    business(409, r#"{"error":409}"#, "409");
    business(422, r#"{"error":["a","b"]}"#, r#"["a","b"]"#);
    business(429, r#"{"message":"slow down"}"#, "it gave no reason");
    business(500, r#"{"error":""}"#, "it gave no reason");
    business(500, "[]", "it gave no reason");
    business(503, r#""down for repair""#, "down for repair");
    business(599, r#"{"error":"x","required":"a"}"#, "x");
}

#[test]
fn answers_that_are_none() {
    let not_json = |status: u16, body: &[u8]| {
        let message =
            format!("Backend docs is unavailable: its answer is not JSON (HTTP {status})");
        check(
            Ok(response(status, body)),
            "backend_unavailable",
            &message,
            None,
        );
    };
    not_json(200, b"<html>");
    not_json(200, b"");
    not_json(204, b"");
    not_json(200, b"{} {}");
    not_json(200, b"\"\xff\"");
    not_json(500, b"Internal Server Error");
    not_json(502, b"<html>http://10.0.0.1</html>");

    for status in [300, 301, 302, 304, 307, 308] {
        let message =
            format!("Backend docs is unavailable: it answered with a redirect (HTTP {status})");
        check(
            Ok(response(status, "{}")),
            "backend_unavailable",
            &message,
            None,
        );
    }
}

#[test]
fn no_answer() {
    let none = |error: HttpError, code: &str, message: &str| {
        check(Err(error), code, message, None);
    };
    none(
        HttpError::Timeout(250),
        "backend_timeout",
        "Backend timed out after 250ms",
    );
    none(
        HttpError::ConnectionFailed("refused by 10.0.0.1".into()),
        "backend_unavailable",
        "Backend docs is unavailable: no connection",
    );
    none(
        HttpError::ResponseTooLarge(1024),
        "backend_error",
        "Backend docs answered with more than 1024 bytes: ask for less",
    );
    none(
        HttpError::CredentialRefused("no user".into()),
        "backend_auth",
        "Backend docs was not called: no user",
    );
    none(
        HttpError::LimitExceeded("requests".into()),
        "backend_error",
        "Backend docs was not called: a limit is used up: requests",
    );
    let refused = "Backend docs is unavailable: the gateway refused to send the request";
    testing::logs();
    for error in [
        HttpError::OriginNotGranted("http://10.0.0.1".into()),
        HttpError::InvalidRequest("http://10.0.0.1".into()),
        HttpError::Other("http://10.0.0.1".into()),
    ] {
        none(error, "backend_unavailable", refused);
        let line = "backend docs: request refused: http://10.0.0.1".to_owned();
        assert_eq!(testing::logs(), [(Level::Error, line)], "for the operator");
    }
}

#[test]
fn whoami_fails_as_a_tool_does_and_must_be_an_object() {
    let check = |body: &str, status: u16, message: &str| {
        let body = body.to_owned();
        let _served = testing::serve(move |_| Ok(response(status, body.as_str())));
        let known = HttpBackend::whoami(&target(), &caller(&[]));
        assert_eq!(known.map_err(|e| failure(e).message), Err(message.into()));
    };
    check("[]", 200, "Backend docs: whoami did not answer an object");
    check(
        r#""ann""#,
        200,
        "Backend docs: whoami did not answer an object",
    );
    check("{}", 401, AUTH);
    check(
        r#"{"error":"unknown method"}"#,
        404,
        "Backend 404: unknown method",
    );
}
