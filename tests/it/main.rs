//! One binary for all protocol tests: real gateway, real components, real HTTP.

mod audit;
mod backends;
mod eras;
mod lifecycle;
mod messages;
mod plugins;
mod scopes;
