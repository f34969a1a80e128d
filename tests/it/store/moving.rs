//! From one engine to the other and back: everything, unchanged, or nothing.

use std::path::Path;

use cortex_gateway::config::DatabaseConfig;
use cortex_gateway::store::transfer::{TransferError, export, import};
use cortex_gateway::store::{Batch, Committed, Scan, Space, Store, Table};
use cortex_tests::postgres::Postgres;

use super::{WORDS, config, open};

const POSITIONS: Table<String> = Table::new(Space::AuditPositions, 1);
const VALUES: Table<String> = Table::new(Space::PluginValues, 1);

/// More than are moved at a time.
const MANY: usize = 1_234;

async fn fill(store: &Store, many: usize) {
    let mut batch = Batch::default();
    for n in 0..many {
        // Bytes that are no text, too.
        let key = [&(n as u32).to_be_bytes()[..], &[0, 255]].concat();
        WORDS
            .put(&mut batch, &key, &format!("w{n}"))
            .expect("written");
    }
    VALUES
        .put(&mut batch, b"", &"an empty key".to_owned())
        .expect("written");
    assert_eq!(store.commit(batch).await.expect("kept"), Committed::Yes);
    let mut batch = Batch::default();
    POSITIONS
        .put(&mut batch, b"x", &"of the trail".to_owned())
        .expect("written");
    assert_eq!(store.commit(batch).await.expect("kept"), Committed::Yes);
}

/// Everything of a table, as it is read.
async fn all(store: &Store, table: &Table<String>) -> Vec<(Vec<u8>, String)> {
    let scan = Scan {
        limit: usize::MAX,
        ..Scan::default()
    };
    let found = table.scan(store, scan).await.expect("read");
    found
        .into_iter()
        .map(|(key, found)| (key, found.value))
        .collect()
}

async fn moved(
    file: &Path,
    data_dir: &Path,
    database: Option<&DatabaseConfig>,
    replace: bool,
) -> Result<u64, TransferError> {
    let totals = import(data_dir, database, file, replace).await?;
    Ok(totals.values().map(|total| total.records).sum())
}

#[tokio::test]
async fn everything_goes_to_a_database_and_back() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let database = config(&postgres.url());
    let (folder, files) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
    let files = files.expect("a folder");
    let [first, second] = ["first", "second"].map(|name| files.path().join(name));
    let local = open(Store::open(folder.path(), None)).await;
    fill(&local, MANY).await;
    let (words, values) = (all(&local, &WORDS).await, all(&local, &VALUES).await);
    let there = export(&local, &first).await.expect("written");
    drop(local);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&first).expect("there"));
    assert_eq!(mode & 0o777, 0o600);

    let count = moved(&first, folder.path(), Some(&database), false).await;
    assert_eq!(count.expect("moved"), MANY as u64 + 1);
    let shared = open(Store::open(folder.path(), Some(&database))).await;
    assert_eq!(all(&shared, &WORDS).await, words);
    assert_eq!(all(&shared, &VALUES).await, values);
    // The trail's own stays with the trail.
    assert_eq!(all(&shared, &POSITIONS).await[0].1, "of the trail");
    assert_eq!(
        postgres.query("SELECT count(*) FROM cortex.records WHERE space = 'audit-positions'"),
        ["0"]
    );

    // A second time there is something.
    let again = moved(&first, folder.path(), Some(&database), false).await;
    assert!(
        matches!(again, Err(TransferError::NotEmpty(n)) if n == MANY as u64 + 1),
        "{again:?}"
    );
    let mut batch = Batch::default();
    WORDS
        .put(&mut batch, b"more", &"more".to_owned())
        .expect("written");
    shared.commit(batch).await.expect("kept");
    let with_more = export(&shared, &second).await.expect("written");
    assert_ne!(there, with_more);
    drop(shared);
    let again = moved(&first, folder.path(), Some(&database), true).await;
    assert_eq!(again.expect("moved"), MANY as u64 + 1);

    // And back, into the folder where the old ones are still.
    let refused = moved(&second, folder.path(), None, false).await;
    assert!(
        matches!(refused, Err(TransferError::NotEmpty(_))),
        "{refused:?}"
    );
    let count = moved(&second, folder.path(), None, true).await;
    assert_eq!(count.expect("moved"), MANY as u64 + 2);
    let local = open(Store::open(folder.path(), None)).await;
    assert_eq!(all(&local, &WORDS).await.len(), MANY + 1);
    assert_eq!(all(&local, &VALUES).await, values);
    assert_eq!(all(&local, &POSITIONS).await[0].1, "of the trail");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_file_that_is_not_whole_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export");
    let from = tempfile::tempdir().expect("a folder");
    let store = open(Store::open(from.path(), None)).await;
    fill(&store, 20).await;
    export(&store, &file).await.expect("written");
    let again = export(&store, &file).await;
    assert!(matches!(again, Err(TransferError::Exists(_))), "{again:?}");
    drop(store);
    let whole = std::fs::read_to_string(&file).expect("readable");
    let lines: Vec<&str> = whole.lines().collect();
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    let (head, rest) = (lines[0], &lines[1..]);
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    let mut twice = lines.clone();
    twice.insert(1, lines[1]);
    let newer = head.replace("\"cortexStore\":1", "\"cortexStore\":2");
    let newer = [&[newer.as_str()], rest].concat();
    let unknown = whole.replacen("\"space\":\"tickets\"", "\"space\":\"other\"", 1);
    let changed = whole.replacen("\"value\":\"AS", "\"value\":\"AT", 1);
    assert_ne!(changed, whole);
    for (what, text) in [
        ("no end", joined(&lines[..lines.len() - 1])),
        ("one missing", joined(&[&lines[..3], &lines[4..]].concat())),
        ("one twice", joined(&twice)),
        ("another order", joined(&swapped)),
        ("half a line", whole[..whole.len() - 7].to_owned()),
        ("no beginning", joined(rest)),
        ("a newer format", joined(&newer)),
        ("an unknown space", unknown),
        ("a changed value", changed),
        ("more behind the end", format!("{whole}{}\n", lines[1])),
        ("nothing", String::new()),
        ("something else", "hello\n".to_owned()),
    ] {
        std::fs::write(&file, text).expect("written");
        let to = tempfile::tempdir().expect("a folder");
        let outcome = moved(&file, to.path(), None, false).await;
        assert!(
            matches!(outcome, Err(TransferError::Damaged(..))),
            "{what}: {outcome:?}"
        );
        assert!(!Store::exists(to.path()), "{what}");
    }
}
