//! One binary for all protocol tests: real gateway, real components, real HTTP.

mod audit;
mod backends;
mod component;
mod eras;
mod lifecycle;
mod messages;
mod oauth;
mod peers;
mod plugins;
mod scopes;
