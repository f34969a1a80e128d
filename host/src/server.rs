//! HTTP: the listener, the routes, and how outcomes become responses.

mod admin;
mod challenge;
mod connection;
mod contract;
mod cron;
mod descriptors;
mod links;
mod listener;
mod pages;
mod respond;
mod routes;
mod socket;

pub use descriptors::raise as raise_descriptors;
pub use listener::{Listener, serve, serve_operators};
#[doc(hidden)]
pub use respond::written;
