//! Tests: what is asked of the database, and what is made of its answers.

use cortex_plugin_sdk::testing;

use super::*;

fn records() -> [AuditRecord; 2] {
    [1, 2].map(|n| AuditRecord::new(n, format!(r#"{{"sequence":{n},"hash":"h{n}"}}"#)))
}

fn refused(sqlstate: &str) -> PostgresError {
    PostgresError::Refused(Refusal {
        statement: 0,
        sqlstate: sqlstate.into(),
        message: "no".into(),
    })
}

fn step(number: &str) -> Outcome {
    testing::rows(&["step"], &[&[Some(number)]])
}

#[test]
fn a_batch_is_one_value_of_one_statement() {
    testing::set_settings(r#"{"schema":"audit","gateway":"eu-1"}"#);
    let database = testing::database(|_| Ok(vec![step("1"), testing::affected(1)]));
    assert_eq!(Postgres::export_batch(&records()), Ok(2));
    let statements = database.statements();
    let [_, insert] = &statements[..] else {
        panic!("{statements:?}");
    };
    assert!(
        insert
            .text
            .starts_with("INSERT INTO \"audit\".\"cortex_audit\"")
    );
    let values: Vec<&str> = insert
        .parameters
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let batch = r#"[{"sequence":1,"hash":"h1"},{"sequence":2,"hash":"h2"}]"#;
    assert_eq!(values, [batch, "eu-1"]);
    assert_eq!(testing::counted("written"), 1);
    assert_eq!(testing::counted("known-already"), 1);
}

#[test]
fn what_is_not_there_is_made_and_the_batch_tried_again() {
    testing::set_settings("{}");
    let made = std::cell::Cell::new(false);
    let database = testing::database(move |statements| {
        let text = statements.last().map_or("", |statement| &statement.text);
        if text.starts_with("CREATE INDEX") {
            made.set(true);
            return Ok(Vec::new());
        }
        match (
            text.starts_with("INSERT INTO \"public\".\"cortex_audit\" "),
            made.get(),
        ) {
            (true, false) => Err(refused("42P01")),
            (true, true) => Ok(vec![step("1"), testing::affected(2)]),
            (false, _) => Ok(vec![step("0")]),
        }
    });
    assert_eq!(Postgres::export_batch(&records()), Ok(2));
    let texts: Vec<String> = database
        .statements()
        .into_iter()
        .map(|one| one.text)
        .collect();
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with("CREATE TABLE \"public\".\"cortex_audit\""))
    );
}

#[test]
fn whoever_refuses_is_told_and_nothing_counts_as_taken() {
    testing::set_settings("{}");
    for (error, told) in [
        (refused("42501"), "the database refuses (42501): no"),
        (PostgresError::Unavailable("away".into()), "away"),
        (PostgresError::NotGranted, "no database is granted"),
    ] {
        let _database = testing::database(move |_| Err(error.clone()));
        let Err(ExportError::Unavailable(why)) = Postgres::export_batch(&records()) else {
            panic!("{told}");
        };
        assert!(why.starts_with(told), "{why}");
    }
}

#[test]
fn old_records_go_in_chunks_and_persons_are_forgotten() {
    testing::set_settings("{}");
    let rows = std::cell::Cell::new(70_000);
    let database = testing::database(move |_| {
        let chunk = rows.get().min(50_000);
        rows.set(rows.get() - chunk);
        Ok(vec![testing::affected(chunk)])
    });
    assert_eq!(Postgres::purge("2026-01-01T00:00:00Z"), Ok(70_000));
    assert_eq!(database.statements().len(), 2);
    drop(database);
    let database = testing::database(|_| Ok(vec![testing::affected(3)]));
    assert_eq!(Postgres::erase(None, "o'brien"), Ok(3));
    let [statement] = &database.statements()[..] else {
        panic!("one statement");
    };
    assert_eq!(statement.parameters, [Some("o'brien".to_owned())]);
    assert!(
        statement
            .text
            .contains("params_hash = NULL WHERE caller_sub = $1")
    );
}

#[test]
fn no_nul_reaches_the_database() {
    for (json, kept) in [
        (r#"{"a":"b"}"#, r#"{"a":"b"}"#),
        (r#"{"a":"x\u0000y"}"#, r#"{"a":"x\ufffdy"}"#),
        (r#"{"a":"x\\u0000y\u0000"}"#, r#"{"a":"x\\u0000y\ufffd"}"#),
        (r#"{"a":"\"\u0000ü\n"}"#, r#"{"a":"\"\ufffdü\n"}"#),
    ] {
        assert_eq!(storable(json), kept);
    }
}

#[test]
fn a_schema_that_is_there_is_not_made() {
    testing::set_settings(r#"{"schema":"audit"}"#);
    let settings = read_settings().expect("settings");
    let texts: Vec<String> = schema::prepare(&settings)
        .into_iter()
        .map(|one| one.text)
        .collect();
    let making: Vec<&String> = texts
        .iter()
        .filter(|text| text.contains("CREATE SCHEMA"))
        .collect();
    let [making] = making[..] else {
        panic!("{texts:?}");
    };
    assert!(
        making.contains("IF to_regnamespace('\"audit\"') IS NULL THEN CREATE SCHEMA \"audit\";"),
        "{making}"
    );
}
