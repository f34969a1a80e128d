//! Load generator, fast backend and raw hyper proxy for comparison
fn main() {}
