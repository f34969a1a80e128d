//! One binary for all protocol tests: real gateway, real components, real HTTP.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot go on says what it expected"
)]

mod accounts;
mod audit;
mod audit_otlp;
mod audit_postgres;
mod audit_trail;
mod backend_http2;
mod backends;
mod balanced;
mod batches;
mod builtins;
mod canary;
mod cancellation;
mod component;
mod conformance;
mod deploy;
mod doctor;
mod eras;
mod federation;
mod fleet;
mod fleet_accounts;
mod fleet_catalog;
mod fleet_clients;
mod hostile;
mod idle;
mod instances;
mod integrity;
mod lifecycle;
mod limits;
mod link_attacks;
mod link_pages;
mod linking;
mod machine_identity;
mod mcp_servers;
mod messages;
mod metrics;
mod oauth;
mod oauth_flows;
mod openapi;
mod pages;
mod parked;
mod peers;
mod plugin_authors;
mod plugin_blame;
mod plugin_contained;
mod plugin_directory;
mod plugin_grants;
mod plugin_languages;
mod plugin_lines;
mod plugin_lock;
mod plugin_trust;
mod plugin_wasi_http;
mod plugins;
mod policies;
mod prompts;
mod rates;
mod real_servers;
mod rounds;
mod scopes;
mod sessions;
mod soak;
mod stdio;
mod store;
mod streams;
mod tickets;
mod tidy;
mod traces;
mod upgrades;
mod watches;
