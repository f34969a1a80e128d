//! One list of what every engine does, for the one in memory and for those that are shared.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cortex_gateway::fleet::{Away, Fleet, Heard, Hearing, MAX_NEWS, MAX_VALUE};
use cortex_gateway::fleet::{Shelf, Spent, Topic};
use cortex_tests::between::Between;
use cortex_tests::redis::PASSWORD;

use super::servers::Server;

const SHELF: Shelf = Shelf::Instances;
const TOPIC: Topic = Topic::Leases;
const LONG: Duration = Duration::from_secs(600);
/// Longest anything is waited for. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two instances that share.
pub(super) async fn two(server: &Server) -> [Fleet; 2] {
    let [a, b] = [server.join().await, server.join().await];
    until("both know of each other", async || {
        a.is_alive(b.instance()) && b.is_alive(a.instance())
    })
    .await;
    [a, b]
}

pub(super) async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Asks again when the answer was late, as may happen on a busy machine.
pub(super) async fn sure<T>(ask: impl AsyncFn() -> Result<T, Away>) -> T {
    let began = Instant::now();
    loop {
        if let Ok(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "no answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that holds for any engine. Both are the same instance where there is only one.
async fn conforms([a, b]: &[Fleet; 2]) {
    values(a, b).await;
    claims(a, b).await;
    leases(a, b).await;
    allowances(a, b).await;
}

async fn values(a: &Fleet, b: &Fleet) {
    let put = async |fleet: &Fleet, key: &[u8], value: &[u8], lives| {
        sure(async || fleet.put(SHELF, key, value.to_vec(), lives).await).await;
    };
    let get = async |fleet: &Fleet, key: &[u8]| sure(async || fleet.get(SHELF, key).await).await;
    let all = async |fleet: &Fleet, limit| -> BTreeSet<_> {
        let all = sure(async || fleet.all(SHELF, limit).await).await;
        all.into_iter().collect()
    };
    let key: &[u8] = b"\0key: of any bytes\xff";
    assert_eq!(get(b, key).await, None);
    for value in [&b"1"[..], b"", b"\0\xff\r\n"] {
        put(a, key, value, LONG).await;
        assert_eq!(get(b, key).await, Some(value.to_vec()));
    }
    let kept = (key.to_vec(), b"\0\xff\r\n".to_vec());
    assert!(all(b, 100).await.contains(&kept));
    assert_eq!(all(b, 0).await.len(), 0);
    assert_eq!(all(b, 1).await.len(), 1);

    // Of many who take, one gets it. Whose answer is late may have got it, too.
    let taking = (0..40).map(|n| {
        let fleet = [a, b][n % 2].clone();
        tokio::spawn(async move { fleet.take(SHELF, key).await })
    });
    let (mut got, mut late) = (0, 0);
    for taken in taking.collect::<Vec<_>>() {
        match taken.await.expect("no panic") {
            Ok(taken) => got += usize::from(taken.is_some()),
            Err(Away) => late += 1,
        }
    }
    assert!(got <= 1 && got + late >= 1, "{got}, {late} late");
    assert!(!all(a, 100).await.iter().any(|(found, _)| found == key));

    put(a, key, b"x", LONG).await;
    for _ in 0..2 {
        sure(async || b.remove(SHELF, key).await).await;
        assert_eq!(get(a, key).await, None);
    }

    // Values end, also on the list of all.
    put(a, b"brief", b"x", Duration::from_millis(300)).await;
    until("a value ends", async || get(b, b"brief").await.is_none()).await;
    assert!(!all(b, 100).await.iter().any(|(found, _)| found == b"brief"));

    let large = vec![7; 3 * 1024 * 1024];
    put(a, b"large", &large, LONG).await;
    assert!(get(b, b"large").await == Some(large));
    sure(async || b.remove(SHELF, b"large").await).await;
    let larger = vec![7; MAX_VALUE + 1];
    assert_eq!(a.put(SHELF, b"larger", larger, LONG).await, Err(Away));
}

async fn claims(a: &Fleet, b: &Fleet) {
    let claiming = (0..40).map(|n| {
        let fleet = [a, b][n % 2].clone();
        tokio::spawn(async move { fleet.claim(SHELF, b"claimed", LONG).await })
    });
    let (mut first, mut late) = (0, 0);
    for claimed in claiming.collect::<Vec<_>>() {
        match claimed.await.expect("no panic") {
            Ok(claimed) => first += usize::from(claimed),
            Err(Away) => late += 1,
        }
    }
    assert!(first <= 1 && first + late >= 1, "{first}, {late} late");
    let found = sure(async || b.get(SHELF, b"claimed").await).await;
    assert_eq!(found, None);
    let brief = Duration::from_millis(300);
    for fleet in [a, b] {
        until("a claim ends", async || {
            fleet.claim(SHELF, b"brief", brief).await == Ok(true)
        })
        .await;
    }
}

async fn leases(a: &Fleet, b: &Fleet) {
    let lives = Duration::from_secs(5);
    let try_one = async |fleet: &Fleet, name: &[u8]| {
        let lease = sure(async || fleet.try_lease(name, lives).await).await;
        lease.is_some_and(|lease| lease.is_held())
    };
    let held = sure(async || a.lease(b"one", lives).await).await;
    assert!(held.is_held());
    assert!(!try_one(b, b"one").await && !try_one(a, b"one").await);
    assert!(try_one(b, b"other").await);

    // It is held for longer than it lives, and one at a time gets it after.
    tokio::time::sleep(lives + lives / 5).await;
    assert!(held.is_held());
    assert!(!try_one(b, b"one").await);
    let holders = Arc::new(AtomicUsize::new(0));
    let waiting = (0..20).map(|n| {
        let (fleet, holders) = ([a, b][n % 2].clone(), Arc::clone(&holders));
        tokio::spawn(async move {
            let lease = loop {
                match fleet.lease(b"one", lives).await {
                    Ok(lease) => break lease,
                    Err(Away) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert!(lease.is_held());
            assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
        })
    });
    let waiting: Vec<_> = waiting.collect();
    // Who does not wait any more has no lease.
    let impatient = tokio::time::timeout(Duration::from_millis(100), b.lease(b"one", lives));
    assert!(!impatient.await.is_ok_and(|lease| lease.is_ok()));
    drop(held);
    for one in waiting {
        within("each gets the lease", one).await.expect("no panic");
    }
    let again = sure(async || b.lease(b"one", lives).await);
    assert!(within("it is free", again).await.is_held());
}

async fn allowances(a: &Fleet, b: &Fleet) {
    let per_minute = NonZeroU32::new(30).expect("not zero");
    let began = Instant::now();
    let spending = (0..60).map(|n| {
        let fleet = [a, b][n % 2].clone();
        tokio::spawn(async move { fleet.spend(b"caller", per_minute).await })
    });
    let (mut allowed, mut late, mut longest) = (0, 0, Duration::ZERO);
    for spent in spending.collect::<Vec<_>>() {
        match spent.await.expect("no panic") {
            Ok(Spent::Allowed) => allowed += 1,
            Ok(Spent::Wait(wait)) => longest = longest.max(wait),
            // Counted, or not.
            Err(Away) => late += 1,
        }
    }
    // The allowance grows again, one in two seconds.
    let grown = 1 + began.elapsed().as_secs() / 2;
    assert!(
        allowed <= 30 + grown && allowed + late >= 30,
        "{allowed}, {late} late"
    );
    // One in two seconds; and who reads the clock before another who is counted first waits for that moment, too.
    assert!(longest <= Duration::from_secs(3), "{longest:?}");
    until("too early", async || {
        matches!(a.spend(b"caller", per_minute).await, Ok(Spent::Wait(_)))
    })
    .await;
    until("another caller", async || {
        b.spend(b"other caller", per_minute).await == Ok(Spent::Allowed)
    })
    .await;
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
    let Between::Redis(redis) = &*server else {
        return;
    };
    let keys = redis.command(&["KEYS", "*"]);
    assert!(keys.contains("cortex:test:"));
    // Keys of any bytes are printed on lines of their own. One that was put again by an answer that came late
    // cannot be named on a command line.
    let nameable = |key: &&str| key.starts_with("cortex:") && !key.contains('\0');
    for key in keys.lines().filter(nameable) {
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
        sure(async || a.put(SHELF, b"k", b"lost".to_vec(), LONG).await).await;
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
        let found = sure(async || a.get(SHELF, b"k").await).await;
        assert_eq!(found, None);
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
    let Between::Redis(redis) = &*server else {
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
        let lease = sure(async || a.lease(b"kept", Duration::from_secs(15)).await).await;
        server.empty();
        gap(&mut at_a).await;
        gap(&mut at_b).await;
        assert!(a.is_alive(b.instance()) && b.is_alive(a.instance()));
        // Who had a lease takes it back.
        if let Between::Redis(redis) = &*server {
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
        let lives = Duration::from_secs(5);
        let dying = runtime();
        let held = dying.block_on(async {
            let fleet = server.join().await;
            let lease = sure(async || fleet.lease(b"one", lives).await).await;
            (fleet, lease)
        });
        living.block_on(async {
            let fleet = server.join().await;
            let taken = sure(async || fleet.try_lease(b"one", lives).await).await;
            assert!(taken.is_none());
            // Nothing of it runs any more: as if it had been killed.
            dying.shutdown_background();
            let next = sure(async || fleet.lease(b"one", lives).await);
            let next = within("the next one gets it", next).await;
            assert!(next.is_held());
            until("the dead one is gone", async || fleet.instances() == 1).await;
        });
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_lost_when_it_cannot_be_renewed() {
    for mut server in Server::each().await {
        let fleet = server.join().await;
        let lease = sure(async || fleet.lease(b"one", Duration::from_secs(2)).await).await;
        assert!(lease.is_held());
        server.stop();
        until("it ends", async || !lease.is_held()).await;
        let waiting = within("an answer", fleet.lease(b"other", LONG)).await;
        assert!(waiting.is_err());
    }
}
