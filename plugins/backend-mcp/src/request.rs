//! A request as its caller meant it, before an era gives it its form.

use cortex_plugin_sdk::backend::{HeaderArgument, RequestContext};
use cortex_plugin_sdk::json::{self, Json, Members};

use crate::wire;

/// `_meta` key of the protocol version.
const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta` key of the client's name and version.
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// `_meta` key of what the client can be asked for.
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `_meta` key of the least severe log message that the client wants.
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// `_meta` key by which progress is asked for.
const PROGRESS_TOKEN: &str = "progressToken";

/// For whom a request is made.
#[derive(Clone, Copy)]
pub(crate) enum Asker<'a> {
    /// For the gateway itself.
    Gateway,
    /// For a client of which nothing is known.
    Client,
    /// For a client that says more about itself.
    Known(&'a RequestContext),
}

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    /// `params.name` or `params.uri` of the methods that have a header for it.
    pub(crate) name: Option<&'a str>,
    /// Members of `params` besides `_meta`.
    pub(crate) params: Vec<(&'static str, Json)>,
    /// Arguments that travel as headers, too.
    pub(crate) headers: &'a [HeaderArgument],
    pub(crate) asker: Asker<'a>,
}

impl<'a> Request<'a> {
    /// A request without parameters of its own.
    pub(crate) fn new(method: &'static str, asker: Asker<'a>) -> Self {
        Self {
            method,
            name: None,
            params: Vec::new(),
            headers: &[],
            asker,
        }
    }

    /// The least severe log message that is wanted.
    pub(crate) fn log_level(&self) -> Option<&'a str> {
        match self.asker {
            Asker::Known(context) => context.log_level.as_deref(),
            Asker::Gateway | Asker::Client => None,
        }
    }

    /// `params` for a server of the modern era.
    pub(crate) fn modern_params(&self, version: &str, id: u64) -> Json {
        let (info, capabilities) = match self.asker {
            Asker::Known(context) => (
                context.client_info.clone(),
                context.client_capabilities.clone(),
            ),
            Asker::Gateway | Asker::Client => (None, "{}".into()),
        };
        let mut meta = self.forwarded_meta(id);
        meta.push((PROTOCOL_VERSION.into(), json::quote(version)));
        meta.push((CLIENT_INFO.into(), info.unwrap_or_else(gateway)));
        meta.push((CLIENT_CAPABILITIES.into(), capabilities));
        if let Some(level) = self.log_level() {
            meta.push((LOG_LEVEL.into(), json::quote(level)));
        }
        self.params_with(&meta)
    }

    /// `params` for a server of the legacy era.
    pub(crate) fn legacy_params(&self, id: u64) -> Json {
        self.params_with(&self.forwarded_meta(id))
    }

    /// What the client sent for the backend, and the gateway's own progress token: progress is
    /// asked for even when the client does not want it, because it tells that the server is alive.
    fn forwarded_meta(&self, id: u64) -> Vec<(String, Json)> {
        let mut meta = Vec::new();
        if let Asker::Known(context) = self.asker
            && let Ok(members) = Members::parse(&context.meta)
        {
            let forwarded = members.into_iter().filter(|(name, _)| {
                !name.starts_with("io.modelcontextprotocol/") && name != PROGRESS_TOKEN
            });
            meta.extend(forwarded.map(|(name, raw)| (name, raw.get().to_owned())));
        }
        if !matches!(self.asker, Asker::Gateway) {
            meta.push((PROGRESS_TOKEN.into(), id.to_string()));
        }
        meta
    }

    fn params_with(&self, meta: &[(String, Json)]) -> Json {
        let members = self.params.iter().cloned();
        let meta = meta.iter().map(|(name, raw)| (name.as_str(), raw.clone()));
        let meta = wire::object(meta);
        wire::object(members.chain((meta != "{}").then_some(("_meta", meta))))
    }
}

/// The gateway as MCP `Implementation`.
pub(crate) fn gateway() -> Json {
    format!(
        r#"{{"name":"cortex-gateway","version":"{}"}}"#,
        env!("CARGO_PKG_VERSION")
    )
}
