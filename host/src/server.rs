//! HTTP: the listener, the routes, and how outcomes become responses.

mod challenge;
mod descriptors;
mod listener;
mod respond;
mod routes;

pub use descriptors::raise as raise_descriptors;
pub use listener::{Listener, serve};
