//! What every engine does, tried on the one that is alone.

use super::*;

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn values_are_put_got_taken_and_end() {
    let fleet = Fleet::alone();
    let shelf = Shelf::Instances;
    assert_eq!(fleet.get(shelf, b"k").await, Ok(None));
    fleet
        .put(shelf, b"k", b"1".to_vec(), LONG)
        .await
        .expect("put");
    fleet
        .put(shelf, b"k", b"2".to_vec(), LONG)
        .await
        .expect("put");
    let short = Duration::from_millis(1);
    fleet.put(shelf, b"gone", vec![], short).await.expect("put");
    while fleet.get(shelf, b"gone").await != Ok(None) {
        tokio::time::sleep(short).await;
    }
    let all = fleet.all(shelf, 10).await;
    assert_eq!(all, Ok(vec![(b"k".to_vec(), b"2".to_vec())]));
    assert_eq!(fleet.all(shelf, 0).await, Ok(vec![]));
    assert_eq!(fleet.take(shelf, b"k").await, Ok(Some(b"2".to_vec())));
    assert_eq!(fleet.take(shelf, b"k").await, Ok(None));
    fleet
        .put(shelf, b"k", b"3".to_vec(), LONG)
        .await
        .expect("put");
    fleet.remove(shelf, b"k").await.expect("removed");
    assert_eq!(fleet.get(shelf, b"k").await, Ok(None));
    let large = vec![0; MAX_VALUE + 1];
    assert_eq!(fleet.put(shelf, b"large", large, LONG).await, Err(Away));
}

#[tokio::test]
async fn a_claim_is_one_ones_until_it_ends() {
    let fleet = Fleet::alone();
    let shelf = Shelf::Instances;
    assert_eq!(fleet.claim(shelf, b"k", LONG).await, Ok(true));
    assert_eq!(fleet.claim(shelf, b"k", LONG).await, Ok(false));
    assert_eq!(fleet.get(shelf, b"k").await, Ok(None), "no value");
    let short = Duration::from_millis(1);
    assert_eq!(fleet.claim(shelf, b"short", short).await, Ok(true));
    while fleet.claim(shelf, b"short", short).await != Ok(true) {
        tokio::time::sleep(short).await;
    }
}

#[tokio::test]
async fn a_lease_has_one_holder_and_many_get_it_in_turn() {
    let fleet = Fleet::alone();
    let held = fleet.lease(b"a", LONG).await.expect("free");
    assert!(held.is_held());
    assert!(fleet.try_lease(b"a", LONG).await.expect("here").is_none());
    assert!(fleet.try_lease(b"b", LONG).await.expect("here").is_some());
    let holders = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let waiting = (0..50).map(|_| {
        let (fleet, holders) = (fleet.clone(), Arc::clone(&holders));
        tokio::spawn(async move {
            let lease = fleet.lease(b"a", LONG).await.expect("in turn");
            let others = holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(others, 0);
            tokio::task::yield_now().await;
            holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            drop(lease);
        })
    });
    let waiting: Vec<_> = waiting.collect();
    tokio::task::yield_now().await;
    drop(held);
    for one in waiting {
        one.await.expect("it got the lease");
    }
}

#[tokio::test]
async fn an_allowance_is_spent_together() {
    let fleet = Fleet::alone();
    let three = NonZeroU32::new(3).expect("not zero");
    for _ in 0..3 {
        assert_eq!(fleet.clone().spend(b"a", three).await, Ok(Spent::Allowed));
    }
    let refused = fleet.spend(b"a", three).await.expect("here");
    let Spent::Wait(wait) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        wait > Duration::from_secs(1) && wait <= Duration::from_secs(20),
        "{wait:?}"
    );
    assert_eq!(fleet.spend(b"b", three).await, Ok(Spent::Allowed));
}

#[tokio::test]
async fn nobody_hears_anything_where_nobody_else_is() {
    let fleet = Fleet::alone();
    let mut hearing = fleet.hear(Topic::Instances);
    fleet.tell(Topic::Instances, b"to others".to_vec());
    let heard = tokio::time::timeout(Duration::from_millis(20), hearing.next()).await;
    assert!(heard.is_err(), "{heard:?}");
    assert!(fleet.is_alone() && fleet.is_alive(fleet.instance()));
    assert_eq!(fleet.instances(), 1);
    assert!(!fleet.is_alive(Fleet::alone().instance()));
}
