//! The Cortex Gateway host: one MCP server in front of many backends.
//!
//! Modules in reading order; each imports only from those above it.

pub mod repoll;
pub mod types;

pub mod config;
pub mod mcp;
pub mod measure;
pub mod outbound;
pub mod postgres;
pub mod trace;

pub mod seal;
pub mod store;

pub mod fleet;

pub mod ticket;

pub(crate) mod oauth_client;

pub mod oauth;
pub mod vault;

pub mod plugin;

pub mod account;

pub mod integrity;
pub mod lock;

pub mod audit;
pub mod catalog;
pub mod streams;

pub mod pipeline;

pub mod operator;
pub mod server;

pub mod app;
pub mod doctor;
pub mod stdio;

pub mod cli;
pub mod telemetry;
