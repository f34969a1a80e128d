//! Callers who are the same to the policies that are loaded: they see the same, so what one of
//! them sees is worked out once.

use crate::plugin::Plugins;
use crate::types::{Principal, ScopeSet};

/// Callers who are the same to the policies that are loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    scopes: ScopeSet,
    /// Everything else, unless no policy looks at it.
    person: Option<Vec<Option<String>>>,
}

/// Whether what a caller sees stays the same for as long as the catalog does.
pub(super) fn lasts(plugins: &Plugins) -> bool {
    let timeless = ["scopes", "subject", "claims", "arguments"];
    let mut policies = plugins.policies.iter();
    policies.all(|policy| policy.reads_only(&timeless))
}

/// Whether who a caller is decides what the caller may use, whatever the arguments and the time.
pub(super) fn decides(plugins: &Plugins) -> bool {
    let person = ["scopes", "subject", "claims"];
    let mut policies = plugins.policies.iter();
    policies.all(|policy| policy.reads_only(&person))
}

/// Whom a caller is the same as.
pub(super) fn of(plugins: &Plugins, principal: &Principal) -> Group {
    let by_scopes = ["scopes", "arguments"];
    let scopes_only = plugins
        .policies
        .iter()
        .all(|policy| policy.reads_only(&by_scopes));
    let Principal {
        subject,
        issuer,
        client_id,
        email,
        name,
        role,
        pool,
        scopes,
        dev_bypass: _,
    } = principal;
    Group {
        scopes: scopes.clone(),
        person: (!scopes_only).then(|| {
            vec![
                Some(issuer.to_string()),
                Some(subject.to_string()),
                client_id.clone(),
                email.clone(),
                name.clone(),
                role.clone(),
                pool.clone(),
            ]
        }),
    }
}
