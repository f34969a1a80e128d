//! Many writers at once, of one gateway and of several.

use std::time::Duration;

use cortex_gateway::store::{Batch, Committed, Store, StoreError};

use super::{NUMBERS, Place, WORDS, add_one, number};

/// Gateways, and writers of each.
const GATEWAYS: usize = 3;
const WRITERS: usize = 6;

/// Runs one task for each writer, on the stores in turn.
async fn at_once<T, F>(stores: &[Store], work: impl Fn(Store, usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..GATEWAYS * WRITERS)
        .map(|n| tokio::spawn(work(stores[n % stores.len()].clone(), n)))
        .collect();
    let mut ended = Vec::new();
    for task in tasks {
        ended.push(task.await.expect("it ends"));
    }
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_the_same_time_none_is_lost() {
    const EACH: u64 = 8;
    for place in Place::all() {
        let stores = place.open(GATEWAYS).await;
        at_once(&stores, |store: Store, _| async move {
            for _ in 0..EACH {
                while add_one(&store, "n").await.expect("no failure") == Committed::Conflict {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        })
        .await;
        let all = (GATEWAYS * WRITERS) as u64 * EACH;
        assert_eq!(number(&stores[0], "n").await, Some(all));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_expect_nothing_one_is_first() {
    for place in Place::all() {
        let stores = place.open(GATEWAYS).await;
        for round in 0..20 {
            let key = format!("k{round}").into_bytes();
            let outcomes = at_once(&stores, move |store: Store, n| {
                let key = key.clone();
                async move {
                    let mut batch = Batch::default();
                    WORDS.expect(&mut batch, &key, None);
                    WORDS.put(&mut batch, &key, &format!("{n}"))?;
                    Ok::<_, StoreError>((n, store.commit(batch).await?))
                }
            })
            .await;
            let outcomes = outcomes.into_iter().map(|it| it.expect("no failure"));
            let first: Vec<usize> = outcomes
                .filter(|(_, outcome)| *outcome == Committed::Yes)
                .map(|(n, _)| n)
                .collect();
            assert_eq!(first.len(), 1, "round {round}");
            let key = format!("k{round}").into_bytes();
            let found = WORDS.get(&stores[1], &key).await.expect("read");
            assert_eq!(found.expect("there").value, first[0].to_string());
        }
    }
}

/// What two expect of each other's record cannot hold for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_looks_at_a_record_is_not_overtaken() {
    for place in Place::all() {
        let stores = place.open(2).await;
        for round in 0..20 {
            let keys = [format!("a{round}"), format!("b{round}")];
            let take = async |store: Store, own: String, other: String| {
                let mut batch = Batch::default();
                // Only if the other one has not taken the other.
                NUMBERS.expect(&mut batch, other.as_bytes(), None);
                NUMBERS
                    .put(&mut batch, own.as_bytes(), &1)
                    .expect("written");
                store.commit(batch).await.expect("no failure")
            };
            let [a, b] = keys.clone();
            let one = tokio::spawn(take(stores[0].clone(), a.clone(), b.clone()));
            let two = tokio::spawn(take(stores[1].clone(), b, a));
            let outcomes = [one.await.expect("it ends"), two.await.expect("it ends")];
            let taken = outcomes.iter().filter(|it| **it == Committed::Yes).count();
            assert!(taken <= 1, "round {round}: {outcomes:?}");
            let mut there = 0;
            for key in &keys {
                there += usize::from(number(&stores[0], key).await.is_some());
            }
            assert_eq!(there, taken, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_write_the_same_records_in_another_order_all_come_through() {
    for place in Place::all() {
        let stores = place.open(GATEWAYS).await;
        at_once(&stores, |store: Store, n| async move {
            for round in 0..6 {
                let mut batch = Batch::default();
                for key in 0..10 {
                    let key = format!("k{}", (key * 7 + n * 3 + round) % 10);
                    match (n + round) % 4 {
                        0 => NUMBERS.remove(&mut batch, key.as_bytes()),
                        _ => NUMBERS
                            .put(&mut batch, key.as_bytes(), &(n as u64))
                            .expect("written"),
                    }
                }
                let outcome = store.commit(batch).await.expect("no failure");
                assert_eq!(outcome, Committed::Yes);
            }
        })
        .await;
        // Each change was whole: all are there with the number of one of them, or none is.
        let mut found = Vec::new();
        for key in 0..10 {
            found.push(number(&stores[0], &format!("k{key}")).await);
        }
        assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
    }
}
