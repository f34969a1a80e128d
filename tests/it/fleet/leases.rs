//! Leases that are kept with the store, whatever becomes of what carries the news.

use std::time::Duration;

use cortex_gateway::fleet::Fleet;

use super::engines::{sure, two, until, within};
use super::servers::Server;

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_a_store_outlive_whatever_carries_the_news() {
    let (Some(mut redis), Some(mut postgres)) = (Server::redis(), Server::postgres().await) else {
        return;
    };
    let lives = Duration::from_secs(5);
    let [a, b] = two(&redis).await;
    let [at_a, at_b] = [postgres.store().await, postgres.store().await];
    let (a, b) = (a.leases_of(&at_a), b.leases_of(&at_b));
    let held = sure(async || a.lease(b"one", lives).await).await;
    let is_free = async || {
        sure(async || b.try_lease(b"one", lives).await)
            .await
            .is_some()
    };
    redis.empty();
    assert!(!is_free().await);
    redis.stop();
    tokio::time::sleep(lives + lives / 5).await;
    assert!(held.is_held() && !is_free().await);
    let gives_back = async {
        // Until who waits has asked, most likely.
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(held);
    };
    let next = sure(async || b.lease(b"one", lives).await);
    let both = async { tokio::join!(next, gives_back).0 };
    assert!(
        within("it is given back, and nobody tells", both)
            .await
            .is_held()
    );

    // While the database is down nobody can keep a lease. When it is back, whoever had it has it for a while.
    let held = sure(async || a.lease(b"two", lives).await).await;
    postgres.stop();
    assert!(b.try_lease(b"two", lives).await.is_err());
    tokio::time::sleep(lives + lives / 5).await;
    postgres.run();
    let taken = sure(async || b.try_lease(b"two", lives).await).await;
    assert!(taken.is_none());
    until("it has been kept", async || held.is_held()).await;
    // With a store of its own nobody has to be asked.
    assert!(Fleet::alone().leases_of(&redis.store().await).are_alone());
}
