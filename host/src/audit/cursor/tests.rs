use super::super::line;
use super::*;

fn file(dir: &Path, numbers: &[u64]) {
    let (_, mut file) = segment::create(dir, numbers[0]).expect("made");
    let mut lines = Vec::new();
    for number in numbers {
        let public = format!(r#"{{"prev":"","sequence":{number}}}"#);
        line::write(&mut lines, &public, "h", "k", "s");
    }
    std::io::Write::write_all(&mut file, &lines).expect("written");
}

fn numbers(kept: &[Kept]) -> Vec<u64> {
    kept.iter().map(|kept| kept.sequence).collect()
}

#[test]
fn it_begins_anywhere_and_goes_over_files_and_gaps() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    file(dir, &[3, 4, 5]);
    file(dir, &[6, 7]);
    file(dir, &[10, 11]);
    let mut cursor = Cursor::new(dir, 4);
    let (kept, lost) = cursor.read(11, 3).expect("read");
    assert_eq!((numbers(&kept), lost), (vec![4, 5, 6], None));
    // What is gone is told before what comes after it.
    let (kept, lost) = cursor.read(11, 9).expect("read");
    assert_eq!((numbers(&kept), lost), (vec![7], None));
    let (kept, lost) = cursor.read(11, 9).expect("read");
    assert_eq!(numbers(&kept), [10, 11]);
    assert_eq!(lost, Some(Lost { from: 8, to: 9 }));
    // An exporter that comes back too late.
    let mut cursor = Cursor::new(dir, 1);
    let (kept, lost) = cursor.read(5, 9).expect("read");
    assert_eq!(numbers(&kept), [3, 4, 5]);
    assert_eq!(lost, Some(Lost { from: 1, to: 2 }));
    // Nothing is read that was not said to be written.
    let (kept, _) = cursor.read(5, 9).expect("read");
    assert!(kept.is_empty());
}
