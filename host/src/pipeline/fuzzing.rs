//! The header validator, for the fuzz targets. Not there in any other build.

use http::HeaderMap;

use super::{Refusal, parse, version};
use crate::mcp::jsonrpc::Request;
use crate::mcp::params::Params;
use crate::mcp::version::ProtocolVersion;

/// The revision by which a request with this header is served, checked as `POST /mcp` does it.
///
/// # Errors
/// Why it is refused.
pub fn era(headers: &HeaderMap, message: &Request) -> Result<ProtocolVersion, Refusal> {
    let header = match version::single(headers, version::HEADER)? {
        None => None,
        Some(text) => {
            let served = ProtocolVersion::parse(text);
            Some(served.ok_or(Refusal::UnsupportedVersion(text.to_owned()))?)
        }
    };
    let params = Params::parse(message.params.as_deref()).map_err(Refusal::InvalidParams)?;
    let meta = params.meta().map_err(Refusal::InvalidParams)?;
    parse::era(headers, header, message, &params, &meta)
}
