//! A database, faked for one thread.

use std::cell::RefCell;
use std::rc::Rc;

use crate::postgres::{Outcome, PostgresError, Statement};

type Answer = Box<dyn Fn(&[Statement]) -> Result<Vec<Outcome>, PostgresError>>;
type Seen = Rc<RefCell<Vec<Statement>>>;

thread_local! {
    static DATABASE: RefCell<Option<(Answer, Seen)>> = const { RefCell::new(None) };
}

/// Stands for the databases of this thread, until dropped.
pub struct Database(Seen);

/// Answers the transactions of this thread, whatever the name of the database.
pub fn database(
    answer: impl Fn(&[Statement]) -> Result<Vec<Outcome>, PostgresError> + 'static,
) -> Database {
    let seen = Seen::default();
    DATABASE.set(Some((Box::new(answer), Rc::clone(&seen))));
    Database(seen)
}

impl Database {
    /// All statements so far.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        self.0.borrow().clone()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        DATABASE.set(None);
    }
}

/// An outcome with rows.
#[must_use]
pub fn rows(columns: &[&str], rows: &[&[Option<&str>]]) -> Outcome {
    Outcome {
        affected: 0,
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        rows: rows
            .iter()
            .map(|row| row.iter().map(|value| value.map(str::to_owned)).collect())
            .collect(),
    }
}

/// An outcome of a statement that changed so many rows.
#[must_use]
pub fn affected(affected: u64) -> Outcome {
    Outcome {
        affected,
        columns: Vec::new(),
        rows: Vec::new(),
    }
}

pub(crate) fn transaction(
    _: &str,
    statements: &[Statement],
) -> Result<Vec<Outcome>, PostgresError> {
    DATABASE.with_borrow(|database| match database {
        None => Err(PostgresError::NotGranted),
        Some((answer, seen)) => {
            seen.borrow_mut().extend_from_slice(statements);
            answer(statements)
        }
    })
}
