//! What PostgreSQL and Redis were asked, as they count it themselves.

use std::ops::Sub;

use cortex_tests::Fleet;
use cortex_tests::postgres::Postgres;

/// Whose questions to PostgreSQL are ours.
const OURS: &str = "query NOT LIKE '%pg_stat%' AND query NOT LIKE '%to_leave_out%'";

/// How much both were asked up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) statements: f64,
    pub(crate) commands: f64,
}

impl Asked {
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let sql = format!("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE {OURS}");
        let statements = fleet.postgres.query(&sql);
        let commands = commands(fleet).iter().map(|(_, calls)| calls).sum();
        Self {
            statements: statements[0].parse().expect("a number"),
            commands,
        }
    }
}

impl Sub for Asked {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            statements: self.statements - before.statements,
            commands: self.commands - before.commands,
        }
    }
}

/// Redis's commands and how often each was given; not those that only look at it.
fn commands(fleet: &Fleet) -> Vec<(String, f64)> {
    let Some(redis) = &fleet.redis else {
        return Vec::new();
    };
    let stats = redis.command(&["INFO", "commandstats"]);
    let lines = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        Some((name.to_owned(), calls))
    });
    lines
        .filter(|(name, _)| !matches!(name.as_str(), "info" | "auth" | "hello" | "ping"))
        .collect()
}

/// Connections that gateways have open to PostgreSQL.
pub(crate) fn connections(postgres: &Postgres) -> String {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    postgres.query(sql)[0].clone()
}

/// The most frequent questions to both.
pub(crate) fn details(fleet: &Fleet) -> String {
    let sql = format!(
        "SELECT calls, round(mean_exec_time::numeric, 3), left(regexp_replace(query, '\\s+', ' ', 'g'), 110) \
         FROM pg_stat_statements WHERE {OURS} ORDER BY calls DESC LIMIT 12"
    );
    let mut lines = vec!["    calls | mean ms | statement".to_owned()];
    lines.extend(
        fleet
            .postgres
            .query(&sql)
            .iter()
            .map(|row| format!("    {row}")),
    );
    let mut commands = commands(fleet);
    commands.sort_by(|a, b| b.1.total_cmp(&a.1));
    let commands: Vec<String> = { commands.iter() }
        .map(|(name, calls)| format!("{name} {calls}"))
        .collect();
    lines.push(format!("    Redis: {}", commands.join(", ")));
    lines.join("\n")
}
