//! Accounts of users at MCP servers: linked in a browser, used in their calls, renewed, taken back.

use cortex_tests::issuer::{Alg, Key};
use cortex_tests::{Browser, Client, Gateway, GatewayBuilder, Page, Provider, Reply, free_address};
use http::{Method, StatusCode};
use serde_json::{Value, json};

/// A key for the vault.
pub(crate) const VAULT_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A gateway, who gives out its tokens, and an MCP server with accounts of its own.
pub(crate) struct Stand {
    pub(crate) gateway: Gateway,
    pub(crate) issuer: Provider,
    pub(crate) notes: Provider,
    /// Where the gateway is.
    pub(crate) base: String,
}

impl Stand {
    /// Starts all of them; the account that lists the tools is linked.
    pub(crate) async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    pub(crate) async fn with(change: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let stand = Self::unlinked(change).await;
        stand.link("robot").await;
        stand.listed().await;
        stand
    }

    /// Starts all of them, with nothing linked.
    pub(crate) async fn unlinked(change: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let port = free_address().port();
        let base = format!("http://127.0.0.1:{port}");
        let mcp = format!("{base}/mcp");
        let issuer = Provider::issuer(Key::generate(Alg::Es256, "k1"), &mcp).await;
        let notes = Provider::start().await;
        let builder = GatewayBuilder::new()
            .mcp_server("notes", &notes.mcp())
            .env("CORTEX_LISTEN", &format!("127.0.0.1:{port}"))
            .env("CORTEX_CANONICAL_URI", &mcp)
            .env("CORTEX_DEV_BYPASS_TOKEN", "")
            .env("CORTEX_TECHNICAL_TOKEN", "")
            .env("OAUTH_ISSUER", &issuer.url())
            .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
            .env("CORTEX_VAULT_KEY", VAULT_KEY)
            .env("CORTEX_MCP_NOTES_CATALOG_SUB", "robot");
        let gateway = change(builder).start().await;
        gateway.ready().await;
        Self {
            gateway,
            issuer,
            notes,
            base,
        }
    }

    /// The gateway under another process.
    pub(crate) async fn restarted(self) -> Self {
        let gateway = self.gateway.stop().await.start().await;
        gateway.ready().await;
        Self { gateway, ..self }
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A browser of somebody, signed in at the issuer and at the provider under the same name.
    pub(crate) fn browser(&self, user: &str) -> Browser {
        Browser::new()
            .knows(&self.issuer.url(), user)
            .knows(&self.notes.url(), &format!("{user}-at-notes"))
    }

    /// An MCP client of somebody.
    pub(crate) fn client(&self, user: &str) -> Client {
        let token = self.issuer.token(user, "mcp:test:use");
        self.gateway.client.with_token(&token)
    }

    /// Signs in and opens the page of connections.
    pub(crate) async fn connections(&self, browser: &mut Browser) -> Page {
        browser.get(&self.at("/connections/sign-in")).await
    }

    /// Links somebody's account by the page.
    pub(crate) async fn link(&self, user: &str) -> Browser {
        let mut browser = self.browser(user);
        let page = self.connections(&mut browser).await;
        let start = page.attribute("href", "/api/link/notes/start");
        let linked = browser.get(&self.at(&start)).await;
        assert_eq!(linked.reply.status, StatusCode::OK, "{}", linked.text());
        assert!(linked.text().contains("is linked"), "{}", linked.text());
        browser
    }

    /// Waits until the tools are listed.
    pub(crate) async fn listed(&self) {
        let client = self.client("robot");
        for _ in 0..600 {
            let listed = client.modern("tools/list", json!({})).await;
            if listed.tool_names().contains(&"notes_whose".to_owned()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the tools are not listed: {}", self.gateway.log());
    }

    /// Calls the tool that says whose account it is, as a modern client that opens links.
    pub(crate) async fn whose(&self, user: &str) -> Reply {
        modern(&self.client(user), "notes_whose", json!({})).await
    }
}

/// A modern call by a client that opens links, with these further members of its parameters.
pub(crate) async fn modern(client: &Client, tool: &str, more: Value) -> Reply {
    let capabilities = json!({ "elicitation": { "form": {}, "url": {} } });
    client
        .modern_call(capabilities, tool, json!({ "n": 1 }), &more)
        .await
}

/// The URL that a modern client is asked to open.
pub(crate) fn asked_to_open(reply: &Reply) -> String {
    let result = reply.result();
    assert_eq!(result["resultType"], "input_required", "{result}");
    let request = &result["inputRequests"]["link"];
    assert_eq!(request["method"], "elicitation/create");
    assert_eq!(request["params"]["mode"], "url");
    let url = request["params"]["url"].as_str();
    url.unwrap_or_else(|| panic!("no URL: {result}")).to_owned()
}

fn is_of(reply: &Reply, account: &str) {
    assert_eq!(
        reply.tool_text(),
        (account.to_owned(), false),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn an_account_is_linked_when_it_is_needed_and_the_call_goes_on() {
    let mut stand = Stand::start().await;
    let asked = stand.whose("ada").await;
    let url = asked_to_open(&asked);
    assert!(
        url.starts_with(&stand.at("/api/link/notes/start?for=")),
        "{url}"
    );
    assert!(!url.contains("ada"), "nobody is named: {url}");

    // The browser is not signed in yet: it goes to the issuer, the provider, and comes back.
    let mut browser = stand.browser("ada");
    let linked = browser.get(&url).await;
    assert!(linked.text().contains("is linked"), "{}", linked.text());
    assert_eq!(linked.url.path(), "/api/link/notes/callback");

    let state = asked.result()["requestState"].clone();
    let again =
        json!({ "requestState": state, "inputResponses": { "link": { "action": "accept" } } });
    let done = modern(&stand.client("ada"), "notes_whose", again).await;
    is_of(&done, "ada-at-notes");
    is_of(&stand.whose("ada").await, "ada-at-notes");

    // The request that the provider saw is as the specifications want it.
    let authorizations = stand.notes.seen("/authorize");
    let params = &authorizations.last().expect("one").params;
    assert_eq!(params["resource"], stand.notes.mcp());
    assert_eq!(params["scope"], "notes");
    assert_eq!(params["code_challenge_method"], "S256");
    let tokens = stand.notes.seen("/token");
    assert_eq!(
        tokens.last().expect("one").params["resource"],
        stand.notes.mcp()
    );
    // No token is in what the gateway says to anybody.
    let records = stand.gateway.audit(3).await;
    let said = format!(
        "{}{}{records:?}",
        stand.gateway.log(),
        stand.gateway.output()
    );
    for token in stand.notes.tokens() {
        assert!(!said.contains(&token));
    }
}

#[tokio::test]
async fn each_era_is_told_in_its_own_way() {
    let stand = Stand::start().await;
    let client = stand.client("ada");
    let call = json!({ "name": "notes_whose", "arguments": {} });

    // Modern, without links: a result that says where to go.
    let told = client.modern("tools/call", call.clone()).await;
    let (text, failed) = told.tool_text();
    assert!(
        failed && text.contains(&stand.at("/api/link/notes/start?for=")),
        "{text}"
    );

    let in_session = async |version: &str, capabilities: Value| {
        let session = client.initialize_as(version, capabilities).await;
        let body = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": call });
        let headers = [
            ("mcp-protocol-version", version),
            ("mcp-session-id", &session),
        ];
        client.post(body.to_string(), &headers).await
    };
    let links = || json!({ "elicitation": { "form": {}, "url": {} } });

    // 2025-11-25 with links: its own error.
    let told = in_session("2025-11-25", links()).await;
    assert_eq!(told.status, StatusCode::OK);
    assert_eq!(told.error().0, -32042);
    let elicitation = &told.json()["error"]["data"]["elicitations"][0];
    assert_eq!(elicitation["mode"], "url");
    assert!(
        elicitation["elicitationId"]
            .as_str()
            .is_some_and(|id| !id.is_empty())
    );
    let url = elicitation["url"].as_str().expect("a URL").to_owned();

    // Without, and before: words.
    for (version, capabilities) in [
        ("2025-11-25", json!({})),
        ("2025-06-18", links()),
        ("2025-03-26", json!({})),
    ] {
        let told = in_session(version, capabilities).await;
        let (text, failed) = told.tool_text();
        assert!(
            failed && text.contains("/api/link/notes/start?for="),
            "{version}: {text}"
        );
    }

    // Whichever way it was told, afterwards the call works.
    stand.browser("ada").get(&url).await;
    is_of(&in_session("2025-11-25", links()).await, "ada-at-notes");
    is_of(
        &client.modern("tools/call", call.clone()).await,
        "ada-at-notes",
    );
}

#[tokio::test]
async fn a_person_who_does_not_want_to_is_not_asked_again_and_again() {
    let stand = Stand::start().await;
    let asked = stand.whose("ada").await;
    let state = asked.result()["requestState"].clone();
    for (action, asks_again) in [("decline", false), ("cancel", false), ("accept", true)] {
        let more =
            json!({ "requestState": state, "inputResponses": { "link": { "action": action } } });
        let told = modern(&stand.client("ada"), "notes_whose", more).await;
        match asks_again {
            true => drop(asked_to_open(&told)),
            false => assert!(told.tool_text().1, "{action}"),
        }
    }
}

#[tokio::test]
async fn the_page_tells_how_things_stand_and_one_click_changes_them() {
    let stand = Stand::start().await;
    let mut browser = stand.browser("ada");
    // Without signing in it says nothing of anybody.
    let stranger = browser.get(&stand.at("/connections")).await;
    assert!(stranger.text().contains("Sign in") && !stranger.text().contains("notes"));
    let policy = stranger.reply.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert_eq!(stranger.reply.header("cache-control"), "no-store");

    let page = stand.connections(&mut browser).await;
    assert!(page.text().contains("ada@example.com") && page.text().contains("○ not linked"));
    let start = page.attribute("href", "/api/link/notes/start");
    browser.get(&stand.at(&start)).await;
    let page = browser.get(&stand.at("/connections")).await;
    assert!(page.text().contains("● linked"), "{}", page.text());
    is_of(&stand.whose("ada").await, "ada-at-notes");

    stand.notes.revoke_all("ada-at-notes");
    drop(stand.whose("ada").await);
    let page = browser.get(&stand.at("/connections")).await;
    assert!(page.text().contains("▲ ended"), "{}", page.text());
    let start = page.attribute("href", "/api/link/notes/start");
    browser.get(&stand.at(&start)).await;
    is_of(&stand.whose("ada").await, "ada-at-notes");

    let page = browser.get(&stand.at("/connections")).await;
    let word = page.word();
    let page = browser
        .post(&stand.at("/api/link/notes/unlink"), &[("word", &word)])
        .await;
    assert!(page.text().contains("○ not linked"), "{}", page.text());
    assert_eq!(
        stand.notes.grants("ada-at-notes"),
        0,
        "taken back at the provider, too"
    );
    drop(asked_to_open(&stand.whose("ada").await));

    let page = browser
        .post(&stand.at("/connections/sign-out"), &[("word", &word)])
        .await;
    assert!(page.text().contains("Sign in"));
    assert!(
        browser.cookies(&stand.base).is_empty(),
        "{:?}",
        browser.cookies(&stand.base)
    );
}

#[tokio::test]
async fn programs_link_and_unlink_with_a_token() {
    let stand = Stand::start().await;
    let token = format!("Bearer {}", stand.issuer.token("ada", "mcp:test:use"));
    let post = async |path: &str, token: &str| {
        let headers = [("authorization", token)];
        let sent = stand.gateway.client.send(Method::POST, path, &headers, "");
        sent.await.expect("an answer")
    };
    let url = post("/api/link/notes/start", &token).await.json()["url"].clone();
    stand.browser("ada").get(url.as_str().expect("a URL")).await;
    is_of(&stand.whose("ada").await, "ada-at-notes");
    let unlinked = post("/api/link/notes/unlink", &token).await;
    assert_eq!(unlinked.json(), json!({ "unlinked": true }));
    assert_eq!(
        post("/api/link/notes/unlink", &token).await.json(),
        json!({ "unlinked": false })
    );
    assert_eq!(stand.notes.grants("ada-at-notes"), 0);

    let stranger = post("/api/link/notes/start", "Bearer nonsense").await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert!(
        stranger
            .header("www-authenticate")
            .contains("resource_metadata=")
    );
    let nobody = stand
        .gateway
        .client
        .send(Method::POST, "/api/link/notes/start", &[], "");
    assert_eq!(
        nobody.await.expect("an answer").status,
        StatusCode::UNAUTHORIZED
    );
    for path in [
        "/api/link/other/start",
        "/api/link/notes/else",
        "/api/link/notes",
        "/api/link/",
    ] {
        assert_eq!(
            post(path, &token).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn two_people_call_as_themselves_at_the_same_time() {
    let stand = Stand::start().await;
    for user in ["ada", "bob"] {
        stand.link(user).await;
    }
    let (ada, bob) = (stand.client("ada"), stand.client("bob"));
    let calls = (0..40).map(|n| {
        let (client, account) = match n % 2 {
            0 => (&ada, "ada-at-notes"),
            _ => (&bob, "bob-at-notes"),
        };
        let arguments = json!({ "arguments": { "n": n } });
        async move { is_of(&modern(client, "notes_whose", arguments).await, account) }
    });
    futures_util::future::join_all(calls).await;
    for (account, n) in stand.notes.calls() {
        let n: u32 = n.parse().expect("a number");
        let expected = if n.is_multiple_of(2) {
            "ada-at-notes"
        } else {
            "bob-at-notes"
        };
        assert_eq!(account, expected);
    }
    assert_eq!(stand.notes.calls().len(), 40);
}

#[tokio::test]
async fn whoami_tells_what_is_linked() {
    let stand = Stand::start().await;
    let accounts = async || {
        let told = stand
            .client("ada")
            .modern("tools/call", json!({ "name": "whoami" }))
            .await;
        told.result()["structuredContent"]["accounts"].clone()
    };
    let is = |status: &str| json!([{ "server": "notes", "status": status }]);
    assert_eq!(accounts().await, is("never"));
    stand.link("ada").await;
    assert_eq!(accounts().await, is("linked"));
    stand.notes.revoke_all("ada-at-notes");
    drop(stand.whose("ada").await);
    assert_eq!(accounts().await, is("expired"));
}

#[tokio::test]
async fn more_rights_are_asked_for_when_a_tool_needs_them() {
    let stand = Stand::start().await;
    stand.link("ada").await;
    let asked = modern(&stand.client("ada"), "notes_admin", json!({})).await;
    let text = asked.result()["inputRequests"]["link"]["params"]["message"].to_string();
    assert!(text.contains("admin"), "{text}");
    stand.browser("ada").get(&asked_to_open(&asked)).await;
    let authorizations = stand.notes.seen("/authorize");
    let scope = &authorizations.last().expect("one").params["scope"];
    assert_eq!(scope, "admin notes");
    is_of(
        &modern(&stand.client("ada"), "notes_admin", json!({})).await,
        "ada-at-notes",
    );
    assert_eq!(
        stand.notes.grants("ada-at-notes"),
        1,
        "the earlier grant was taken back"
    );
}

#[tokio::test]
async fn without_a_key_nothing_is_linked_and_everybody_is_told_why() {
    let stand = Stand::unlinked(|builder| builder.env("CORTEX_VAULT_KEY", "")).await;
    let mut browser = stand.browser("ada");
    let page = stand.connections(&mut browser).await;
    // Signing in needs a client registration, which is kept sealed, too.
    assert!(page.text().contains("CORTEX_VAULT_KEY"), "{}", page.text());
    let token = format!("Bearer {}", stand.issuer.token("ada", "mcp:test:use"));
    let headers = [("authorization", token.as_str())];
    let path = "/api/link/notes/start";
    let sent = stand.gateway.client.send(Method::POST, path, &headers, "");
    let told = sent.await.expect("an answer");
    assert!(told.text().contains("CORTEX_VAULT_KEY"), "{}", told.text());
}

#[tokio::test]
async fn the_operator_is_told_which_account_lists_the_tools() {
    let stand = Stand::unlinked(|builder| builder.env("CORTEX_MCP_NOTES_CATALOG_SUB", "")).await;
    let log = stand.gateway.log();
    assert!(log.contains("set CORTEX_MCP_NOTES_CATALOG_SUB"), "{log}");
}

#[tokio::test]
async fn who_may_not_use_the_gateway_does_not_sign_in() {
    for variable in ["CORTEX_REQUIRED_POOL", "OAUTH_REQUIRED_SCOPES"] {
        let stand = Stand::unlinked(|builder| builder.env(variable, "blue")).await;
        // The provider of the tests grants no scope that it is asked for by nobody, and no pool.
        stand
            .issuer
            .manners(|manners| manners.grants = Some(String::new()));
        let mut browser = stand.browser("ada");
        let page = stand.connections(&mut browser).await;
        assert_eq!(page.reply.status, StatusCode::FORBIDDEN, "{}", page.text());
        assert!(page.text().contains("You may not use this gateway"));
        let page = browser.get(&stand.at("/connections")).await;
        assert!(page.text().contains("Sign in"), "{}", page.text());
    }
}

#[tokio::test]
async fn a_client_that_the_provider_knows_is_used_as_it_is() {
    let stand = Stand::with(|builder| {
        builder
            .env("CORTEX_MCP_NOTES_CLIENT_ID", "known")
            .env("CORTEX_MCP_NOTES_CLIENT_SECRET", "s3cret")
            .env("CORTEX_MCP_NOTES_OAUTH_SCOPE", "notes admin")
    })
    .await;
    assert!(stand.notes.seen("/register").is_empty());
    let authorizations = stand.notes.seen("/authorize");
    let asked = &authorizations.last().expect("one").params;
    assert_eq!(asked["client_id"], "known");
    assert_eq!(asked["scope"], "admin notes");
    let tokens = stand.notes.seen("/token");
    let basic = &tokens.last().expect("one").headers["authorization"];
    // `known:s3cret` (RFC 6749 §2.3.1).
    assert_eq!(basic, "Basic a25vd246czNjcmV0");
}

#[tokio::test]
async fn providers_are_told_who_the_gateway_is_where_its_client_id_leads() {
    // Reached by https under another name, as a proxy would have it.
    let name = "https://gateway.example";
    let stand =
        Stand::unlinked(|builder| builder.env("CORTEX_CANONICAL_URI", &format!("{name}/mcp")))
            .await;
    let document = stand
        .gateway
        .client
        .get("/api/link/client-metadata.json")
        .await;
    let id = format!("{name}/api/link/client-metadata.json");
    assert_eq!(document.json()["client_id"], id);
    assert_eq!(document.json()["token_endpoint_auth_method"], "none");
    let redirects = json!([
        format!("{name}/api/link/notes/callback"),
        format!("{name}/connections/signed-in")
    ]);
    assert_eq!(document.json()["redirect_uris"], redirects);

    // Where the server reads such documents, nothing is registered.
    for (reads, expected) in [(false, "client-0"), (true, id.as_str())] {
        stand
            .issuer
            .metadata("client_id_metadata_document_supported", json!(reads));
        let mut browser = stand.browser("ada");
        let stop = |url: &url::Url| url.path() == "/authorize";
        let page = browser.go(&stand.at("/connections/sign-in"), stop).await;
        let asked: std::collections::HashMap<_, _> = page.url.query_pairs().collect();
        assert_eq!(asked["client_id"], expected);
        // Nothing but this site, by https, may set or read what says who is signed in.
        let cookie = page.reply.header("set-cookie");
        assert!(
            cookie.contains("HttpOnly; SameSite=Lax; Secure"),
            "{cookie}"
        );
    }
    assert_eq!(stand.issuer.seen("/register").len(), 1);
}
