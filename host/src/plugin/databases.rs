//! The `postgres` import: statements to databases that the operator granted.

use super::instance::State;
use super::v0_2::adapter::cortex::gateway::postgres::{
    Host, Outcome, PostgresError, Refusal, Statement,
};
use crate::postgres::{Database, PostgresError as Failed, Statement as Plain};

/// Most statements of one call of the import.
const MOST_STATEMENTS: usize = 1_000;
/// Words with which a statement would end or divide the transaction that it is a part of.
const CONTROL: [&str; 9] = [
    "abort",
    "begin",
    "commit",
    "end",
    "prepare",
    "release",
    "rollback",
    "savepoint",
    "start",
];
/// Most parameters of one statement: what the protocol can count.
const MOST_PARAMETERS: usize = 65_535;

impl State {
    /// A granted database, and how many bytes of rows may come back. Counts the exchange.
    fn database(&mut self, name: &str) -> Result<(Database, usize), PostgresError> {
        let profile = &self.profile;
        let database = profile.grants.database(name).cloned();
        let database = database.ok_or(PostgresError::NotGranted)?;
        let most = profile.limits.max_result_bytes;
        // Outside a call there is nothing to count by, and nothing may be asked for.
        let egress = self.outgoing.egress.as_mut();
        let egress = egress.ok_or(PostgresError::NotGranted)?;
        egress.exchanges_left = egress.exchanges_left.checked_sub(1).ok_or_else(|| {
            PostgresError::LimitExceeded("no more exchanges in this call".to_owned())
        })?;
        profile.meter.exchanged();
        Ok((database, most))
    }
}

impl Host for State {
    async fn transaction(
        &mut self,
        database: String,
        statements: Vec<Statement>,
    ) -> Result<Vec<Outcome>, PostgresError> {
        let (database, most) = self.database(&database)?;
        check(&statements)?;
        let statements: Vec<Plain> = statements
            .into_iter()
            .map(|statement| Plain {
                text: statement.text,
                parameters: statement.parameters,
            })
            .collect();
        let outcomes = database.transaction(&statements, most).await;
        let outcomes = outcomes.map_err(|error| failed(&error, &self.profile.name))?;
        let rows = outcomes
            .iter()
            .flat_map(|outcome| outcome.rows.iter().flatten());
        let received = rows
            .map(|value| value.as_ref().map_or(0, String::len))
            .sum();
        self.profile.meter.received(received);
        Ok(outcomes
            .into_iter()
            .map(|outcome| Outcome {
                affected: outcome.affected,
                columns: outcome.columns,
                rows: outcome.rows,
            })
            .collect())
    }
}

fn check(statements: &[Statement]) -> Result<(), PostgresError> {
    if statements.len() > MOST_STATEMENTS {
        let why = format!("more than {MOST_STATEMENTS} statements at a time");
        return Err(PostgresError::LimitExceeded(why));
    }
    for statement in statements {
        if statement.parameters.len() > MOST_PARAMETERS {
            let why = format!("more than {MOST_PARAMETERS} parameters in a statement");
            return Err(PostgresError::LimitExceeded(why));
        }
        if let Some(word) = control(&statement.text) {
            let why = format!("`{word}`: a call is one transaction, and ends by itself");
            return Err(PostgresError::Invalid(why));
        }
        let mut texts = statement.parameters.iter().flatten();
        if statement.text.contains('\0') || texts.any(|text| text.contains('\0')) {
            let why = "PostgreSQL has no texts with a NUL character".to_owned();
            return Err(PostgresError::Invalid(why));
        }
    }
    Ok(())
}

/// The word of a statement that has to do with transactions, if it begins with one.
fn control(text: &str) -> Option<&'static str> {
    let blank = |c: char| c.is_whitespace() || c == ';';
    let mut text = text.trim_start_matches(blank);
    while let Some(rest) = comment(text) {
        text = rest.trim_start_matches(blank);
    }
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next()?;
    let mut known = CONTROL.into_iter();
    known.find(|known| word.eq_ignore_ascii_case(known))
}

/// What follows a comment at the beginning.
fn comment(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix("--") {
        return Some(rest.split_once('\n').map_or("", |(_, after)| after));
    }
    // Comments of this kind may stand within each other.
    let mut rest = text.strip_prefix("/*")?;
    let mut depth = 1;
    while depth > 0 {
        rest = rest.split_at_checked(rest.find(['/', '*'])?)?.1;
        let (length, step) = match rest.get(..2) {
            Some("/*") => (2, 1),
            Some("*/") => (2, -1),
            _ => (1, 0),
        };
        rest = rest.get(length..)?;
        depth += step;
    }
    Some(rest)
}

fn failed(error: &Failed, plugin: &crate::types::PluginName) -> PostgresError {
    match error {
        Failed::Unavailable(why) => {
            // Why a server cannot be reached is for the operator, who knows where it is.
            tracing::warn!(plugin.name = %plugin, "a database that is granted to the plugin cannot be used now: {why}");
            PostgresError::Unavailable("the database cannot be used now".to_owned())
        }
        Failed::Refused {
            statement,
            sqlstate,
            message,
        } => PostgresError::Refused(Refusal {
            statement: u32::try_from(*statement).unwrap_or(u32::MAX),
            sqlstate: sqlstate.clone(),
            message: message.clone(),
        }),
        Failed::Invalid { .. } => PostgresError::Invalid(error.to_string()),
        Failed::TooLarge(_) => PostgresError::LimitExceeded(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_ends_its_transaction() {
        for (text, word) in [
            ("COMMIT", Some("commit")),
            (" ; rollback to x", Some("rollback")),
            ("-- innocent\nEND", Some("end")),
            ("/* a /* b */ c */ Begin", Some("begin")),
            ("/* open", None),
            ("SELECT 'commit'", None),
            ("UPDATE ends SET commit = 1", None),
            ("", None),
        ] {
            assert_eq!(control(text), word, "{text}");
        }
    }

    #[test]
    fn what_postgresql_cannot_take_is_not_sent() {
        let statement = |text: &str, parameter: &str| Statement {
            text: text.to_owned(),
            parameters: vec![Some(parameter.to_owned())],
        };
        assert!(check(&[statement("SELECT $1", "fine")]).is_ok());
        for bad in [
            statement("SELECT $1", "a\0b"),
            statement("SELECT\0", "x"),
            statement("COMMIT", "x"),
        ] {
            assert!(matches!(check(&[bad]), Err(PostgresError::Invalid(_))));
        }
        let many = vec![statement("SELECT 1", "x"); MOST_STATEMENTS + 1];
        assert!(matches!(check(&many), Err(PostgresError::LimitExceeded(_))));
    }
}
