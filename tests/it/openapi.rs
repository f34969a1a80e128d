//! Apps with an OpenAPI document behind a gateway, used by people with tokens.

mod app;

use app::App;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, Gateway, GatewayBuilder};
use serde_json::{Value, json};
use tokio::process::Command;

const PETS: &str = include_str!("../../examples/openapi/tests/petstore-3.0.json");
const NOTES: &str = include_str!("../../examples/openapi/tests/notes-3.1.json");

/// Two apps, and a gateway that has them.
struct Stage {
    pets: App,
    notes: App,
    gateway: Gateway,
    key: Key,
    issuer: FakeIssuer,
}

impl Stage {
    async fn start(settings: &str) -> Self {
        let pets = App::start("/openapi.json", PETS).await;
        let notes = App::start("/docs/notes.json", NOTES).await;
        let key = Key::generate(Alg::EdDsa, "a");
        let issuer = FakeIssuer::start(&[&key]).await;
        let gateway = GatewayBuilder::new()
            .issuer(&issuer)
            .plugin("backend-openapi")
            .plugin_file("backend-openapi.toml", settings.as_bytes())
            .backend("pets", &pets.url())
            .backend("notes", &notes.url())
            .env("CORTEX_BACKEND_PETS_ADAPTER", "backend-openapi")
            .env("CORTEX_BACKEND_NOTES_ADAPTER", "backend-openapi")
            .start()
            .await;
        gateway.ready().await;
        Self {
            pets,
            notes,
            gateway,
            key,
            issuer,
        }
    }

    /// Somebody with these scopes, and the token.
    fn user(&self, scopes: &str) -> (Client, String) {
        let mut claims = self.issuer.claims();
        claims["scope"] = json!(scopes);
        let token = self.key.token(&claims);
        (self.gateway.client.with_token(&token), token)
    }
}

const SETTINGS: &str = r#"
[settings.backends.notes]
document = "/docs/notes.json"
[settings.backends.notes.scopes]
write = "mcp:notes:edit"
"#;

#[tokio::test]
async fn operations_are_tools_and_calls_are_made_with_the_callers_token() {
    let stage = Stage::start(SETTINGS).await;
    let (client, token) = stage.user("mcp:pets:read mcp:pets:write mcp:notes:read");

    // Documents are fetched as nobody in particular, and once.
    for (app, path) in [
        (&stage.pets, "GET /openapi.json"),
        (&stage.notes, "GET /docs/notes.json"),
    ] {
        let seen = app.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].line, path);
        let shown = &seen[0].headers["authorization"];
        assert_eq!(shown, "Bearer technical-token-of-the-tests");
    }

    let listed = client.legacy("tools/list", json!({})).await;
    assert_eq!(
        listed.tool_names(),
        [
            "notes_searchNotes",
            "pets_addPet",
            "pets_delete_pets_petId",
            "pets_findPets",
            "pets_getPetById",
            "pets_petPhoto",
            "pets_updatePet",
        ]
    );
    let tools = listed.result()["tools"].clone();
    let tools = tools.as_array().expect("tools").iter();
    let found = tools.clone().find(|tool| tool["name"] == "pets_getPetById");
    let tool = found.expect("a tool");
    assert_eq!(tool["annotations"], json!({ "readOnlyHint": true }));
    assert_eq!(tool["outputSchema"]["$ref"], "#/$defs/Pet");
    let mut old = tools.filter(|tool| tool["description"].to_string().contains("[DEPRECATED]"));
    assert_eq!(
        old.next().map(|tool| tool["name"].clone()),
        Some(json!("pets_delete_pets_petId"))
    );

    // A call, from the model's arguments to the app's answer.
    let arguments = json!({ "status": ["sold", "a&b"], "limit": 2 });
    let reply = client.call("pets_findPets", arguments).await;
    let (text, is_error) = reply.tool_text();
    assert!(!is_error && text == r#"[{"id":1,"name":"Rex"}]"#, "{text}");
    let seen = stage.pets.seen().pop().expect("a request");
    assert_eq!(
        seen.line,
        "GET /api/v3/pets?status=sold&status=a%26b&limit=2"
    );
    assert_eq!(
        seen.headers["authorization"],
        format!("Bearer {token}").as_str()
    );

    let body = json!({ "name": "Rex", "tag": null });
    let reply = client.call("pets_addPet", json!({ "body": body })).await;
    let result = reply.result();
    assert_eq!(
        result["structuredContent"],
        json!({ "id": 7, "name": "Rex" })
    );
    let seen = stage.pets.seen().pop().expect("a request");
    assert_eq!(seen.line, "POST /api/v3/pets");
    assert_eq!(
        serde_json::from_str::<Value>(&seen.body).expect("JSON"),
        body
    );
    assert_eq!(seen.headers["content-type"], "application/json");

    // Modern clients too, with 3.1.
    let arguments = json!({ "q": "a b", "page": { "size": 2 } });
    let params = json!({ "name": "notes_searchNotes", "arguments": arguments });
    let result = client.modern("tools/call", params).await.result();
    assert_eq!(result["structuredContent"], json!({ "notes": [] }));
    let seen = stage.notes.seen().pop().expect("a request");
    assert_eq!(seen.line, "GET /search?q=a%20b&page%5Bsize%5D=2");
    assert_eq!(
        seen.headers["authorization"],
        format!("Bearer {token}").as_str()
    );

    let photo = client
        .call("pets_petPhoto", json!({ "petId": "7" }))
        .await
        .result();
    assert_eq!(photo["content"][0]["type"], "image");
    assert_eq!(photo["content"][0]["mimeType"], "image/png");
    let gone = client
        .call("pets_delete_pets_petId", json!({ "petId": "7" }))
        .await;
    assert_eq!(
        gone.tool_text(),
        ("done (HTTP 204, without content)".to_owned(), false)
    );
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_nothing_leads_elsewhere() {
    let mut stage = Stage::start(SETTINGS).await;
    let (client, _) = stage.user("mcp:pets:read mcp:pets:write mcp:notes:read");

    let call = async |id: &str| {
        let reply = client.call("pets_getPetById", json!({ "petId": id })).await;
        reply.tool_text()
    };
    for (id, told) in [
        ("missing", "Backend 404: No such pet: it was never here"),
        ("foreign", "Backend ACL denied: Owners only"),
        ("stale", "Backend auth failed: the token may have expired"),
        (
            "odd",
            "Backend pets answered with something else than its OpenAPI document says (HTTP 200)",
        ),
    ] {
        assert_eq!(call(id).await, (told.to_owned(), true), "{id}");
    }

    let before = stage.pets.seen().len();
    for (arguments, told) in [
        (json!({ "petId": ".." }), "`.` or `..`"),
        (json!({ "petId": "x/../../admin" }), "`.` or `..`"),
        (json!({ "petId": "" }), "must not be empty"),
        (json!({}), "`petId` is missing"),
        (
            json!({ "petId": "1", "admin": true }),
            "there is no argument `admin`",
        ),
    ] {
        let refused = client.call("pets_getPetById", arguments).await;
        let (code, message) = refused.error();
        assert!(code == -32602 && message.contains(told), "{message}");
    }
    let header = json!({ "X-Request-Tag": "a\r\nX-Admin: 1" });
    let (_, message) = client.call("pets_findPets", header).await.error();
    assert!(message.contains("one line of ASCII"), "{message}");
    assert_eq!(stage.pets.seen().len(), before, "the app was never asked");

    // Scopes as for everything else.
    let note = json!({ "id": "1", "body": { "text": "x" } });
    let refused = client.call("notes_patchNote", note.clone()).await;
    assert_eq!(refused.status, 403);
    assert!(
        refused
            .header("www-authenticate")
            .contains("scope=\"mcp:notes:edit\"")
    );
    let (editor, _) = stage.user("mcp:notes:edit");
    assert_eq!(editor.call("notes_patchNote", note).await.status, 200);
    let seen = stage.notes.seen().pop().expect("a request");
    assert_eq!(seen.line, "PATCH /notes/1");
    assert_eq!(seen.headers["content-type"], "application/merge-patch+json");

    // What could not be offered is the operator's to read.
    let left_out = "POST /pets/{petId}/photo is left out: its body is no JSON: multipart/form-data";
    stage.gateway.logged(left_out).await;
}

#[tokio::test]
async fn a_document_that_asks_for_too_much_takes_only_its_own_tools_away() {
    // One that takes all the memory or time that there is, were it read as a whole.
    let mut paths = serde_json::Map::new();
    let mut schemas = serde_json::Map::new();
    for n in 0..2_000 {
        let next = json!({ "$ref": format!("#/components/schemas/S{}", (n * 7 + 1) % 2_000) });
        let other = json!({ "$ref": format!("#/components/schemas/S{}", (n * 3 + 2) % 2_000) });
        let members = json!({ "a": next, "b": other, "text": { "description": "x".repeat(400) } });
        schemas.insert(
            format!("S{n}"),
            json!({ "type": "object", "properties": members }),
        );
        let body = json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/S{n}") } } });
        let post = json!({ "operationId": format!("o{n}"), "requestBody": { "content": body } });
        paths.insert(format!("/p{n}"), json!({ "post": post }));
    }
    let huge = json!({ "openapi": "3.1.0", "paths": paths, "components": { "schemas": schemas } });
    let huge = App::start("/openapi.json", &huge.to_string()).await;
    let yaml = App::start("/openapi.json", "openapi: 3.1.0").await;
    let pets = App::start("/openapi.json", PETS).await;
    let mut gateway = GatewayBuilder::new()
        .plugin("backend-openapi")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:pets:read mcp:huge:write")
        .backend("huge", &huge.url())
        .backend("yaml", &yaml.url())
        .backend("pets", &pets.url())
        .env("CORTEX_BACKEND_HUGE_ADAPTER", "backend-openapi")
        .env("CORTEX_BACKEND_YAML_ADAPTER", "backend-openapi")
        .env("CORTEX_BACKEND_PETS_ADAPTER", "backend-openapi")
        .start()
        .await;
    gateway.ready().await;
    gateway.logged("YAML is not read").await;
    gateway.logged("they are too many").await;
    let listed = gateway.client.legacy("tools/list", json!({})).await;
    let names = listed.tool_names();
    assert!(names.contains(&"pets_findPets".to_owned()), "{names:?}");
    let huge_ones = names
        .iter()
        .filter(|name| name.starts_with("huge_"))
        .count();
    assert!((1..=1_000).contains(&huge_ones), "{huge_ones}");
    let reply = gateway.client.call("huge_o0", json!({ "body": {} })).await;
    assert!(
        reply.tool_text().0.starts_with("Backend 404"),
        "{}",
        reply.text()
    );
    assert_eq!(
        huge.seen().pop().map(|seen| seen.line),
        Some("POST /p0".to_owned())
    );
}

#[tokio::test]
async fn the_recorded_exchanges_are_as_they_were() {
    let scripts = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/openapi/tests/exchanges"
    );
    let played = Command::new(cortex_tests::binary("cortex-gateway"))
        .args(["plugin", "test"])
        .arg(cortex_tests::component("backend-openapi"))
        .args(["--scripts", scripts])
        .output();
    let played = played.await.expect("it runs");
    let told = String::from_utf8_lossy(&played.stdout).into_owned();
    let failed = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{told}{failed}");
    assert_eq!(told.matches("ok     ").count(), 12, "{told}");
}
