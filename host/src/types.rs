//! Words of the domain, parsed once at the edge. Does no I/O and knows no other module.

mod hex;
mod id;
mod network;
mod principal;
mod scope;
mod secret;
pub mod signing;

pub use hex::hex;
pub use id::{BackendId, InvalidName, PluginName, RequestId, SessionId};
pub use network::{Network, NotANetwork, is_public};
pub use principal::{Issuer, Principal, Subject};
pub use scope::{InvalidScope, Scope, ScopeSet};
pub use secret::{AccessToken, InvalidKey, Key256, Secret};
