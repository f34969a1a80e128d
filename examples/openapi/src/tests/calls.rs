//! What a call becomes.

use super::discovery::petstore;
use super::*;

fn url(document: &Value, arguments: Value) -> Result<String, String> {
    let request = sent(document, "t", arguments)?;
    Ok(request.url.replace("http://docs.test", ""))
}

#[test]
fn a_call_is_one_request_as_the_caller() {
    let request = sent(
        &petstore(),
        "findPets",
        json!({ "status": ["sold", "pending"], "limit": 5, "X-Request-Tag": "a b" }),
    );
    let request = request.expect("sent");
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        (
            "GET",
            "http://docs.test/api/v3/pets?status=sold&status=pending&limit=5"
        )
    );
    assert_eq!(request.body, None);
    let header = request
        .headers
        .iter()
        .find(|header| header.name == "X-Request-Tag");
    assert_eq!(header.map(|header| header.value.as_str()), Some("a b"));

    let request = sent(&petstore(), "delete_pets_petId", json!({ "petId": "7" }));
    let request = request.expect("sent");
    assert_eq!(request.method, "DELETE");
    assert_eq!(request.url, "http://docs.test/api/v3/pets/7");
}

#[test]
fn the_body_goes_as_the_model_wrote_it() {
    let catalog = discover(&petstore());
    let target = Target {
        learned: catalog.learned,
        ..testing::target()
    };
    let served = testing::serve(|_| Ok(response(201, "{}")));
    let arguments = r#"{ "body": {"name": "Rex", "n": 12345678901234567890.10} }"#;
    let reply = OpenApi::call_tool(&target, &caller(&[]), &testing::call("addPet", arguments));
    assert!(reply.is_ok(), "{reply:?}");
    let request = &served.requests()[0];
    assert_eq!(
        request.body.as_deref(),
        Some(&br#"{"name": "Rex", "n": 12345678901234567890.10}"#[..])
    );
    assert!(
        request
            .headers
            .iter()
            .any(|h| h.name == "content-type" && h.value == "application/json")
    );
}

#[test]
fn a_body_that_need_not_be_may_stay_away() {
    let arguments = json!({ "petId": "7" });
    assert_eq!(
        sent(&petstore(), "updatePet", arguments).map(|r| r.body),
        Ok(None)
    );
    assert_eq!(
        sent(&petstore(), "addPet", json!({})).err().as_deref(),
        Some("`body` is missing")
    );
}

#[test]
fn styles_of_parameters() {
    let query = |rest: Value, value: Value, expected: &str| {
        let mut param = json!({ "name": "p", "in": "query", "schema": {} });
        for (name, value) in rest.as_object().expect("an object") {
            param[name] = value.clone();
        }
        let sent = url(&with_params(json!([param])), json!({ "p": value }));
        assert_eq!(sent.as_deref(), Ok(expected), "{rest} {value}");
    };
    let list = || json!(["a b", "c&d", 3]);
    let named = || json!({ "k": "v/w", "n": null, "m": true });
    query(json!({}), json!("ü&x=1#y"), "/a?p=%C3%BC%26x%3D1%23y");
    query(json!({}), json!(1.50), "/a?p=1.5");
    query(json!({}), json!(""), "/a?p=");
    query(json!({}), list(), "/a?p=a%20b&p=c%26d&p=3");
    query(json!({}), json!([]), "/a");
    query(json!({ "explode": false }), list(), "/a?p=a%20b,c%26d,3");
    query(
        json!({ "style": "spaceDelimited" }),
        list(),
        "/a?p=a%20b%20c%26d%203",
    );
    query(
        json!({ "style": "pipeDelimited" }),
        list(),
        "/a?p=a%20b%7Cc%26d%7C3",
    );
    query(
        json!({ "schema": { "type": "object" } }),
        named(),
        "/a?k=v%2Fw&m=true",
    );
    query(json!({ "explode": false }), named(), "/a?p=k,v%2Fw,m,true");
    query(
        json!({ "style": "deepObject" }),
        named(),
        "/a?p%5Bk%5D=v%2Fw&p%5Bm%5D=true",
    );
    query(
        json!({ "content": { "application/json": { "schema": {} } } }),
        json!({ "a": [1] }),
        "/a?p=%7B%22a%22%3A%5B1%5D%7D",
    );
    let in_path = |explode: bool, value: Value| {
        let param = json!([{ "name": "p", "in": "path", "required": true, "explode": explode }]);
        let get = json!({ "operationId": "t", "parameters": param });
        url(
            &document("3.1.0", json!({ "/x/{p}/y": { "get": get } }), json!({})),
            json!({ "p": value }),
        )
    };
    assert_eq!(in_path(false, list()).as_deref(), Ok("/x/a%20b,c%26d,3/y"));
    assert_eq!(
        in_path(false, named()).as_deref(),
        Ok("/x/k,v%2Fw,m,true/y")
    );
    assert_eq!(in_path(true, named()).as_deref(), Ok("/x/k=v%2Fw,m=true/y"));
    assert_eq!(
        in_path(false, json!("{q}?#")).as_deref(),
        Ok("/x/%7Bq%7D%3F%23/y")
    );
}

#[test]
fn names_that_clients_do_not_take_get_others() {
    let params = json!([
        { "name": "filter[name]", "in": "query", "schema": {} },
        { "name": "filter(name)", "in": "query", "schema": {} },
        { "name": "id", "in": "query", "schema": {} },
        { "name": "id", "in": "header", "schema": {} },
        { "name": "body", "in": "query", "schema": {} },
    ]);
    let mut document = with_params(params);
    document["paths"]["/a"]["post"] = document["paths"]["/a"]["get"].take();
    document["paths"]["/a"]["post"]["requestBody"] =
        json!({ "content": { "application/json": {} } });
    document["paths"]["/a"]
        .as_object_mut()
        .expect("an object")
        .remove("get");
    let catalog = discover(&document);
    let (_, schema) = only(&catalog);
    let names: Vec<&String> = schema["properties"]
        .as_object()
        .expect("an object")
        .keys()
        .collect();
    assert_eq!(
        names,
        [
            "body",
            "filter_name_",
            "header_id",
            "id",
            "query_body",
            "query_filter_name_"
        ]
    );
    let arguments = json!({ "filter_name_": 1, "query_filter_name_": 2, "id": 3, "header_id": 4, "query_body": 5, "body": {} });
    let request = sent(&document, "t", arguments).expect("sent");
    assert_eq!(
        request.url,
        "http://docs.test/a?filter%5Bname%5D=1&filter%28name%29=2&id=3&body=5"
    );
    assert!(
        request
            .headers
            .iter()
            .any(|header| header.name == "id" && header.value == "4")
    );
}

#[test]
fn an_operation_describes_parameters_of_its_path_anew() {
    let param = |name: &str, within: &str, kind: &str| json!({ "name": name, "in": within, "required": true, "schema": { "type": kind } });
    let paths = json!({ "/a/{id}": {
        "parameters": [param("id", "path", "string"), param("q", "query", "string")],
        "get": { "operationId": "t", "parameters": [param("id", "path", "integer"), param("q", "header", "string")] },
    } });
    let document = document("3.1.0", paths, json!({}));
    let catalog = discover(&document);
    let (_, schema) = only(&catalog);
    assert_eq!(schema["properties"]["id"], json!({ "type": "integer" }));
    assert_eq!(schema["required"], json!(["q", "id", "header_q"]));
    let arguments = json!({ "id": 7, "q": "x", "header_q": "y" });
    assert_eq!(url(&document, arguments).as_deref(), Ok("/a/7?q=x"));
}

#[test]
fn arguments_that_are_wrong_are_told() {
    let document = with_params(json!([
        { "name": "must", "in": "query", "required": true, "schema": {} },
        { "name": "may", "in": "query", "schema": {} },
    ]));
    for (arguments, told) in [
        (json!({}), "`must` is missing"),
        (json!({ "must": null }), "`must` is missing"),
        (
            json!({ "must": 1, "moot": 2 }),
            "there is no argument `moot`",
        ),
        (json!({ "must": [[1]] }), "`must` must not be nested"),
        (json!({ "must": { "a": {} } }), "`must` must not be nested"),
    ] {
        assert_eq!(url(&document, arguments).err().as_deref(), Some(told));
    }
    let long = "x".repeat(9_000);
    let told = url(&document, json!({ "must": long })).expect_err("too long");
    assert!(told.contains("more than 8192 bytes"), "{told}");
    assert_eq!(
        url(&document, json!({ "must": 1, "may": null })).as_deref(),
        Ok("/a?must=1")
    );
}

#[test]
fn a_tool_that_is_not_known_is_not_called() {
    let (request, reply) = call(&petstore(), "other", json!({}), Ok(response(200, "{}")));
    assert_eq!((request, reply), (None, Err(CallError::not_found("other"))));
    let reply = OpenApi::call_tool(
        &testing::target(),
        &caller(&[]),
        &testing::call("addPet", "{}"),
    );
    assert!(
        matches!(&reply, Err(CallError::Failed(failure)) if failure.message.ends_with("try again")),
        "{reply:?}"
    );
}
