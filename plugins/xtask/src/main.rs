//! Builds the components, runs the demo, the tests and the benchmark
fn main() {}
