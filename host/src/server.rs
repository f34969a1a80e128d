//! HTTP: the listener, the routes, and how outcomes become responses.

mod challenge;
mod connection;
mod listener;
mod pages;
mod respond;
mod routes;
mod socket;

pub use listener::{Listener, serve};
