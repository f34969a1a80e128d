//! Whoever commits is killed, the server is, the connection breaks: what was acknowledged is there, what was
//! refused is not, and everything is whole.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use cortex_gateway::store::{Batch, Committed, Scan, Store, StoreError};
use cortex_tests::postgres::Postgres;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{NUMBERS, Place, WORDS, add_one, config, number, open};

/// Names what a process commits to: a folder, and the URL of a database if there is one.
const CHILD: &str = "CORTEX_TESTS_COMMITS_TO";
/// How many processes are killed.
const KILLS: u64 = 12;

fn key(n: u64) -> String {
    format!("{n:08}")
}

/// A change of three records: two that belong together, and what says how far it is.
async fn commit(store: &Store, n: u64) -> Result<Committed, StoreError> {
    let before = NUMBERS.get(store, b"last").await?;
    let mut batch = Batch::default();
    NUMBERS.expect(&mut batch, b"last", before.as_ref());
    NUMBERS.put(&mut batch, b"last", &n)?;
    NUMBERS.put(&mut batch, key(n).as_bytes(), &n)?;
    WORDS.expect(&mut batch, key(n).as_bytes(), None);
    WORDS.put(&mut batch, key(n).as_bytes(), &n.to_string())?;
    store.commit(batch).await
}

/// Not a test: what the killed process does. Commits one change after the other, and tells of each.
#[test]
fn the_one_who_is_killed() {
    let Some(place) = std::env::var_os(CHILD) else {
        return;
    };
    let place = place.into_string().expect("UTF-8");
    let (folder, url) = place.split_once('\n').expect("two lines");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let database = (!url.is_empty()).then(|| config(url));
        let store = open(Store::open(Path::new(folder), database.as_ref())).await;
        let mut n = number(&store, "last").await.unwrap_or(0);
        loop {
            n += 1;
            assert_eq!(commit(&store, n).await.expect("kept"), Committed::Yes);
            println!("kept {n}");
        }
    });
}

/// The numbers that are there, each twice and whole.
async fn there(store: &Store) -> BTreeSet<u64> {
    let all = Scan {
        prefix: b"0".to_vec(),
        limit: usize::MAX,
        ..Scan::default()
    };
    let words = WORDS.scan(store, all.clone()).await.expect("read");
    let numbers = NUMBERS.scan(store, all).await.expect("read");
    let words: BTreeSet<u64> = words
        .into_iter()
        .map(|(_, found)| found.value.parse().expect("a number"))
        .collect();
    let numbers: BTreeSet<u64> = numbers.into_iter().map(|(_, found)| found.value).collect();
    assert_eq!(words, numbers, "a change is there by half");
    numbers
}

#[test]
fn what_a_killed_process_was_told_is_there() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for place in Place::all() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match &place {
            Place::Folder(_) => String::new(),
            Place::Database(postgres) => postgres.url(),
        };
        let mut acknowledged = 0;
        for round in 0..KILLS {
            let mut child = Command::new(std::env::current_exe().expect("a path"))
                .args([
                    "--exact",
                    "store::crashes::the_one_who_is_killed",
                    "--nocapture",
                ])
                .env(CHILD, format!("{}\n{url}", folder.path().display()))
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts");
            let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            let mut told = lines
                .map_while(Result::ok)
                .filter_map(|line| line.strip_prefix("kept ")?.parse::<u64>().ok());
            // At another moment each time.
            let enough = acknowledged + 3 + round % 5;
            acknowledged = told.find(|n| *n >= enough).expect("it commits");
            std::thread::sleep(Duration::from_micros(round * 700));
            child.kill().expect("killed");
            // What it still got to say counts.
            acknowledged = told.last().unwrap_or(acknowledged);
            child.wait().expect("it ended");
            let there = runtime.block_on(async {
                let database = place.database();
                let store = open(Store::open(folder.path(), database.as_ref())).await;
                // A server goes on with what it was told before it notices that nobody is there any more:
                // a commit of the next gateway comes after it.
                add_one(&store, "after").await.expect("kept");
                let there = there(&store).await;
                assert_eq!(number(&store, "last").await, there.last().copied());
                there
            });
            let last = there.last().copied().unwrap_or(0);
            assert_eq!(there, (1..=last).collect(), "round {round}");
            assert!(
                last == acknowledged || last == acknowledged + 1,
                "round {round}: {acknowledged} were acknowledged, {last} are there"
            );
            acknowledged = last;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_under_load_loses_nothing_that_was_acknowledged() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let config = config(&postgres.url());
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    let first = open(Store::temporary(Some(&config))).await;
    for writer in 0..6_u64 {
        let store = match writer % 2 {
            0 => first.clone(),
            _ => open(Store::temporary(Some(&config))).await,
        };
        let over = Arc::clone(&over);
        writers.push(tokio::spawn(async move {
            let (mut kept, mut refused) = (Vec::new(), Vec::new());
            let mut unknown = Vec::new();
            for n in 0.. {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let n = writer * 1_000_000 + n;
                let mut batch = Batch::default();
                let key = key(n);
                WORDS.expect(&mut batch, key.as_bytes(), None);
                WORDS
                    .put(&mut batch, key.as_bytes(), &n.to_string())
                    .expect("written");
                NUMBERS
                    .put(&mut batch, key.as_bytes(), &n)
                    .expect("written");
                match store.commit(batch).await {
                    Ok(Committed::Yes) => kept.push(n),
                    // Nobody else writes there: it would be one's own change, done twice.
                    Ok(Committed::Conflict) => panic!("{n} was done and not told"),
                    Err(StoreError::Uncertain) => unknown.push(n),
                    Err(_) => refused.push(n),
                }
            }
            (kept, refused, unknown)
        }));
    }
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(400 + round * 130)).await;
        postgres = tokio::task::spawn_blocking(move || {
            postgres.crash();
            postgres.run();
            postgres
        })
        .await
        .expect("it is there again");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    over.store(true, Ordering::SeqCst);
    let (mut kept, mut refused, mut unknown) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for writer in writers {
        let of_one = writer.await.expect("it ends");
        kept.extend(of_one.0);
        refused.extend(of_one.1);
        unknown.extend(of_one.2);
    }
    let there = there(&first).await;
    let lost: Vec<_> = kept.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
    let too_many: Vec<_> = there.intersection(&refused).collect();
    assert!(too_many.is_empty(), "refused, and there: {too_many:?}");
    let expected: BTreeSet<u64> = kept.union(&unknown).copied().collect();
    assert!(there.is_subset(&expected), "there, and told nobody");
    assert!(kept.len() > 50, "too few to mean anything: {}", kept.len());
    eprintln!(
        "{} kept, {refused:?} refused, {unknown:?} unknown",
        kept.len()
    );
}

/// What becomes of the next COMMIT.
const PASSES: u8 = 0;
const NEVER_ARRIVES: u8 = 1;
const ARRIVES_UNANSWERED: u8 = 2;

/// Stands between a gateway and the server, and breaks the connection at a COMMIT.
async fn wire(server: u16, plan: Arc<AtomicU8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let plan = Arc::clone(&plan);
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", server)).await;
                let server = server.expect("connected");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                });
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
                    let said = &bytes[..read];
                    if said.windows(7).any(|at| at == b"COMMIT\0") {
                        match plan.swap(PASSES, Ordering::SeqCst) {
                            NEVER_ARRIVES => break,
                            ARRIVES_UNANSWERED => {
                                back.abort();
                                let _ = to_server.write_all(said).await;
                                // The server is through with it when it notices that nobody is there.
                                let _ = to_server.shutdown().await;
                                break;
                            }
                            _ => {}
                        }
                    }
                    if to_server.write_all(said).await.is_err() {
                        break;
                    }
                }
                back.abort();
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_a_commit_is_found_out_when_the_connection_breaks_there() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let plan = Arc::new(AtomicU8::new(PASSES));
    let url = postgres.url();
    let port = url
        .rsplit_once(':')
        .and_then(|(_, rest)| rest.split('/').next());
    let port: u16 = port.and_then(|port| port.parse().ok()).expect("a port");
    let between = wire(port, Arc::clone(&plan)).await;
    let url = url.replace(&format!(":{port}/"), &format!(":{between}/"));
    let url = format!("{url}?sslmode=disable");
    let store = open(Store::temporary(Some(&config(&url)))).await;
    let mut expected = 0;
    for broken in [NEVER_ARRIVES, ARRIVES_UNANSWERED].repeat(5) {
        plan.store(broken, Ordering::SeqCst);
        let outcome = add_one(&store, "n").await.expect("it is found out");
        assert_eq!(plan.load(Ordering::SeqCst), PASSES, "it was broken");
        // Once, whichever way it went: not lost and not done again.
        assert_eq!(outcome, Committed::Yes);
        expected += 1;
        assert_eq!(number(&store, "n").await, Some(expected));
    }
}
