use proptest::prelude::*;

use super::super::chain::{self, Walk};
use super::super::cursor::Cursor;
use super::super::line;
use super::*;

const SMALL: u64 = 2_000;

/// Appends so many records, as the writer does.
fn append(trail: &mut Trail, count: u64) {
    let mut lines = Vec::new();
    let mut next = trail.next().clone();
    for _ in 0..count {
        let public = format!(r#"{{"prev":"{}","sequence":{}}}"#, next.prev, next.sequence);
        let hash = chain::hash(&next.prev, &public);
        line::write(&mut lines, &public, &hash, "k", "s");
        next = Next {
            sequence: next.sequence + 1,
            prev: hash,
        };
    }
    trail.append(&lines, next).expect("written");
}

/// What is there, checked to be a chain without a gap.
fn kept(dir: &Path, tail: &Anchor) -> Vec<u64> {
    let mut walk = Walk {
        next: tail.sequence,
        prev: tail.hash.clone(),
    };
    let mut kept = Vec::new();
    for file in segment::list(dir).expect("files") {
        let text = segment::lines(&file.path).expect("text");
        if !text.is_empty() {
            assert_eq!(file.first, walk.next, "named by its first record");
        }
        for text in text.lines() {
            let line = super::super::line::Line::read(text).expect("a line");
            kept.push(walk.step(line.public(), line.hash).expect("it holds"));
        }
    }
    kept
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Roll,
    /// The process ends: with the first bytes of a line, and with the head so far behind.
    Kill {
        torn: usize,
        behind: u64,
    },
    RemoveOldest,
    /// The process ends between giving up a file and deleting it.
    KillBeforeRemoval,
    /// An exporter takes so many.
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..20u64).prop_map(Step::Append),
        1 => Just(Step::Roll),
        2 => (0..200usize, 0..30u64).prop_map(|(torn, behind)| Step::Kill { torn, behind }),
        1 => Just(Step::RemoveOldest),
        1 => Just(Step::KillBeforeRemoval),
        3 => (1..40usize).prop_map(Step::Take),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_the_trail_is_what_was_appended(steps in steps()) {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().join("audit");
        let mut tail = Anchor::beginning();
        let mut hashes = vec![GENESIS.to_owned()];
        let mut trail = Trail::open(&dir, None, None, SMALL).expect("open");
        let (mut taken, mut missed) = (Vec::new(), 0);
        let mut cursor = Cursor::new(&dir, 1);
        for step in steps {
            match step {
                Step::Append(count) => {
                    append(&mut trail, count);
                    if trail.is_due(SystemTime::now()) {
                        trail.roll().expect("a new file");
                    }
                }
                Step::Roll => drop(trail.roll().expect("a new file")),
                Step::Kill { torn, behind } => {
                    let newest = trail.next().sequence - 1;
                    let bytes = r#"{"public":{"prev":"torn","sequence":9}"#.repeat(5).into_bytes();
                    let mut file = trail.file().expect("a file");
                    file.write_all(&bytes[..torn.min(bytes.len())]).expect("written");
                    let behind = newest.saturating_sub(behind);
                    // The head is never behind what was given up.
                    let head = (behind >= tail.sequence && behind > 0).then(|| Anchor {
                        sequence: behind,
                        hash: hashes[usize::try_from(behind).expect("small")].clone(),
                    });
                    drop(trail);
                    trail = Trail::open(&dir, Some(&tail), head.as_ref(), SMALL).expect("open");
                }
                Step::RemoveOldest => {
                    if let Some((_, after)) = trail.oldest_file().expect("read") {
                        tail = after;
                        trail.remove_oldest().expect("removed");
                    }
                }
                Step::KillBeforeRemoval => {
                    if let Some((_, after)) = trail.oldest_file().expect("read") {
                        tail = after;
                        drop(trail);
                        trail = Trail::open(&dir, Some(&tail), None, SMALL).expect("open");
                    }
                }
                Step::Take(limit) => {
                    let newest = trail.next().sequence - 1;
                    let before = cursor.next();
                    let (records, lost) = cursor.read(newest, limit).expect("read");
                    if let Some(lost) = lost {
                        prop_assert_eq!(lost.from, before);
                        prop_assert!(lost.to < tail.sequence);
                        missed += lost.to - lost.from + 1;
                    }
                    taken.extend(records.into_iter().map(|kept| kept.sequence));
                }
            }
            let next = trail.next();
            while (hashes.len() as u64) < next.sequence {
                hashes.push(String::new());
            }
            hashes[usize::try_from(next.sequence - 1).expect("small")] = next.prev.clone();
            let expected: Vec<u64> = (tail.sequence..next.sequence).collect();
            prop_assert_eq!(kept(&dir, &tail), expected);
            let bytes: u64 = segment::list(&dir).expect("files").iter().map(|f| f.bytes).sum();
            prop_assert_eq!(trail.bytes(), bytes);
        }
        // An exporter gets everything once and in order, but what was given up before it came.
        let newest = trail.next().sequence - 1;
        loop {
            let (records, lost) = cursor.read(newest, 7).expect("read");
            missed += lost.map_or(0, |lost| lost.to - lost.from + 1);
            if records.is_empty() {
                break;
            }
            taken.extend(records.into_iter().map(|kept| kept.sequence));
        }
        prop_assert!(taken.is_sorted());
        prop_assert_eq!(taken.len() as u64 + missed, newest);
        taken.dedup();
        prop_assert_eq!(taken.len() as u64 + missed, newest);
    }
}

#[test]
fn numbers_are_not_used_again_when_the_end_is_cut_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut trail = Trail::open(dir.path(), None, None, SMALL).expect("open");
    append(&mut trail, 5);
    let next = trail.next().clone();
    let head = Anchor {
        sequence: next.sequence - 1,
        hash: next.prev,
    };
    drop(trail);
    let file = segment::list(dir.path()).expect("files").remove(0);
    let text = segment::lines(&file.path).expect("text");
    let cut: String = text
        .lines()
        .take(3)
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&file.path, cut).expect("written");
    let mut trail = Trail::open(dir.path(), None, Some(&head), SMALL).expect("open");
    assert_eq!(trail.next().sequence, 6);
    assert_eq!(trail.next().prev, head.hash);
    append(&mut trail, 1);
    assert_eq!(segment::list(dir.path()).expect("files").len(), 2);
    // The same with all of it gone.
    drop(trail);
    for file in segment::list(dir.path()).expect("files") {
        segment::remove(&file.path).expect("removed");
    }
    let trail = Trail::open(dir.path(), None, Some(&head), SMALL).expect("open");
    assert_eq!(trail.next().sequence, 6);
}
