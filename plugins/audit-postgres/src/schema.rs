//! The table, and how an older one becomes it.

use cortex_plugin_sdk::postgres::Statement;

use crate::settings::Settings;

/// What was done to the schema, step by step: a database that has had the first so many is given the rest.
/// What stands here never changes; what is new is added at the end. `{table}` is the table.
const STEPS: [&[&str]; 1] = [&[
    "CREATE TABLE {table} (
        hash text PRIMARY KEY,
        prev text,
        personal_mac text,
        sequence bigint NOT NULL,
        gateway text NOT NULL,
        ts timestamptz NOT NULL,
        request_id text,
        method text,
        tool text,
        target_app text,
        scope_used text,
        success boolean NOT NULL,
        error_code text,
        latency_ms double precision,
        response_size bigint,
        protocol_version text,
        dev_bypass boolean,
        tools_listed bigint,
        tokens_estimate bigint,
        tool_mode text,
        backends_filter jsonb,
        caller_sub text,
        caller_email_hash text,
        caller_role text,
        caller_pool text,
        client_id text,
        session_id text,
        origin text,
        params_hash text,
        more jsonb
    )",
    "CREATE INDEX ON {table} (ts)",
    "CREATE INDEX ON {table} (caller_sub, ts)",
    "CREATE INDEX ON {table} (tool, ts)",
    "CREATE INDEX ON {table} (request_id)",
    "CREATE INDEX ON {table} (gateway, sequence)",
]];

/// Columns that are members of a record, with their types.
pub(crate) const MEMBERS: [(&str, &str); 28] = [
    ("hash", "text"),
    ("prev", "text"),
    ("personal_mac", "text"),
    ("sequence", "bigint"),
    ("ts", "timestamptz"),
    ("request_id", "text"),
    ("method", "text"),
    ("tool", "text"),
    ("target_app", "text"),
    ("scope_used", "text"),
    ("success", "boolean"),
    ("error_code", "text"),
    ("latency_ms", "double precision"),
    ("response_size", "bigint"),
    ("protocol_version", "text"),
    ("dev_bypass", "boolean"),
    ("tools_listed", "bigint"),
    ("tokens_estimate", "bigint"),
    ("tool_mode", "text"),
    ("backends_filter", "jsonb"),
    ("caller_sub", "text"),
    ("caller_email_hash", "text"),
    ("caller_role", "text"),
    ("caller_pool", "text"),
    ("client_id", "text"),
    ("session_id", "text"),
    ("origin", "text"),
    ("params_hash", "text"),
];

/// Columns about a person: what `erase` takes away.
pub(crate) const PERSONAL: [&str; 8] = [
    "caller_sub",
    "caller_email_hash",
    "caller_role",
    "caller_pool",
    "client_id",
    "session_id",
    "origin",
    "params_hash",
];

/// How many steps there are.
pub(crate) fn latest() -> usize {
    STEPS.len()
}

/// Asks how many steps the database has had.
pub(crate) fn version(settings: &Settings) -> Statement {
    let steps = settings.steps();
    Statement::new(format!(
        "SELECT coalesce(max(step), 0)::bigint AS step FROM {steps}"
    ))
}

/// Makes room for the notes of what was done, and waits until nobody else is at it.
pub(crate) fn prepare(settings: &Settings) -> Vec<Statement> {
    let (schema, steps) = (settings.quoted_schema(), settings.steps());
    vec![
        // The same for all gateways that write to this table, and for nothing else.
        Statement::new("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))::text")
            .with(settings.full_name()),
        // `IF NOT EXISTS` would ask for the right to make schemas even where this one is there.
        Statement::new(format!(
            "DO $$ BEGIN IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA {schema}; END IF; END $$"
        )),
        Statement::new(format!(
            "CREATE TABLE IF NOT EXISTS {steps} (step bigint PRIMARY KEY, done timestamptz NOT NULL DEFAULT now())"
        )),
    ]
}

/// Does the steps that the database, having had so many, has not had, and notes it.
pub(crate) fn migrate(settings: &Settings, had: usize) -> Vec<Statement> {
    let (table, steps) = (settings.quoted_table(), settings.steps());
    let mut statements = vec![
        Statement::new("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))::text")
            .with(settings.full_name()),
    ];
    for (number, step) in STEPS.iter().enumerate().skip(had) {
        // Refused when somebody else was faster; then it is there.
        let note = format!("INSERT INTO {steps} (step) VALUES ($1::text::bigint)");
        statements.push(Statement::new(note).with((number + 1).to_string()));
        statements.extend(
            step.iter()
                .map(|text| Statement::new(text.replace("{table}", &table))),
        );
    }
    statements
}
