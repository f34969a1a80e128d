//! Random changes and scans, compared with a sorted map that does the same.

use std::collections::BTreeMap;

use cortex_gateway::store::{Batch, Committed, Found, Scan, Space, Store, Table};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::Place;

/// Spaces do not get into each other's way.
const TABLES: [Table<String>; 2] = [
    Table::new(Space::Tickets, 1),
    Table::new(Space::TicketOwners, 1),
];
/// Where something lies that is nowhere else.
const ELSEWHERE: Table<String> = Table::new(Space::Definitions, 1);

type Map = BTreeMap<(usize, Vec<u8>), String>;

/// What a change expects of a record.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Whatever,
    WhatIsThere,
    Nothing,
    SomethingElse,
}

#[derive(Clone, Debug)]
enum Write {
    Leave,
    Put(String),
    Remove,
}

#[derive(Clone, Debug)]
struct Touch {
    table: usize,
    key: Vec<u8>,
    expected: Expected,
    write: Write,
}

#[derive(Clone, Debug)]
enum Step {
    Change(Vec<Touch>),
    Look(usize, Scan),
    Get(usize, Vec<u8>),
}

/// Few keys, many of which begin with each other, with the bytes at which orders differ.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(vec![0, 1, b'A', b'a', b'_', 0x7f, 0x80, 0xfe, 0xff]);
    prop::collection::vec(byte, 0..4)
}

fn touch() -> impl Strategy<Value = Touch> {
    let expected = prop_oneof![
        4 => Just(Expected::Whatever),
        4 => Just(Expected::WhatIsThere),
        1 => Just(Expected::Nothing),
        1 => Just(Expected::SomethingElse),
    ];
    let write = prop_oneof![
        1 => Just(Write::Leave),
        4 => "[a-zé\u{0}]{0,6}".prop_map(Write::Put),
        2 => Just(Write::Remove),
    ];
    (0..TABLES.len(), key(), expected, write).prop_map(|(table, key, expected, write)| Touch {
        table,
        key,
        expected,
        write,
    })
}

fn scan() -> impl Strategy<Value = Scan> {
    let short = key().prop_map(|mut key| {
        key.truncate(2);
        key
    });
    let limit = prop_oneof![0..6_usize, Just(usize::MAX)];
    (short, prop::option::of(key()), any::<bool>(), limit).prop_map(
        |(prefix, after, backwards, limit)| Scan {
            prefix,
            after,
            backwards,
            limit,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::collection::vec(touch(), 0..6).prop_map(Step::Change),
        2 => (0..TABLES.len(), scan()).prop_map(|(table, scan)| Step::Look(table, scan)),
        1 => (0..TABLES.len(), key()).prop_map(|(table, key)| Step::Get(table, key)),
    ];
    prop::collection::vec(step, 1..25)
}

async fn change(store: &Store, map: &mut Map, touches: &[Touch], other: &Found<String>) {
    let mut batch = Batch::default();
    let mut next = map.clone();
    let mut fits = true;
    for touch in touches {
        let table = &TABLES[touch.table];
        let place = (touch.table, touch.key.clone());
        let there = map.get(&place);
        match touch.expected {
            Expected::Whatever => {}
            Expected::WhatIsThere => {
                let found = table.get(store, &touch.key).await.expect("read");
                assert_eq!(found.as_ref().map(|found| &found.value), there);
                table.expect(&mut batch, &touch.key, found.as_ref());
            }
            Expected::Nothing => {
                table.expect(&mut batch, &touch.key, None);
                fits &= there.is_none();
            }
            Expected::SomethingElse => {
                table.expect(&mut batch, &touch.key, Some(other));
                fits = false;
            }
        }
        match &touch.write {
            Write::Leave => {}
            Write::Put(text) => {
                table.put(&mut batch, &touch.key, text).expect("written");
                next.insert(place, text.clone());
            }
            Write::Remove => {
                table.remove(&mut batch, &touch.key);
                next.remove(&place);
            }
        }
    }
    let outcome = store.commit(batch).await.expect("no failure");
    let wanted = if fits {
        Committed::Yes
    } else {
        Committed::Conflict
    };
    assert_eq!(outcome, wanted, "{touches:?}");
    if fits {
        *map = next;
    }
}

async fn look(store: &Store, map: &Map, table: usize, scan: &Scan) {
    let of_table = map.iter().filter(|((of, _), _)| *of == table);
    let mut wanted: Vec<(Vec<u8>, String)> = of_table
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .filter(|(key, _)| key.starts_with(&scan.prefix))
        .filter(|(key, _)| match (&scan.after, scan.backwards) {
            (None, _) => true,
            (Some(after), false) => key > after,
            (Some(before), true) => key < before,
        })
        .collect();
    if scan.backwards {
        wanted.reverse();
    }
    wanted.truncate(scan.limit);
    let found = TABLES[table].scan(store, scan.clone()).await.expect("read");
    let found: Vec<(Vec<u8>, String)> = found
        .into_iter()
        .map(|(key, found)| (key, found.value))
        .collect();
    assert_eq!(found, wanted, "{scan:?}");
}

/// Takes everything away that an earlier walk has left.
async fn clear(store: &Store) {
    let all = Scan {
        limit: usize::MAX,
        ..Scan::default()
    };
    let mut batch = Batch::default();
    for table in &TABLES {
        for (key, _) in table.scan(store, all.clone()).await.expect("read") {
            table.remove(&mut batch, &key);
        }
    }
    assert_eq!(
        store.commit(batch).await.expect("no failure"),
        Committed::Yes
    );
}

async fn walk(store: &Store, steps: &[Step]) {
    clear(store).await;
    let other = ELSEWHERE.get(store, b"it").await.expect("read");
    let other = other.expect("there");
    let mut map = Map::new();
    for step in steps {
        match step {
            Step::Change(touches) => change(store, &mut map, touches, &other).await,
            Step::Look(table, scan) => look(store, &map, *table, scan).await,
            Step::Get(table, key) => {
                let found = TABLES[*table].get(store, key).await.expect("read");
                let found = found.map(|found| found.value);
                assert_eq!(found.as_ref(), map.get(&(*table, key.clone())));
            }
        }
    }
    for table in 0..TABLES.len() {
        let all = Scan {
            limit: usize::MAX,
            ..Scan::default()
        };
        look(store, &map, table, &all).await;
    }
}

#[test]
fn whatever_is_asked_it_answers_what_a_sorted_map_would() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for place in Place::all() {
        let store = runtime.block_on(async {
            let store = place.open_one().await;
            let mut batch = Batch::default();
            let text = "something else".to_owned();
            ELSEWHERE.put(&mut batch, b"it", &text).expect("written");
            store.commit(batch).await.expect("no failure");
            store
        });
        let config = Config {
            cases: 60,
            failure_persistence: None,
            ..Config::default()
        };
        // The same walks each time.
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, random);
        let outcome = runner.run(&steps(), |steps| {
            runtime.block_on(walk(&store, &steps));
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }
}
