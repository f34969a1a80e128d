use super::*;
use crate::plugin::directory::scan::scan;

/// A component with these settings beside it, and how it is known after looking until it was taken.
struct Stand(tempfile::TempDir, Known);

impl Stand {
    fn with(settings: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("a.wasm"), "1").expect("written");
        let mut stand = Self(dir, Known::default());
        stand.write(settings);
        assert_eq!(stand.looks(), 2, "what looks the same twice is taken");
        stand
    }

    fn write(&self, settings: &str) {
        std::fs::write(self.0.path().join("a.toml"), settings).expect("written");
    }

    fn look(&mut self) -> Option<Stamp> {
        let found = scan(self.0.path(), &self.0.path().join("lock"));
        let stamp = found.expect("readable").remove("a.wasm");
        self.1.look(stamp.expect("there"));
        self.1.settled()
    }

    /// After how many looks it is taken.
    fn looks(&mut self) -> u32 {
        for look in 1..100 {
            if let Some(settled) = self.look() {
                self.1.taken = Some(settled);
                assert!(self.1.is_as_taken());
                assert!(self.look().is_none(), "once is enough");
                return look;
            }
        }
        panic!("never taken");
    }
}

#[test]
fn settings_do_not_lapse_while_they_are_written() {
    let mut stand = Stand::with("x = 1");
    stand.write("");
    for _ in 0..EMPTIED {
        assert!(stand.look().is_none());
    }
    stand.write("x = 27");
    assert_eq!(stand.looks(), 2);
}

#[test]
fn whoever_means_to_empty_or_remove_settings_is_believed() {
    let mut stand = Stand::with("x = 1");
    stand.write("");
    assert_eq!(stand.looks(), EMPTIED + 1);
    std::fs::remove_file(stand.0.path().join("a.toml")).expect("removed");
    assert_eq!(stand.looks(), 2, "there were none");
    stand.write("x = 1");
    assert_eq!(stand.looks(), 2);
    std::fs::remove_file(stand.0.path().join("a.toml")).expect("removed");
    assert_eq!(stand.looks(), EMPTIED + 1);
}

#[test]
fn a_file_that_is_missing_for_a_moment_is_not_gone() {
    let mut stand = Stand::with("x = 1");
    for _ in 0..2 {
        assert!(!stand.1.miss());
        assert!(!stand.1.miss());
        assert!(stand.look().is_none());
    }
    assert!(!stand.1.miss() && !stand.1.miss() && stand.1.miss());
}
