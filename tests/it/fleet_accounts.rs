//! Linked accounts at several gateways with one vault: a flow may end at another gateway than it began at, and
//! each refresh token is presented once in the whole fleet.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cortex_tests::between::Between;
use cortex_tests::fleet::STATE_KEY;
use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, Key};
use cortex_tests::provider::Instead;
use cortex_tests::{Browser, Client, Gateway, Provider, Reply};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::fleet_catalog::{Database, until};
use crate::linking::{VAULT_KEY, asked_to_open, modern};

/// What stands in front of the gateways, and hands every connection to one of them.
struct Front {
    address: SocketAddr,
    to: Arc<Mutex<Option<SocketAddr>>>,
    /// Told when connections have to begin anew.
    anew: Arc<tokio::sync::Notify>,
}

impl Front {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let front = Self {
            address: listener.local_addr().expect("an address"),
            to: Arc::default(),
            anew: Arc::default(),
        };
        let (to, anew) = (Arc::clone(&front.to), Arc::clone(&front.anew));
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    () = anew.notified() => connections.abort_all(),
                    accepted = listener.accept() => {
                        let (mut near, _) = accepted.expect("a connection");
                        let to = to.lock().expect("a lock").expect("a gateway");
                        connections.spawn(async move {
                            let far = TcpStream::connect(to).await;
                            if let Ok(mut far) = far {
                                // Whoever goes away ends it.
                                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                            }
                        });
                    }
                }
            }
        });
        front
    }

    /// From here on everything goes to this gateway.
    async fn leads_to(&self, gateway: &Gateway) {
        *self.to.lock().expect("a lock") = Some(gateway.address);
        self.anew.notify_one();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Three gateways, what they share, and a provider that is strict about refresh tokens.
struct Fleet {
    gateways: Vec<Gateway>,
    issuer: Provider,
    notes: Provider,
    front: Front,
    between: Between,
    _database: Database,
}

impl Fleet {
    async fn start(between: Between) -> Option<Self> {
        Self::with_keys(between, [STATE_KEY; 3]).await
    }

    /// With Redis between them.
    async fn redis() -> Option<Self> {
        Self::start(Between::redis()?).await
    }

    /// Each with its ring of keys.
    async fn with_keys(between: Between, rings: [&str; 3]) -> Option<Self> {
        let database = Database::of(&between)?;
        let front = Front::start().await;
        let mcp = format!("http://{}/mcp", front.address);
        let issuer = Provider::issuer(Key::generate(Alg::Es256, "k1"), &mcp).await;
        let notes = Provider::start().await;
        notes.manners(|manners| manners.strict = true);
        let mut gateways = Vec::new();
        for ring in rings {
            let builder = database
                .member(&between)
                .env("CORTEX_STATE_KEY", ring)
                .mcp_server("notes", &notes.mcp())
                .env("CORTEX_CANONICAL_URI", &mcp)
                .env("CORTEX_DEV_BYPASS_TOKEN", "")
                .env("CORTEX_TECHNICAL_TOKEN", "")
                .env("OAUTH_ISSUER", &issuer.url())
                .env("CORTEX_VAULT_KEY", VAULT_KEY)
                .env("CORTEX_MCP_NOTES_CATALOG_SUB", "robot");
            gateways.push(builder.start().await);
        }
        for gateway in &gateways {
            gateway.ready().await;
        }
        let fleet = Self {
            gateways,
            issuer,
            notes,
            front,
            between,
            _database: database,
        };
        fleet.front.leads_to(&fleet.gateways[0]).await;
        Some(fleet)
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.front.address)
    }

    fn client(&self, gateway: usize, user: &str) -> Client {
        let token = self.issuer.token(user, "mcp:test:use");
        self.gateways[gateway].client.with_token(&token)
    }

    fn browser(&self, user: &str) -> Browser {
        Browser::new()
            .knows(&self.issuer.url(), user)
            .knows(&self.notes.url(), &format!("{user}-at-notes"))
    }

    /// Where the flow begins that links an account.
    async fn start_of(&self, browser: &mut Browser) -> String {
        let page = browser.get(&self.at("/connections/sign-in")).await;
        self.at(&page.attribute("href", "/api/link/notes/start"))
    }

    async fn link(&self, user: &str) {
        let mut browser = self.browser(user);
        let start = self.start_of(&mut browser).await;
        let linked = browser.get(&start).await;
        assert!(linked.text().contains("is linked"), "{}", linked.text());
    }

    /// Waits until all of them list the tools.
    async fn listed(&self) {
        for n in 0..self.gateways.len() {
            let client = self.client(n, "robot");
            until("the tools are listed", || async {
                let listed = client.modern("tools/list", json!({})).await;
                listed.tool_names().contains(&"notes_whose".to_owned())
            })
            .await;
        }
    }

    /// Refresh tokens that were presented, in order.
    fn presented(&self) -> Vec<String> {
        let asked = self.notes.seen("/token").into_iter();
        let of = asked.filter(|asked| asked.params["grant_type"] == "refresh_token");
        of.map(|asked| asked.params["refresh_token"].clone())
            .collect()
    }

    /// How many were presented, and none of them twice.
    fn presented_once(&self) -> usize {
        let presented = self.presented();
        for (number, token) in presented.iter().enumerate() {
            assert!(!presented[..number].contains(token), "one came twice");
        }
        presented.len()
    }

    /// Calls at one of them, which has to renew the token first, until the provider has been asked.
    async fn begins_to_renew(&self, gateway: usize) -> JoinHandle<Reply> {
        let client = self.client(gateway, "ada");
        let calling = tokio::spawn(async move { modern(&client, "notes_whose", json!({})).await });
        eventually(
            || self.presented().len() == 1,
            || format!("{:?}", self.presented()),
        )
        .await;
        calling
    }

    /// Links an account of hers, and ends a gateway that renews its token when the provider has done that and has
    /// not answered yet: nobody has the new tokens. What is left are clients of hers at the others.
    async fn loses_renewed_tokens(&mut self) -> [Client; 2] {
        self.linked("ada", 1).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        self.notes.manners(|manners| {
            manners.life = 600;
            manners.slow = Duration::from_secs(600);
        });
        let before = self.notes.tokens().len();
        let calling = self.begins_to_renew(0).await;
        let given_out = || self.notes.tokens().len() - before;
        eventually(|| given_out() == 2, || given_out().to_string()).await;
        drop(self.gateways.remove(0).kill().await);
        calling.abort();
        self.notes.manners(|manners| manners.slow = Duration::ZERO);
        self.front.leads_to(&self.gateways[0]).await;
        [self.client(0, "ada"), self.client(1, "ada")]
    }

    /// Links an account whose tokens live so many seconds, where all of them list the tools.
    async fn linked(&self, user: &str, life: u64) {
        if self.notes.grants("robot-at-notes") == 0 {
            self.link("robot").await;
            self.listed().await;
        }
        self.notes.manners(|manners| manners.life = life);
        self.link(user).await;
    }

    /// Somebody calls at each of the gateways at the same time, so often at each, and is answered.
    async fn calls_at_all(&self, user: &str, times: usize) {
        let clients: Vec<Client> = { 0..self.gateways.len() }
            .map(|n| self.client(n, user))
            .collect();
        let calls = clients
            .iter()
            .flat_map(|client| (0..times).map(move |_| modern(client, "notes_whose", json!({}))));
        for called in futures_util::future::join_all(calls).await {
            let told = called.tool_text();
            assert_eq!(
                told,
                (format!("{user}-at-notes"), false),
                "{}",
                called.text()
            );
        }
    }

    /// Like it, so many rounds, each of which wants another token of a provider that takes its time. Returns how
    /// many were presented, none of them twice.
    async fn renews_again_and_again(&self, user: &str, rounds: usize, times: usize) -> usize {
        self.notes
            .manners(|manners| manners.slow = Duration::from_millis(100));
        for _ in 0..rounds {
            self.calls_at_all(user, times).await;
        }
        let presented = self.presented_once();
        assert!(presented >= rounds, "{presented}");
        presented
    }
}

cortex_tests::through_each!(
    a_flow_that_began_at_one_gateway_ends_at_another_once,
    a_flow_ends_at_a_gateway_whose_keys_were_rotated_meanwhile,
    each_refresh_token_is_presented_once_in_the_whole_fleet,
    when_the_one_that_renews_is_killed_another_one_renews_in_its_place,
    new_tokens_that_died_with_a_gateway_are_asked_for_again_where_the_old_one_is_still_taken,
    new_tokens_that_died_with_a_gateway_end_the_account_where_the_provider_is_strict,
);

async fn a_flow_that_began_at_one_gateway_ends_at_another_once(between: Between) {
    let Some(fleet) = Fleet::start(between).await else {
        return;
    };
    let mut browser = fleet.browser("ada");
    let start = fleet.start_of(&mut browser).await;
    // Up to where the provider sends the browser back.
    let at_callback = |url: &url::Url| url.path() == "/api/link/notes/callback";
    let back = browser.go(&start, at_callback).await;
    let again = browser.clone();
    fleet.front.leads_to(&fleet.gateways[1]).await;
    let linked = browser.get(back.url.as_str()).await;
    assert!(linked.text().contains("is linked"), "{}", linked.text());
    // The same once more, with the cookies of then, at a third one.
    fleet.front.leads_to(&fleet.gateways[2]).await;
    let mut again = again;
    let twice = again.get(back.url.as_str()).await;
    assert!(
        twice.text().contains("was done already"),
        "{}",
        twice.text()
    );
    assert_eq!(fleet.notes.seen("/token").len(), 1);
    assert_eq!(fleet.notes.grants("ada-at-notes"), 1);
}

async fn a_flow_ends_at_a_gateway_whose_keys_were_rotated_meanwhile(between: Between) {
    let newer = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    let both = format!("{newer},{STATE_KEY}");
    let Some(fleet) = Fleet::with_keys(between, [STATE_KEY, &both, &both]).await else {
        return;
    };
    let at_callback = |url: &url::Url| url.path() == "/api/link/notes/callback";
    // From the one that was not rotated yet to one that was, and the other way round.
    for (user, from, to) in [("ada", 0, 1), ("eve", 1, 0), ("dan", 2, 1)] {
        fleet.front.leads_to(&fleet.gateways[from]).await;
        let mut browser = fleet.browser(user);
        let start = fleet.start_of(&mut browser).await;
        let back = browser.go(&start, at_callback).await;
        fleet.front.leads_to(&fleet.gateways[to]).await;
        let linked = browser.get(back.url.as_str()).await;
        let text = linked.text();
        assert!(text.contains("is linked"), "{user}: {text}");
        assert_eq!(fleet.notes.grants(&format!("{user}-at-notes")), 1);
    }
}

async fn each_refresh_token_is_presented_once_in_the_whole_fleet(between: Between) {
    let Some(fleet) = Fleet::start(between).await else {
        return;
    };
    // Every token ends within the minute in which it is renewed: each call wants another one.
    fleet.linked("ada", 30).await;
    fleet.renews_again_and_again("ada", 4, 8).await;
    assert_eq!(fleet.notes.grants("ada-at-notes"), 1);
}

async fn when_the_one_that_renews_is_killed_another_one_renews_in_its_place(between: Between) {
    let Some(mut fleet) = Fleet::start(between).await else {
        return;
    };
    fleet.linked("ada", 1).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    // The provider has the request, and has not done anything yet.
    fleet.notes.instead("/token", Instead::Hang);
    let calling = fleet.begins_to_renew(0).await;
    // Nobody else presents the token meanwhile, however many want another one.
    let (text, failed) = modern(&fleet.client(1, "ada"), "notes_whose", json!({}))
        .await
        .tool_text();
    assert!(failed && text.contains("try again later"), "{text}");
    assert_eq!(fleet.presented().len(), 1);
    drop(fleet.gateways.remove(0).kill().await);
    calling.abort();
    fleet.notes.as_usual("/token");
    fleet.notes.manners(|manners| manners.life = 600);
    let clients = [fleet.client(0, "ada"), fleet.client(1, "ada")];
    for client in &clients {
        until("it is called again", || async {
            let called = modern(client, "notes_whose", json!({})).await;
            called.tool_text() == ("ada-at-notes".to_owned(), false)
        })
        .await;
    }
    // Once by the dead one, once by who came after it.
    assert_eq!(fleet.presented().len(), 2);
    assert_eq!(fleet.notes.grants("ada-at-notes"), 1);
}

async fn new_tokens_that_died_with_a_gateway_are_asked_for_again_where_the_old_one_is_still_taken(
    between: Between,
) {
    let Some(mut fleet) = Fleet::start(between).await else {
        return;
    };
    fleet.notes.manners(|manners| manners.strict = false);
    for client in &fleet.loses_renewed_tokens().await {
        until("it is called again", || async {
            let called = modern(client, "notes_whose", json!({})).await;
            called.tool_text() == ("ada-at-notes".to_owned(), false)
        })
        .await;
    }
    // The same one, once more: nothing newer was ever used.
    let presented = fleet.presented();
    assert_eq!(presented.len(), 2);
    assert_eq!(presented[0], presented[1]);
    // From there it goes on with what came of it.
    fleet.notes.expire_access("ada-at-notes");
    fleet.calls_at_all("ada", 1).await;
    let presented = fleet.presented();
    assert_eq!(presented.len(), 3);
    assert_ne!(presented[1], presented[2]);
    assert_eq!(fleet.notes.grants("ada-at-notes"), 1);
}

async fn new_tokens_that_died_with_a_gateway_end_the_account_where_the_provider_is_strict(
    between: Between,
) {
    let Some(mut fleet) = Fleet::start(between).await else {
        return;
    };
    let clients = fleet.loses_renewed_tokens().await;
    for client in &clients {
        until("she is asked to link it", || async {
            let called = modern(client, "notes_whose", json!({})).await;
            called.result()["resultType"] == "input_required"
        })
        .await;
    }
    assert_eq!(fleet.notes.grants("ada-at-notes"), 0);
    // However often she calls, nobody tries the dead one's token again.
    for client in clients.iter().cycle().take(6) {
        drop(asked_to_open(
            &modern(client, "notes_whose", json!({})).await,
        ));
    }
    assert_eq!(fleet.presented().len(), 2);
    fleet.link("ada").await;
    fleet.calls_at_all("ada", 1).await;
    assert_eq!(fleet.presented().len(), 2);
    assert_eq!(fleet.notes.grants("ada-at-notes"), 1);
}

#[tokio::test]
async fn redis_that_is_emptied_in_the_middle_of_a_renewal_lets_nobody_else_begin_one() {
    let Some(fleet) = Fleet::redis().await else {
        return;
    };
    fleet.linked("ada", 1).await;
    // Ended: whoever calls needs another one, and the provider takes its time.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    fleet.notes.manners(|manners| {
        manners.life = 600;
        manners.slow = Duration::from_secs(4);
    });
    let first = fleet.begins_to_renew(0).await;
    fleet.between.empty();
    fleet.calls_at_all("ada", 3).await;
    let told = first.await.expect("an answer").tool_text();
    assert_eq!(told, ("ada-at-notes".to_owned(), false));
    assert_eq!(fleet.presented_once(), 1);
    assert_eq!(fleet.notes.grants("ada-at-notes"), 1);
}

#[tokio::test]
async fn tokens_are_renewed_once_while_redis_is_away() {
    let Some(mut fleet) = Fleet::redis().await else {
        return;
    };
    // Every token ends within the minute in which it is renewed: each call wants another one.
    fleet.linked("ada", 30).await;
    fleet.linked("eve", 1).await;
    fleet.notes.manners(|manners| manners.life = 30);
    fleet.between.stop();
    let before = fleet.renews_again_and_again("ada", 3, 4).await;
    // One that has ended, too: nobody could go on with what is at hand.
    fleet.notes.manners(|manners| manners.life = 600);
    fleet.calls_at_all("eve", 4).await;
    assert_eq!(fleet.presented_once(), before + 1);
    for account in ["ada-at-notes", "eve-at-notes"] {
        assert_eq!(fleet.notes.grants(account), 1);
    }
}
