//! Several policies, and what their operator sets.

use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, FakeBackend, Gateway, GatewayBuilder, Plan};
use http::Method;
use serde_json::{Value, json};

const ADMIN: &str = "admin-secret-of-the-tests";

struct Stand {
    gateway: Gateway,
    backend: FakeBackend,
    issuer: FakeIssuer,
    key: Key,
}

impl Stand {
    /// A gateway with these policies and the settings of `policy-tiers`.
    async fn with(policies: &[&str], settings: &str) -> Self {
        let key = Key::generate(Alg::EdDsa, "k");
        let issuer = FakeIssuer::start(&[&key]).await;
        let tool =
            |name: &str, scope: &str| json!({ "name": name, "scope": scope, "description": "x" });
        let backend = FakeBackend::start(json!([
            tool("read", "mcp:app:basic"),
            tool("write", "mcp:app:pro"),
            tool("delete_all", "mcp:app:basic"),
        ]))
        .await;
        backend.plan("read", Plan::Json(200, json!("read")));
        let mut builder = GatewayBuilder::bare()
            .env("CORTEX_ADMIN_SECRET", ADMIN)
            .plugin("backend-http")
            .plugin("audit-stdout")
            .issuer(&issuer)
            .backend("docs", &backend.url());
        for policy in policies {
            builder = builder.plugin(policy);
        }
        if !settings.is_empty() {
            builder = builder.plugin_file("policy-tiers.toml", settings.as_bytes());
        }
        let gateway = builder.start().await;
        Self {
            gateway,
            backend,
            issuer,
            key,
        }
    }

    fn client(&self, sub: &str, scope: &str) -> Client {
        let mut claims = self.issuer.claims();
        claims["sub"] = json!(sub);
        claims["scope"] = json!(scope);
        self.gateway.client.with_token(&self.key.token(&claims))
    }
}

impl Stand {
    /// A figure of a policy in `/metrics`, by the text in front of it.
    async fn figure(&self, name: &str) -> u64 {
        let secret = [("x-cortex-admin-secret", ADMIN)];
        let metrics = self
            .gateway
            .client
            .send(Method::GET, "/metrics", &secret, "");
        let text = metrics.await.expect("an answer").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no `{name}` in {text}"))
    }
}

async fn names(client: &Client) -> Vec<String> {
    client.legacy("tools/list", json!({})).await.tool_names()
}

const TIERS: &str = r#"
[settings]
wildcards = true

[settings.tiers]
"mcp:app" = ["basic", "pro"]

[[settings.deny]]
name = "delete_*"
reason = "deleting is done elsewhere"

[[settings.deny]]
subject = "eve"
"#;

#[tokio::test]
async fn tiers_imply_what_is_below_and_a_refusal_says_why() {
    let stand = Stand::with(&["policy-tiers"], TIERS).await;
    stand.gateway.ready().await;
    let pro = stand.client("ann", "mcp:app:pro");
    let basic = stand.client("bob", "mcp:app:basic");
    let any = stand.client("cyd", "mcp:app:*");
    let eve = stand.client("eve", "mcp:app:pro");
    for _ in 0..2 {
        assert_eq!(names(&pro).await, ["docs_read", "docs_write"]);
        assert_eq!(names(&basic).await, ["docs_read"]);
        assert_eq!(names(&any).await, ["docs_read", "docs_write"]);
        assert_eq!(names(&eve).await, [""; 0]);
    }
    assert_eq!(pro.call("docs_read", json!({})).await.tool_text().0, "read");
    // A missing scope is a challenge.
    let refused = basic.call("docs_write", json!({})).await;
    assert_eq!(refused.status, 403);
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.contains(r#"error="insufficient_scope""#),
        "{challenge}"
    );
    assert!(challenge.contains(r#"scope="mcp:app:pro""#), "{challenge}");
    // What more scopes would not help is told in words.
    let denied = pro.call("docs_delete_all", json!({})).await;
    assert_eq!(denied.status, 200);
    let (_, words) = denied.error();
    assert!(words.contains("deleting is done elsewhere"), "{words}");
    assert!(stand.backend.seen("delete_all").is_empty());
}

#[tokio::test]
async fn all_policies_must_allow() {
    // `policy-scopes` compares exactly, so it vetoes what is only implied.
    let stand = Stand::with(&["policy-scopes", "policy-tiers"], TIERS).await;
    stand.gateway.ready().await;
    let pro = stand.client("ann", "mcp:app:pro");
    assert_eq!(names(&pro).await, ["docs_write"]);
    let refused = pro.call("docs_read", json!({})).await;
    assert_eq!(refused.status, 403);
    let both = stand.client("ann", "mcp:app:pro mcp:app:basic");
    assert_eq!(names(&both).await, ["docs_read", "docs_write"]);
    // One that says no is enough, whatever the other says.
    let denied = both.call("docs_delete_all", json!({})).await;
    assert!(denied.error().1.contains("deleting"), "{}", denied.text());
}

#[tokio::test]
async fn hours_are_looked_at_each_time() {
    let hours =
        |from: &str, to: &str| format!("[[settings.hours]]\nfrom = \"{from}\"\nto = \"{to}\"\n");
    let always = Stand::with(&["policy-tiers"], &hours("00:00", "24:00")).await;
    always.gateway.ready().await;
    let client = always.client("ann", "mcp:app:basic");
    assert_eq!(names(&client).await, ["docs_delete_all", "docs_read"]);
    assert_eq!(
        client.call("docs_read", json!({})).await.tool_text().0,
        "read"
    );

    let never = Stand::with(&["policy-tiers"], &hours("00:00", "00:00")).await;
    never.gateway.ready().await;
    let client = never.client("ann", "mcp:app:basic");
    assert_eq!(names(&client).await, [""; 0]);
    let (_, words) = client.call("docs_read", json!({})).await.error();
    assert!(words.contains("00:00"), "{words}");
}

#[tokio::test]
async fn what_was_allowed_is_not_asked_about_again_for_who_is_the_same_to_the_policies() {
    const CALLS: &str = "cortex_plugin_calls_total{plugin=\"policy-scopes\"}";
    const ALLOWED: &str =
        "cortex_policy_decisions_total{policy=\"policy-scopes\",decision=\"allow\"}";
    let stand = Stand::with(&["policy-scopes"], "").await;
    stand.gateway.ready().await;
    let read = async |sub: &str, scope: &str| {
        let client = stand.client(sub, scope);
        client.call("docs_read", json!({})).await.status
    };
    let (asked, allowed) = (stand.figure(CALLS).await, stand.figure(ALLOWED).await);
    assert_eq!(read("ann", "mcp:app:basic").await, 200);
    assert_eq!(stand.figure(CALLS).await, asked + 1);
    // It reads scopes: another person with the same ones is the same to it.
    assert_eq!(read("bob", "mcp:app:basic").await, 200);
    assert_eq!(read("ann", "mcp:app:basic").await, 200);
    assert_eq!(stand.figure(CALLS).await, asked + 1);
    // Each is a decision all the same.
    assert_eq!(stand.figure(ALLOWED).await, allowed + 3);
    // Other scopes are asked about, and a refusal each time.
    for n in 2..4 {
        assert_eq!(read("ann", "mcp:app:pro").await, 403);
        assert_eq!(stand.figure(CALLS).await, asked + n);
    }
    // So is another tool.
    let client = stand.client("ann", "mcp:app:basic");
    assert_eq!(client.call("docs_write", json!({})).await.status, 403);
    assert_eq!(stand.figure(CALLS).await, asked + 4);
}

#[tokio::test]
async fn what_depends_on_the_time_is_asked_about_each_time() {
    const CALLS: &str = "cortex_plugin_calls_total{plugin=\"policy-tiers\"}";
    let hours = "[[settings.hours]]\nfrom = \"00:00\"\nto = \"24:00\"\n";
    let stand = Stand::with(&["policy-tiers"], hours).await;
    stand.gateway.ready().await;
    let client = stand.client("ann", "mcp:app:basic");
    let asked = stand.figure(CALLS).await;
    for n in 1..4 {
        assert_eq!(client.call("docs_read", json!({})).await.status, 200);
        assert_eq!(stand.figure(CALLS).await, asked + n);
    }
}

#[tokio::test]
async fn without_settings_it_compares_exactly() {
    let stand = Stand::with(&["policy-tiers"], "").await;
    stand.gateway.ready().await;
    let pro = stand.client("ann", "mcp:app:pro");
    assert_eq!(names(&pro).await, ["docs_write"]);
}

#[tokio::test]
async fn settings_that_do_not_fit_are_refused_with_their_key() {
    for (settings, told) in [
        ("[settings]\nwildcards = \"yes\"\n", "`settings.wildcards`"),
        (
            "[[settings.hours]]\nfrom = \"8\"\nto = \"18:00\"\n",
            "`settings.hours.0.from`",
        ),
        ("[settings]\nwildcard = true\n", "wildcard"),
        ("wildcards = true\n", "belong below `[settings]`"),
        ("[settings", "not TOML"),
    ] {
        let mut stand = Stand::with(&["policy-tiers"], settings).await;
        let line = stand.gateway.logged("plugin refused").await;
        assert!(line.contains(told), "{line}");
        assert!(line.contains("policy-tiers"), "{line}");
        // Without its policy the gateway allows nothing, and says so.
        stand
            .gateway
            .logged("no scope policy is loaded: nothing is allowed")
            .await;
        let ready = stand.gateway.client.get("/readyz").await;
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains("no scope policy"), "{}", ready.text());
        let client = stand.client("ann", "mcp:app:basic");
        assert_eq!(names(&client).await, [""; 0]);
        let (_, words) = client.call("docs_read", json!({})).await.error();
        assert!(words.contains("no scope policy is loaded"), "{words}");
    }
    // A plugin that understands none is not given any.
    let mut gateway = GatewayBuilder::new()
        .plugin_file("policy-scopes.toml", b"[settings]\nx = 1\n")
        .start()
        .await;
    let line = gateway.logged("plugin refused").await;
    assert!(line.contains("understands none"), "{line}");
    let _: Value = gateway.client.get("/readyz").await.json();
}
