//! What an audit record says: a public part, and a personal part that can be forgotten by itself.
//!
//! Both are written with their members sorted by name and without blanks: that is the form that the
//! chain is made of, so that anybody can make it again from an exported record.

use serde::Serialize;

use crate::vault::Owner;

/// The members of the personal part, sorted.
pub(super) const PERSONAL: [&str; 8] = [
    "caller_email_hash",
    "caller_pool",
    "caller_role",
    "caller_sub",
    "client_id",
    "origin",
    "params_hash",
    "session_id",
];

/// What stays for as long as the record is kept. Members are in the order of their names.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "docs/audit.md describes each member")]
pub struct Public {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backends_filter: Option<Vec<String>>,
    pub dev_bypass: bool,
    pub error_code: Option<String>,
    pub latency_ms: f64,
    pub method: Option<&'static str>,
    /// Stands for the personal part in the chain. Set when the record is kept.
    pub personal_mac: String,
    /// The hash of the record before. Set when the record is kept.
    pub prev: String,
    pub protocol_version: Option<&'static str>,
    pub request_id: String,
    pub response_size: usize,
    pub scope_used: Option<String>,
    /// Set when the record is kept.
    pub sequence: u64,
    pub success: bool,
    pub target_app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_estimate: Option<usize>,
    pub tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools_listed: Option<usize>,
    pub ts: String,
}

/// What is about a person. Members are in the order of their names.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "docs/audit.md describes each member")]
pub struct Personal {
    pub caller_email_hash: Option<String>,
    pub caller_pool: Option<String>,
    pub caller_role: Option<String>,
    pub caller_sub: Option<String>,
    pub client_id: Option<String>,
    pub origin: Option<String>,
    pub params_hash: Option<String>,
    pub session_id: Option<String>,
}

/// A record that is not kept yet.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Whose record it is; nobody's before authentication.
    pub owner: Option<Owner>,
    /// What stays.
    pub public: Public,
    /// What can be forgotten.
    pub personal: Personal,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the members, in the order in which they are written.
    fn names(json: &str) -> Vec<String> {
        let mut names = Vec::new();
        for part in json.split("\":").filter_map(|part| part.rsplit('"').next()) {
            names.push(part.to_owned());
        }
        names.pop();
        names
    }

    #[test]
    fn members_are_written_sorted_and_without_blanks() {
        let public = Public {
            backends_filter: Some(Vec::new()),
            tokens_estimate: Some(1),
            tool_mode: Some("full"),
            tools_listed: Some(1),
            ..Public::default()
        };
        let public = serde_json::to_string(&public).expect("written");
        let personal = serde_json::to_string(&Personal::default()).expect("written");
        for json in [&public, &personal] {
            let names = names(json);
            assert!(names.is_sorted(), "{names:?}");
            assert!(!json.contains(' '), "{json}");
        }
        assert_eq!(names(&personal), PERSONAL);
        assert_eq!(names(&public).len(), 19);
    }
}
