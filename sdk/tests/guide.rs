//! The guide for plugin authors tells no other story than the code.

const GUIDE: &str = include_str!("../../docs/plugin-authors.md");
const HELLO: &str = include_str!("../../examples/hello-backend/src/lib.rs");

#[test]
fn the_guide_shows_the_hello_backend_as_it_is() {
    assert!(GUIDE.contains(&format!("```rust\n{HELLO}```\n")));
}

#[test]
fn a_hello_backend_stays_small() {
    let is_code = |line: &&str| !line.trim().is_empty() && !line.starts_with("//");
    let lines = HELLO.lines().filter(is_code).count();
    assert!(lines <= 15, "{lines} lines of code");
}
