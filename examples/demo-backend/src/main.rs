//! A small contract backend to try the gateway with
fn main() {}
