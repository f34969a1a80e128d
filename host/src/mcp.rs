//! MCP on the wire: JSON-RPC messages, protocol revisions, header rules. Does no I/O.

pub mod capabilities;
pub mod events;
pub mod header;
pub mod json;
pub mod jsonrpc;
pub mod log_level;
pub mod method;
pub mod param_header;
pub mod params;
pub mod sse;
pub mod version;
