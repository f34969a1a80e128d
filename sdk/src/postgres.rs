//! Statements to a PostgreSQL database that the operator [granted](crate::Description::wants_postgres) by a
//! name. Backend adapters and audit exporters only.
//!
//! Values never become a part of a statement's text: they stand in for `$1`, `$2`, …, as text in the form
//! that PostgreSQL reads.
//!
//! ```
//! use cortex_plugin_sdk::postgres::{self, Statement};
//! use cortex_plugin_sdk::testing;
//!
//! let database = testing::database(|statements| {
//!     assert_eq!(statements[0].parameters, [Some("Bern".to_owned())]);
//!     Ok(vec![testing::rows(&["degrees"], &[&[Some("21")]])])
//! });
//! let asked = Statement::new("SELECT degrees FROM weather WHERE city = $1").with("Bern");
//! let outcomes = postgres::transaction("weather", vec![asked])?;
//! assert_eq!(outcomes[0].get(0, "degrees"), Some("21"));
//! assert_eq!(database.statements().len(), 1);
//! # Ok::<(), postgres::PostgresError>(())
//! ```

#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::postgres::transaction as host_transaction;
#[cfg(not(target_family = "wasm"))]
use crate::testing::transaction as host_transaction;

pub use crate::bindings::cortex::gateway::postgres::{Outcome, PostgresError, Refusal, Statement};

/// Executes statements in order, in one transaction: all of them or none. Should the connection break at its
/// very end they may have been done all the same, so let them be such that they can be repeated.
///
/// # Errors
///
/// When nothing is granted under this name, the database cannot be used or refused a statement, or a limit is
/// reached.
pub fn transaction(
    database: &str,
    statements: Vec<Statement>,
) -> Result<Vec<Outcome>, PostgresError> {
    host_transaction(database, &statements)
}

impl Statement {
    /// A statement, without values so far.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            parameters: Vec::new(),
        }
    }

    /// With one more value.
    #[must_use]
    pub fn with(mut self, value: impl Into<String>) -> Self {
        self.parameters.push(Some(value.into()));
        self
    }

    /// With one more value, or NULL.
    #[must_use]
    pub fn with_optional(mut self, value: Option<String>) -> Self {
        self.parameters.push(value);
        self
    }
}

impl Outcome {
    /// The value of a row, by the name of its column; `None` for NULL, too.
    #[must_use]
    pub fn get(&self, row: usize, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?.get(at)?.as_deref()
    }
}
