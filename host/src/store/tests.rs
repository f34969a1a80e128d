//! The engine of one gateway alone, and what all engines have in common.

use super::*;

const WORDS: Table<String> = Table::new(Space::Tickets, 1);
const NUMBERS: Table<u64> = Table::new(Space::TicketWishes, 1);

async fn put(store: &Store, key: &str, value: &str) {
    let mut batch = Batch::default();
    WORDS
        .put(&mut batch, key.as_bytes(), &value.to_owned())
        .expect("written");
    assert_eq!(
        store.commit(batch).await.expect("committed"),
        Committed::Yes
    );
}

#[tokio::test]
async fn records_are_found_again_and_pages_are_read_both_ways() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), None).await.expect("open");
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        put(&store, key, key).await;
    }
    let found = WORDS.get(&store, b"a/2").await.expect("read");
    assert_eq!(found.expect("there").value, "a/2");
    assert!(WORDS.get(&store, b"c").await.expect("read").is_none());
    let page = async |after: Option<&str>, backwards, limit| -> Vec<String> {
        let scan = Scan {
            prefix: b"a/".to_vec(),
            after: after.map(|after| after.as_bytes().to_vec()),
            backwards,
            limit,
        };
        let found = WORDS.scan(&store, scan).await.expect("read");
        found.into_iter().map(|(_, found)| found.value).collect()
    };
    assert_eq!(page(None, false, 2).await, ["a/1", "a/2"]);
    assert_eq!(page(Some("a/2"), false, 2).await, ["a/3"]);
    assert_eq!(page(None, true, 2).await, ["a/3", "a/2"]);
    assert_eq!(page(Some("a/2"), true, 9).await, ["a/1"]);
}

#[tokio::test]
async fn a_change_happens_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), None).await.expect("open");
    put(&store, "k", "one").await;
    let before = WORDS.get(&store, b"k").await.expect("read");
    put(&store, "k", "two").await;
    let mut late = Batch::default();
    WORDS.expect(&mut late, b"k", before.as_ref());
    WORDS
        .put(&mut late, b"k", &"three".to_owned())
        .expect("written");
    NUMBERS.put(&mut late, b"n", &3).expect("written");
    let outcome = store.commit(late).await.expect("no failure");
    assert_eq!(outcome, Committed::Conflict);
    assert!(NUMBERS.get(&store, b"n").await.expect("read").is_none());
    let now = WORDS.get(&store, b"k").await.expect("read").expect("there");
    assert_eq!(now.value, "two");
}

#[tokio::test]
async fn a_temporary_store_is_nobody_elses() {
    let stores = [
        Store::temporary(None).await.expect("open"),
        Store::temporary(None).await.expect("open"),
    ];
    put(&stores[0], "k", "text").await;
    let read = async |store| WORDS.get(store, b"k").await.expect("read").is_some();
    assert!(read(&stores[0]).await && !read(&stores[1]).await);
}

#[tokio::test]
async fn what_is_in_use_or_of_another_shape_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), None).await.expect("open");
    let again = Store::open(dir.path(), None).await.err().expect("in use");
    assert!(matches!(again, StoreError::InUse(_)), "{again}");
    put(&store, "k", "text").await;
    let newer: Table<String> = Table::new(Space::Tickets, 2);
    let other: Table<u64> = Table::new(Space::Tickets, 1);
    for error in [
        newer.get(&store, b"k").await.err(),
        other.get(&store, b"k").await.err(),
    ] {
        let error = error.expect("an error");
        assert!(matches!(error, StoreError::BadRecord(_)), "{error}");
    }
    drop(store);
    let store = Store::open(dir.path(), None).await.expect("free again");
    assert!(WORDS.get(&store, b"k").await.expect("read").is_some());
}
