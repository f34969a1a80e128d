//! One list of what every engine does, for the one in memory and for those that are shared.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cortex_gateway::fleet::{Away, Fleet, Heard, Hearing, Lease, MAX_NEWS, MAX_VALUE};
use cortex_gateway::fleet::{Shelf, Spent, Topic};
use cortex_tests::redis::PASSWORD;

use super::servers::Server;

const SHELF: Shelf = Shelf::Instances;
const TOPIC: Topic = Topic::Leases;
const LONG: Duration = Duration::from_secs(600);
/// Longest anything is waited for. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two instances that share.
async fn two(server: &Server) -> [Fleet; 2] {
    let [a, b] = [server.join().await, server.join().await];
    until("both know of each other", async || {
        a.is_alive(b.instance()) && b.is_alive(a.instance())
    })
    .await;
    [a, b]
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Everything that holds for any engine. Both are the same instance where there is only one.
async fn conforms([a, b]: &[Fleet; 2]) {
    values(a, b).await;
    claims(a, b).await;
    leases(a, b).await;
    allowances(a, b).await;
}

async fn values(a: &Fleet, b: &Fleet) {
    let key: &[u8] = b"\0key: of any bytes\xff";
    assert_eq!(b.get(SHELF, key).await, Ok(None));
    for value in [&b"1"[..], b"", b"\0\xff\r\n"] {
        a.put(SHELF, key, value.to_vec(), LONG).await.expect("put");
        assert_eq!(b.get(SHELF, key).await, Ok(Some(value.to_vec())));
    }
    let all: BTreeSet<_> = b.all(SHELF, 100).await.expect("all").into_iter().collect();
    assert!(all.contains(&(key.to_vec(), b"\0\xff\r\n".to_vec())));
    assert_eq!(b.all(SHELF, 0).await, Ok(Vec::new()));
    assert_eq!(b.all(SHELF, 1).await.expect("all").len(), 1);

    // Of many who take, one gets it.
    let taking = (0..40).map(|n| {
        let fleet = [a, b][n % 2].clone();
        tokio::spawn(async move { fleet.take(SHELF, key).await.expect("taken") })
    });
    let mut got = 0;
    for taken in taking.collect::<Vec<_>>() {
        got += usize::from(taken.await.expect("no panic").is_some());
    }
    assert_eq!(got, 1);
    let all = a.all(SHELF, 100).await.expect("all");
    assert!(all.iter().all(|(found, _)| found != key));

    a.put(SHELF, key, b"x".to_vec(), LONG).await.expect("put");
    b.remove(SHELF, key).await.expect("removed");
    assert_eq!(a.get(SHELF, key).await, Ok(None));
    a.remove(SHELF, key).await.expect("nothing is there");

    // Values end, also on the list of all.
    let brief = Duration::from_millis(300);
    a.put(SHELF, b"brief", b"x".to_vec(), brief)
        .await
        .expect("put");
    until("a value ends", async || {
        b.get(SHELF, b"brief").await == Ok(None)
    })
    .await;
    let all = b.all(SHELF, 100).await.expect("all");
    assert!(all.iter().all(|(found, _)| found != b"brief"));

    let large = vec![7; 3 * 1024 * 1024];
    a.put(SHELF, b"large", large.clone(), LONG)
        .await
        .expect("put");
    assert!(b.get(SHELF, b"large").await == Ok(Some(large)));
    b.remove(SHELF, b"large").await.expect("removed");
    let larger = vec![7; MAX_VALUE + 1];
    assert_eq!(a.put(SHELF, b"larger", larger, LONG).await, Err(Away));
}

async fn claims(a: &Fleet, b: &Fleet) {
    let claiming = (0..40).map(|n| {
        let fleet = [a, b][n % 2].clone();
        tokio::spawn(async move {
            fleet
                .claim(SHELF, b"claimed", LONG)
                .await
                .expect("an answer")
        })
    });
    let mut first = 0;
    for claimed in claiming.collect::<Vec<_>>() {
        first += usize::from(claimed.await.expect("no panic"));
    }
    assert_eq!(first, 1);
    assert_eq!(b.get(SHELF, b"claimed").await, Ok(None));
    let brief = Duration::from_millis(300);
    assert_eq!(a.claim(SHELF, b"brief", brief).await, Ok(true));
    until("a claim ends", async || {
        b.claim(SHELF, b"brief", brief).await == Ok(true)
    })
    .await;
}

async fn leases(a: &Fleet, b: &Fleet) {
    let lives = Duration::from_secs(2);
    let held = a.lease(b"one", lives).await.expect("free");
    assert!(held.is_held());
    assert!(
        b.try_lease(b"one", lives)
            .await
            .expect("an answer")
            .is_none()
    );
    assert!(
        a.try_lease(b"one", lives)
            .await
            .expect("an answer")
            .is_none()
    );
    let other = b.try_lease(b"other", lives).await.expect("an answer");
    assert!(other.is_some_and(|other| other.is_held()));

    // It is held for longer than it lives, and one at a time gets it after.
    tokio::time::sleep(2 * lives).await;
    assert!(held.is_held());
    assert!(
        b.try_lease(b"one", lives)
            .await
            .expect("an answer")
            .is_none()
    );
    let holders = Arc::new(AtomicUsize::new(0));
    let waiting = (0..20).map(|n| {
        let (fleet, holders) = ([a, b][n % 2].clone(), Arc::clone(&holders));
        tokio::spawn(async move {
            let lease = fleet
                .lease(b"one", Duration::from_secs(5))
                .await
                .expect("in turn");
            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert!(lease.is_held());
            assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
        })
    });
    let waiting: Vec<_> = waiting.collect();
    // Who does not wait any more has no lease.
    let impatient = tokio::time::timeout(Duration::from_millis(100), b.lease(b"one", lives));
    assert!(impatient.await.is_err());
    drop(held);
    for one in waiting {
        within("each gets the lease", one).await.expect("no panic");
    }
    let again = within("it is free", b.lease(b"one", lives)).await;
    assert!(again.is_ok_and(|lease: Lease| lease.is_held()));
}

async fn allowances(a: &Fleet, b: &Fleet) {
    let per_minute = NonZeroU32::new(30).expect("not zero");
    let spending = (0..60).map(|n| {
        let fleet = [a, b][n % 2].clone();
        tokio::spawn(async move { fleet.spend(b"caller", per_minute).await.expect("an answer") })
    });
    let (mut allowed, mut longest) = (0, Duration::ZERO);
    for spent in spending.collect::<Vec<_>>() {
        match spent.await.expect("no panic") {
            Spent::Allowed => allowed += 1,
            Spent::Wait(wait) => longest = longest.max(wait),
        }
    }
    // The allowance grows again, one in two seconds.
    assert!((30..45).contains(&allowed), "{allowed}");
    assert!(
        longest > Duration::ZERO && longest <= Duration::from_secs(2),
        "{longest:?}"
    );
    assert_eq!(
        b.spend(b"other caller", per_minute).await,
        Ok(Spent::Allowed)
    );
}

async fn said(hearing: &mut Hearing) -> Vec<u8> {
    match within("news", hearing.next()).await {
        Heard::Said(text) => text,
        Heard::Gap => panic!("a gap"),
    }
}

async fn gap(hearing: &mut Hearing) {
    while within("a gap", hearing.next()).await != Heard::Gap {}
}

#[tokio::test]
async fn the_engine_in_memory_conforms() {
    let fleet = Fleet::alone();
    conforms(&[fleet.clone(), fleet]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_conforms() {
    let Some(server) = Server::redis() else {
        return;
    };
    let both = two(&server).await;
    conforms(&both).await;
    let Server::Redis(redis) = &server else {
        return;
    };
    let keys = redis.command(&["KEYS", "*"]);
    assert!(keys.contains("cortex:test:"));
    // Keys of any bytes are printed on lines of their own.
    for key in keys.lines().filter(|key| key.starts_with("cortex:")) {
        assert!(key.starts_with("cortex:test:"), "{key}");
        // Everything ends by itself, but for the name of the epoch.
        let ends = redis.command(&["TTL", key]) != "-1";
        assert!(ends || key == "cortex:test:epoch", "{key}");
    }
    assert!(!format!("{:?}", server.config()).contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let Some(server) = Server::postgres().await else {
        return;
    };
    conforms(&two(&server).await).await;
    assert!(!format!("{:?}", server.config()).contains(cortex_tests::postgres::PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn others_hear_in_order_what_one_tells() {
    for server in Server::each().await {
        let [a, b] = two(&server).await;
        let (mut own, mut heard) = (a.hear(TOPIC), b.hear(TOPIC));
        let mut others = b.hear(Topic::Instances);
        for n in 0..100_u32 {
            a.tell(TOPIC, n.to_be_bytes().to_vec());
        }
        let largest = vec![7; MAX_NEWS];
        a.tell(TOPIC, largest.clone());
        for n in 0..100_u32 {
            assert_eq!(said(&mut heard).await, n.to_be_bytes());
        }
        assert!(said(&mut heard).await == largest);
        // What is too large is missed, and they know.
        a.tell(TOPIC, vec![7; MAX_NEWS + 1]);
        gap(&mut heard).await;
        b.tell(TOPIC, b"back".to_vec());
        assert_eq!(said(&mut own).await, b"back");
        assert_eq!((a.instances(), b.instances()), (2, 2));
        // Who leaves is gone at once, and the others hear of it.
        a.leave().await;
        said(&mut others).await;
        until("it is gone", async || b.instances() == 1).await;
        assert!(!b.is_alive(a.instance()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_away_at_once_and_heals_by_itself() {
    for mut server in Server::each().await {
        let [a, b] = two(&server).await;
        let mut hearing = b.hear(TOPIC);
        let put = a.put(SHELF, b"k", b"lost".to_vec(), LONG).await;
        put.expect("put");
        server.stop();
        until("away", async || a.get(SHELF, b"k").await == Err(Away)).await;
        until("both know", async || !a.is_connected() && !b.is_connected()).await;
        for _ in 0..1_000 {
            assert_eq!(a.get(SHELF, b"k").await, Err(Away));
        }
        assert!(a.is_alive(b.instance()), "as far as is known");
        a.tell(TOPIC, b"nobody hears this".to_vec());
        server.run();
        gap(&mut hearing).await;
        until("both are back", async || {
            a.is_connected() && b.is_connected()
        })
        .await;
        assert_eq!(a.get(SHELF, b"k").await, Ok(None));
        until("they know of each other", async || {
            a.is_alive(b.instance()) && b.is_alive(a.instance())
        })
        .await;
        // What was told while it was away is a gap for the others, too.
        gap(&mut hearing).await;
        conforms(&[a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_away() {
    let Some(server) = Server::redis() else {
        return;
    };
    let [a, b] = two(&server).await;
    let Server::Redis(redis) = &server else {
        return;
    };
    let mut hearing = b.hear(TOPIC);
    redis.freeze();
    let one = NonZeroU32::MIN;
    until("away", async || {
        a.spend(b"caller", one).await == Err(Away) && !a.is_connected()
    })
    .await;
    redis.thaw();
    until("back", async || a.is_connected() && b.is_connected()).await;
    b.tell(TOPIC, b"x".to_vec());
    a.tell(TOPIC, b"x".to_vec());
    within("news again", hearing.next()).await;
    until("it counts", async || {
        a.spend(b"another", one).await == Ok(Spent::Allowed)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_emptied_is_noticed() {
    for server in Server::each().await {
        let [a, b] = two(&server).await;
        let (mut at_a, mut at_b) = (a.hear(TOPIC), b.hear(TOPIC));
        let lease = a.lease(b"kept", Duration::from_secs(2)).await;
        let lease = lease.expect("free");
        server.empty();
        gap(&mut at_a).await;
        gap(&mut at_b).await;
        assert!(a.is_alive(b.instance()) && b.is_alive(a.instance()));
        // Who had a lease takes it back.
        if let Server::Redis(redis) = &server {
            until("the lease is back", async || {
                redis.command(&["EXISTS", "cortex:test:l:kept"]) == "1"
            })
            .await;
        }
        assert!(lease.is_held());
        conforms(&[a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_while_it_is_away_and_joins_later() {
    for mut server in Server::each().await {
        server.stop();
        let fleet = server.join().await;
        assert!(!fleet.is_alone() && !fleet.is_connected());
        assert_eq!(fleet.claim(SHELF, b"k", LONG).await, Err(Away));
        server.run();
        until("connected", async || fleet.is_connected()).await;
        until("claimed", async || {
            fleet.claim(SHELF, b"k", LONG).await == Ok(true)
        })
        .await;
    }
}

#[test]
fn a_lease_outlives_its_holder_by_what_it_lives() {
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    let living = runtime();
    for server in living.block_on(Server::each()) {
        let lives = Duration::from_secs(2);
        let dying = runtime();
        let held = dying.block_on(async {
            let fleet = server.join().await;
            let lease = fleet.lease(b"one", lives).await.expect("free");
            (fleet, lease)
        });
        living.block_on(async {
            let fleet = server.join().await;
            let taken = fleet.try_lease(b"one", lives).await.expect("an answer");
            assert!(taken.is_none());
            // Nothing of it runs any more: as if it had been killed.
            dying.shutdown_background();
            let next = within("the next one gets it", fleet.lease(b"one", lives)).await;
            assert!(next.expect("an answer").is_held());
            until("the dead one is gone", async || fleet.instances() == 1).await;
        });
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_lost_when_it_cannot_be_renewed() {
    for mut server in Server::each().await {
        let fleet = server.join().await;
        let lease = fleet.lease(b"one", Duration::from_secs(2)).await;
        let lease = lease.expect("free");
        assert!(lease.is_held());
        server.stop();
        until("it ends", async || !lease.is_held()).await;
        let waiting = within("an answer", fleet.lease(b"other", LONG)).await;
        assert!(waiting.is_err());
    }
}
