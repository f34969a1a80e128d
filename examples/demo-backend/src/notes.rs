//! The application: notes in memory. Knows nothing of HTTP, tokens or the gateway.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// At most this many notes are kept, so that nobody fills the memory.
const MOST_NOTES: usize = 1000;

/// All notes, by number.
#[derive(Debug)]
pub(crate) struct Notes {
    notes: BTreeMap<u64, Note>,
    next: u64,
}

/// One note.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) tags: Vec<String>,
    pub(crate) author: String,
}

impl Notes {
    /// A notebook with one note, so that there is something to read.
    pub(crate) fn new() -> Self {
        let first = Note {
            text: "Welcome. Ask for add_note to write another one.".to_owned(),
            tags: vec!["welcome".to_owned()],
            author: "demo-backend".to_owned(),
        };
        Self {
            notes: BTreeMap::from([(1, first)]),
            next: 2,
        }
    }

    /// Adds a note and answers its number, unless the notebook is full.
    pub(crate) fn add(&mut self, note: Note) -> Option<u64> {
        if self.notes.len() >= MOST_NOTES {
            return None;
        }
        let id = self.next;
        self.next += 1;
        self.notes.insert(id, note);
        Some(id)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Note> {
        self.notes.get(&id)
    }

    pub(crate) fn delete(&mut self, id: u64) -> bool {
        self.notes.remove(&id).is_some()
    }

    /// The newest notes first, only those with the tag if one is given.
    pub(crate) fn list<'a>(
        &'a self,
        tag: Option<&'a str>,
    ) -> impl Iterator<Item = (u64, &'a Note)> {
        self.notes
            .iter()
            .rev()
            .filter(move |(_, note)| tag.is_none_or(|tag| note.tags.iter().any(|own| own == tag)))
            .map(|(id, note)| (*id, note))
    }

    pub(crate) fn len(&self) -> usize {
        self.notes.len()
    }
}

impl Note {
    /// The note as JSON, with the number it has.
    pub(crate) fn to_json(&self, id: u64) -> Value {
        json!({
            "id": id,
            "text": self.text,
            "tags": self.tags,
            "author": self.author,
            "uri": format!("demo://notes/{id}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(tag: &str) -> Note {
        Note {
            text: "t".into(),
            tags: vec![tag.into()],
            author: "a".into(),
        }
    }

    #[test]
    fn newest_first_and_by_tag() {
        let mut notes = Notes::new();
        assert_eq!(notes.add(note("x")), Some(2));
        assert_eq!(notes.add(note("y")), Some(3));
        assert!(notes.delete(2));
        assert!(!notes.delete(2));
        assert_eq!(
            notes.add(note("x")),
            Some(4),
            "a number is never used twice"
        );
        let ids = |tag| notes.list(tag).map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(None), [4, 3, 1]);
        assert_eq!(ids(Some("x")), [4]);
        assert!(ids(Some("z")).is_empty());
    }

    #[test]
    fn a_full_notebook_takes_no_more() {
        let mut notes = Notes::new();
        while notes.len() < MOST_NOTES {
            assert!(notes.add(note("x")).is_some());
        }
        assert_eq!(notes.add(note("x")), None);
    }
}
