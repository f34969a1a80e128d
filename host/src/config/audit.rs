//! `CORTEX_AUDIT_DURABILITY`, `CORTEX_AUDIT_SPOOL_MIB`, `CORTEX_AUDIT_SPOOL_FULL` and
//! `CORTEX_AUDIT_RETENTION_DAYS`.

use std::time::Duration;

use super::vars::Vars;

/// How the audit trail is kept.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// What an answer waits for.
    pub durability: Durability,
    /// How long all files of the trail may be together.
    pub spool_bytes: u64,
    /// What happens when there is no room.
    pub when_full: WhenFull,
    /// How long records are kept that every exporter has taken.
    pub retention: Duration,
}

/// What an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Its record has been handed to the operating system.
    Answered,
    /// Nothing.
    Batched,
}

/// What happens when there is no room for records that exporters have not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Requests are refused.
    Refuse,
    /// The oldest records are given up.
    DropOldest,
}

pub(super) fn read(vars: &mut Vars<'_>) -> AuditConfig {
    const MIB: u64 = 1024 * 1024;
    const DAY: u64 = 24 * 3600;
    AuditConfig {
        durability: vars.choice(
            "CORTEX_AUDIT_DURABILITY",
            &[
                ("answered", Durability::Answered),
                ("batched", Durability::Batched),
            ],
            Durability::Answered,
        ),
        spool_bytes: vars.number::<u64>("CORTEX_AUDIT_SPOOL_MIB", 1024, 1..=1_048_576) * MIB,
        when_full: vars.choice(
            "CORTEX_AUDIT_SPOOL_FULL",
            &[
                ("refuse", WhenFull::Refuse),
                ("drop-oldest", WhenFull::DropOldest),
            ],
            WhenFull::Refuse,
        ),
        retention: Duration::from_secs(
            vars.number::<u64>("CORTEX_AUDIT_RETENTION_DAYS", 365, 1..=36_500) * DAY,
        ),
    }
}
