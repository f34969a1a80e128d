//! HTTP: the listener, the routes, and how outcomes become responses.

mod challenge;
mod listener;
mod respond;
mod routes;

pub use listener::{Listener, serve};
