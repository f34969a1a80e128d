mod alone;

use std::sync::atomic::AtomicUsize;

use serde_json::Value;

use super::*;
use crate::config::WhenFull;
use crate::store::moody::{Mood, Switch};
use crate::types::{Issuer, PluginName, Subject};
use crate::vault::Owner;

/// A trail without exporters.
struct Bench {
    dir: tempfile::TempDir,
    store: Store,
    config: AuditConfig,
}

/// And its writer.
struct Open {
    queue: Queue,
    writer: tokio::task::JoinHandle<()>,
    begun: AtomicUsize,
}

impl Bench {
    async fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder"),
            store: Store::temporary(None).await.expect("a store"),
            config: AuditConfig {
                durability: Durability::Answered,
                spool_bytes: 1024 * 1024,
                when_full: WhenFull::Refuse,
                retention: Duration::from_secs(24 * 3600),
            },
        }
    }

    /// With a store that can be away.
    async fn moody() -> (Self, Switch) {
        let (store, switch) = Store::moody().await;
        let bench = Self {
            store,
            ..Self::new().await
        };
        (bench, switch)
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join(FOLDER)
    }

    async fn open(&self) -> Open {
        self.open_with(Keys::new(&self.store)).await
    }

    async fn open_with(&self, keys: Keys) -> Open {
        let store = &self.store;
        let (tail, head) = (End::Tail.load(store).await, End::Head.load(store).await);
        let (tail, head) = (tail.expect("read"), head.expect("read"));
        let bytes = self.config.spool_bytes / SEGMENTS;
        let trail = Trail::open(&self.folder(), tail.as_ref(), head.as_ref(), bytes);
        let trail = trail.expect("open");
        let newest = trail.next().sequence - 1;
        let state = Arc::new(State::new(newest, trail.oldest(), trail.bytes()));
        let reader = Reader::of(self.dir.path(), store).await.expect("a reader");
        let reader = Reader {
            keys: Arc::new(keys),
            ..reader
        };
        let (_, hurried) = watch::channel(false);
        let writer = Writer {
            dir: self.folder(),
            trail,
            keys: Arc::clone(&reader.keys),
            positions: Arc::clone(&reader.positions),
            state: Arc::clone(&state),
            store: store.clone(),
            config: self.config.clone(),
            hurried,
            lines: Vec::new(),
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Arc::new(Mutex::new(writer));
        Open {
            queue: Queue {
                sender,
                writer: Some(Arc::clone(&writer)),
                state,
                reader,
            },
            writer: tokio::spawn(writer::run(writer, receiver)),
            begun: AtomicUsize::default(),
        }
    }
}

impl Open {
    /// Keeps a record of somebody; whether it found a place.
    async fn keep(&self, subject: &str, tool: &str) -> bool {
        match self.begin(subject, tool) {
            Some(receipt) => receipt.kept().await.map(|()| true).expect("kept"),
            None => false,
        }
    }

    /// Hands a record over, if it finds a place: in turn as the only request, and beside another one.
    fn begin(&self, subject: &str, tool: &str) -> Option<Receipt> {
        let place = self.queue.reserve().ok()?;
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        let _other = (begun % 2 == 1).then(|| UnderWay::new(&self.queue.state));
        let mut draft = Draft {
            owner: Some(Owner {
                issuer: Issuer::new("https://issuer.example"),
                subject: Subject::new(subject),
            }),
            ..Draft::default()
        };
        draft.public.tool = Some(tool.to_owned());
        draft.public.ts = "2026-11-26T14:00:00Z".to_owned();
        draft.personal.caller_sub = Some(subject.to_owned());
        Some(place.fill(draft))
    }

    /// Whose records are on the disk, oldest first.
    async fn whose(&self) -> Vec<String> {
        let found = self.query(&Filter::default()).await;
        let whose = found.iter().rev().map(|r| r["caller_sub"].as_str());
        whose.map(|who| who.unwrap_or("?").to_owned()).collect()
    }

    async fn verify(&self) -> Progress {
        let mut progress = Progress::default();
        while !progress.done {
            progress = self.queue.reader.verify(progress).await.expect("read");
        }
        progress
    }

    async fn query(&self, filter: &Filter) -> Vec<Value> {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let wanted = Wanted::Before(before);
            let page = self.queue.reader.query(filter, wanted, 1_000).await;
            let page = page.expect("read");
            found.extend(page.records.into_iter().map(Value::from));
            before = page.next;
            if before.is_none() {
                return found;
            }
        }
    }

    async fn close(self) {
        drop(self.queue);
        self.writer.await.expect("it ends");
    }
}

#[tokio::test]
async fn a_trail_goes_on_after_a_restart() {
    let bench = Bench::new().await;
    let open = bench.open().await;
    for _ in 0..3 {
        assert!(open.keep("ann", "search").await);
    }
    open.close().await;
    let open = bench.open().await;
    assert!(open.keep("bob", "search").await);
    let verified = open.verify().await;
    assert_eq!(verified.finding, None);
    assert_eq!((verified.first, verified.last, verified.records), (1, 4, 4));
    let filter = Filter {
        subject: Some("ann".to_owned()),
        ..Filter::default()
    };
    let found = open.query(&filter).await;
    let numbers: Vec<u64> = found
        .iter()
        .filter_map(|r| r["sequence"].as_u64())
        .collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(open.query(&Filter::default()).await.len(), 4);
    let extent = open.queue.reader.extent().await.expect("read");
    assert_eq!((extent.oldest, extent.newest), (1, 4));
    assert_eq!(extent.gaps, [0; 0]);
    open.close().await;
}

#[tokio::test]
async fn nothing_personal_lies_open_and_what_is_erased_is_gone() {
    let bench = Bench::new().await;
    let open = bench.open().await;
    for who in ["canary-ann", "bob", "canary-ann"] {
        assert!(open.keep(who, "search").await);
    }
    let on_disk = |bench: &Bench| -> String {
        let files = segment::list(&bench.folder()).expect("files");
        let texts = files.iter().map(|file| segment::lines(&file.path));
        texts.map(|text| text.expect("text")).collect()
    };
    assert!(!on_disk(&bench).contains("canary"));
    let erased = open.queue.reader.erase("canary-ann", None).await;
    assert_eq!(erased.expect("erased").len(), 1);
    assert!(open.keep("canary-ann", "search").await);
    let verified = open.verify().await;
    assert_eq!((verified.finding, verified.erased), (None, 2));
    let found = open.query(&Filter::default()).await;
    let who: Vec<_> = found.iter().map(|r| r["caller_sub"].as_str()).collect();
    assert_eq!(who, [Some("canary-ann"), None, Some("bob"), None]);
    assert_eq!(found[1]["erased"], true);
    assert_eq!(found[1]["tool"], "search");
    open.close().await;
}

#[tokio::test]
async fn whatever_is_done_to_the_files_shows() {
    type Change = fn(&mut Vec<String>);
    let changes: [(&str, u64, Change); 9] = [
        ("a member", 3, |l| l[2] = l[2].replace("search", "change")),
        ("a hash", 3, |l| {
            l[2] = l[2].replace("\"hash\":\"", "\"hash\":\"0");
        }),
        ("one removed", 3, |l| drop(l.remove(2))),
        ("two swapped", 3, |l| l.swap(2, 3)),
        ("one twice", 3, |l| l.insert(2, l[2].clone())),
        ("one added", 3, |l| l.insert(2, "{}".to_owned())),
        ("the end cut off", 5, |l| drop(l.pop())),
        ("the beginning cut off", 1, |l| drop(l.remove(0))),
        ("a personal part of another", 3, |l| {
            let part = |line: &str| {
                let at = line.find(",\"key\"").unwrap_or_default();
                (line[..at].to_owned(), line[at..].to_owned())
            };
            l[2] = part(&l[2]).0 + &part(&l[1]).1;
        }),
    ];
    for (what, at, change) in changes {
        let bench = Bench::new().await;
        let open = bench.open().await;
        for _ in 0..5 {
            assert!(open.keep("ann", "search").await);
        }
        open.close().await;
        let file = segment::list(&bench.folder()).expect("files").remove(0);
        let text = segment::lines(&file.path).expect("text");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        let mut text = lines.join("\n");
        text.push('\n');
        std::fs::write(&file.path, text).expect("written");
        let reader = Reader::of(bench.dir.path(), &bench.store).await;
        let reader = reader.expect("a reader");
        let mut progress = Progress::default();
        while !progress.done {
            progress = reader.verify(progress).await.expect("read");
        }
        let finding = progress
            .finding
            .unwrap_or_else(|| panic!("{what}: nothing found"));
        assert_eq!(finding.sequence, at, "{what}: {finding:?}");
    }
}

#[tokio::test]
async fn a_full_trail_refuses_until_somebody_takes_from_it() {
    let bench = Bench::new().await;
    let open = bench.open().await;
    let tool = "t".repeat(20_000);
    let mut kept = 0;
    while open.keep("ann", &tool).await {
        kept += 1;
        assert!(kept < 100, "never full");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let trouble = open.queue.trouble().expect("a reason");
    assert!(trouble.contains("CORTEX_AUDIT_SPOOL_MIB"), "{trouble}");
    assert_eq!(open.queue.figures().dropped, 0);
    assert!(open.queue.figures().refused > 0);
    // Somebody takes all of it.
    let name: PluginName = "somebody".parse().expect("a name");
    let positions = &open.queue.reader.positions;
    positions.are_there(std::slice::from_ref(&name), 1, kept + 1);
    assert_eq!(positions.next_of(&name), 1);
    positions.move_to(&name, kept + 1, 0);
    while open.queue.trouble().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(open.keep("ann", "small").await);
    let verified = open.verify().await;
    assert_eq!((verified.finding, verified.last), (None, kept + 1));
    assert!(verified.first > 1);
    open.close().await;
}

#[tokio::test]
async fn the_oldest_are_given_up_where_that_was_chosen() {
    let mut bench = Bench::new().await;
    bench.config.when_full = WhenFull::DropOldest;
    let open = bench.open().await;
    let tool = "t".repeat(20_000);
    for _ in 0..150 {
        assert!(open.keep("ann", &tool).await);
    }
    let figures = open.queue.figures();
    assert!(
        figures.dropped > 50 && figures.bytes <= bench.config.spool_bytes + 40_000,
        "{figures:?}"
    );
    assert_eq!(figures.trouble, None);
    let verified = open.verify().await;
    assert_eq!((verified.finding, verified.last), (None, 150));
    assert_eq!(verified.first, figures.dropped + 1);
    open.close().await;
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_is_known_waits_for_nobody_whose_key_cannot_be_had() {
    for mood in [Mood::IsAway, Mood::Hangs] {
        let (bench, switch) = Bench::moody().await;
        let open = bench.open().await;
        assert!(open.keep("ann", "search").await);
        switch.to(mood);
        let new: Vec<_> = ["bob", "cid", "bob"]
            .into_iter()
            .map(|who| open.begin(who, "search").expect("a place"))
            .collect();
        for _ in 0..20 {
            assert!(open.keep("ann", "search").await);
        }
        // They are not written, and not forgotten either.
        let figures = open.queue.figures();
        assert_eq!((figures.written, figures.queued), (21, 3), "{mood:?}");
        assert_eq!(figures.trouble, None);
        switch.to(Mood::Works);
        for receipt in new {
            receipt.kept().await.expect("kept");
        }
        assert_eq!(open.queue.taken().0, 0);
        let mut late = open.whose().await.split_off(21);
        late.sort();
        assert_eq!(late, ["bob", "bob", "cid"]);
        assert_eq!(open.verify().await.finding, None);
        open.close().await;
    }
}

#[tokio::test]
async fn whether_somebodys_records_can_be_kept_is_known_before_anything_is_done() {
    let (bench, switch) = Bench::moody().await;
    let open = bench.open().await;
    let owner = |who: &str| {
        Some(Owner {
            issuer: Issuer::new("https://issuer.example"),
            subject: Subject::new(who),
        })
    };
    let can = async |who: &str| open.queue.can_keep(&owner(who)).await.is_ok();
    assert!(can("ann").await);
    for (mood, who) in [(Mood::IsAway, "bob"), (Mood::Hangs, "cid")] {
        switch.to(mood);
        assert!(can("ann").await && !can(who).await, "{mood:?}");
        assert!(open.queue.state.keys_are_away());
        switch.to(Mood::Works);
        assert!(can(who).await && !open.queue.state.keys_are_away());
    }
    open.close().await;
}

#[tokio::test]
async fn nobody_waits_for_ever_behind_those_who_are_served() {
    let (bench, switch) = Bench::moody().await;
    let open = bench.open().await;
    assert!(open.keep("ann", "search").await);
    switch.to(Mood::Hangs);
    let waiting = open.begin("bob", "search").expect("a place");
    let mut waiting = std::pin::pin!(waiting.kept());
    let outcome = loop {
        assert!(open.keep("ann", "search").await);
        let pause = Duration::from_millis(50);
        if let Ok(outcome) = tokio::time::timeout(pause, waiting.as_mut()).await {
            break outcome;
        }
    };
    assert!(outcome.is_err(), "its key is not there");
    switch.to(Mood::Works);
    open.close().await;
}

#[tokio::test]
async fn what_was_set_aside_is_written_before_the_end_and_its_answers_do_not_wait_for_ever() {
    let (bench, switch) = Bench::moody().await;
    let open = bench.open().await;
    assert!(open.keep("ann", "search").await);
    switch.to(Mood::IsAway);
    let waiting = open.begin("bob", "search").expect("a place");
    assert!(waiting.kept().await.is_err(), "it was let go");
    assert_eq!(open.queue.figures().queued, 1);
    let Open { queue, writer, .. } = open;
    drop(queue);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!writer.is_finished());
    switch.to(Mood::Works);
    writer.await.expect("it ends");
    let open = bench.open().await;
    assert_eq!(open.whose().await, ["ann", "bob"]);
    open.close().await;
}

#[tokio::test]
async fn what_is_set_aside_takes_places_of_the_queue() {
    let (mut bench, switch) = Bench::moody().await;
    bench.config.spool_bytes = 64 * 1024 * 1024;
    let open = bench.open().await;
    assert!(open.keep("ann", "search").await);
    switch.to(Mood::Hangs);
    let mut begun = 0;
    while begun < QUEUE {
        if open.begin("bob", "search").is_none() {
            break;
        }
        begun += 1;
        if begun % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    until("all are set aside", || {
        open.queue.state.aside.load(Ordering::Relaxed) == begun
    })
    .await;
    assert_eq!(begun, QUEUE);
    assert!(open.begin("ann", "search").is_none());
    assert!(open.queue.trouble().is_some());
    switch.to(Mood::Works);
    until("there is room", || open.queue.taken().0 == 0).await;
    assert!(open.keep("ann", "search").await);
    assert_eq!(open.queue.figures().written as usize, QUEUE + 2);
    open.close().await;
}

#[tokio::test]
async fn a_damaged_key_holds_up_nobody_else() {
    let bench = Bench::new().await;
    let open = bench.open().await;
    assert!(open.keep("ann", "search").await);
    open.close().await;
    let open = bench.open().await;
    keys::tests::damage(&bench.store, "ann").await;
    let damaged: Vec<Receipt> = (0..50)
        .map(|_| open.begin("ann", "search").expect("a place"))
        .collect();
    for who in ["bob", "cid"] {
        assert!(open.keep(who, "search").await);
    }
    for receipt in damaged {
        assert!(receipt.kept().await.is_err());
    }
    // It is that key alone.
    assert!(!open.queue.state.keys_are_away());
    open.writer.abort();
}

#[tokio::test]
async fn keys_are_used_on_while_they_cannot_be_looked_up_again() {
    let (bench, switch) = Bench::moody().await;
    let keys = keys::tests::that_others_may_forget(&bench.store);
    let open = bench.open_with(keys).await;
    for (mood, who) in [(Mood::IsAway, "bob"), (Mood::Hangs, "cid")] {
        assert!(open.keep("ann", "search").await);
        switch.to(mood);
        let new = open.begin(who, "search").expect("a place");
        for _ in 0..20 {
            assert!(open.keep("ann", "search").await);
        }
        switch.to(Mood::Works);
        new.kept().await.expect("kept");
    }
    // Another gateway has forgotten her: that shows as soon as it can be seen.
    let before = open.queue.reader.keys.ids_of("ann").await.expect("read");
    let other = Keys::new(&bench.store);
    other.erase("ann", None).await.expect("erased");
    assert!(open.keep("ann", "search").await);
    let after = open.queue.reader.keys.ids_of("ann").await.expect("read");
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
    open.close().await;
}
