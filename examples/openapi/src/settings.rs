//! What the operator has set: for all backends of this adapter, and for single ones.

use std::collections::BTreeMap;

use cortex_plugin_sdk::backend::code;
use cortex_plugin_sdk::prelude::*;
use serde::Deserialize;

/// What holds for one backend.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Settings {
    document: Option<String>,
    /// Path below the base URL, instead of what the document says.
    pub(crate) base: Option<String>,
    output_schemas: Option<bool>,
    scopes: Option<Scopes>,
    include: Option<Selection>,
    exclude: Option<Selection>,
    backends: BTreeMap<String, Settings>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Scopes {
    read: Option<String>,
    write: Option<String>,
    operation: bool,
}

/// Some of the operations of a document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Selection {
    tags: Option<Vec<String>>,
    operations: Option<Vec<String>>,
    methods: Option<Vec<String>>,
}

impl Settings {
    /// Those for this backend: its own, then those for all.
    pub(crate) fn of(target: &Target) -> Result<Self, CallError> {
        let mut all: Self = settings::read().map_err(|error| {
            let message = format!("Backend {} is misconfigured: {error}", target.id);
            CallError::failed(code::UNAVAILABLE, message)
        })?;
        let own = all.backends.remove(&target.id).unwrap_or_default();
        Ok(Self {
            document: own.document.or(all.document),
            base: own.base.or(all.base),
            output_schemas: own.output_schemas.or(all.output_schemas),
            scopes: own.scopes.or(all.scopes),
            include: own.include.or(all.include),
            exclude: own.exclude.or(all.exclude),
            backends: BTreeMap::new(),
        })
    }

    /// Where the document is: a path, or a URL.
    pub(crate) fn document(&self) -> &str {
        self.document.as_deref().unwrap_or("/openapi.json")
    }

    /// Whether tools say what they return.
    pub(crate) fn output_schemas(&self) -> bool {
        self.output_schemas.unwrap_or(true)
    }

    /// Whether the document may name the scopes of an operation.
    pub(crate) fn scopes_of_operations(&self) -> bool {
        self.scopes.as_ref().is_some_and(|scopes| scopes.operation)
    }

    /// The scope of what reads, or of what does not.
    pub(crate) fn scope(&self, target: &Target, reads: bool) -> String {
        let scopes = self.scopes.as_ref();
        let (set, kind) = match reads {
            true => (scopes.and_then(|scopes| scopes.read.clone()), "read"),
            false => (scopes.and_then(|scopes| scopes.write.clone()), "write"),
        };
        set.unwrap_or_else(|| format!("mcp:{}:{kind}", target.id))
    }

    /// Whether an operation is wanted: named by each list of `include`, and by none of `exclude`.
    pub(crate) fn wants(&self, tags: &[String], id: Option<&str>, method: &str) -> bool {
        let named = |selection: &Selection| {
            let has = |list: &Option<Vec<String>>, is: &dyn Fn(&String) -> bool| {
                list.as_ref().map(|list| list.iter().any(is))
            };
            [
                has(&selection.tags, &|tag| tags.contains(tag)),
                has(&selection.operations, &|name| id == Some(name.as_str())),
                has(&selection.methods, &|name| name == method),
            ]
        };
        let included = self.include.as_ref().map(named).unwrap_or_default();
        let excluded = self.exclude.as_ref().map(named).unwrap_or_default();
        !included.contains(&Some(false)) && !excluded.contains(&Some(true))
    }
}
