//! Looks at what the built component of each kind really imports and exports.

use std::error::Error;
use std::fs;
use std::path::Path;

use wit_component::DecodedWasm;

/// The interfaces that a component imports and those that it exports, sorted. Of its imports,
/// std's own (`wasi:…`) are not the SDK's affair.
fn interfaces(component: &Path) -> Result<[Vec<String>; 2], Box<dyn Error>> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&fs::read(component)?)?
    else {
        return Err("not a component".into());
    };
    let world = &resolve.worlds[world];
    Ok([&world.imports, &world.exports].map(|items| {
        let names = items.keys().map(|key| resolve.name_world_key(key));
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("wasi:")).collect();
        names.sort();
        names
    }))
}

fn check(package: &str, imports: &[&str], exports: &[&str]) -> Result<(), Box<dyn Error>> {
    let out = xtask::workspace::target_dir().join("components");
    let components = xtask::components::build(&[package], out)?;
    let expected = [imports, exports].map(|names| {
        let full = |name: &&str| format!("cortex:gateway/{name}@0.2.0");
        names.iter().map(full).collect::<Vec<_>>()
    });
    assert_eq!(interfaces(&components[0])?, expected, "{package}");
    Ok(())
}

/// A component exports its own world's interfaces, and imports those of them that it calls.
#[test]
fn a_component_is_of_one_kind() -> Result<(), Box<dyn Error>> {
    check("hello-backend", &["types"], &["backend", "plugin"])?;
    check(
        "backend-http",
        &["http", "log", "types"],
        &["backend", "plugin"],
    )?;
    check(
        "mischief",
        &[
            "client-log",
            "http",
            "kv",
            "log",
            "metrics",
            "progress",
            "settings",
            "types",
        ],
        &["backend", "plugin"],
    )?;
    check(
        "backend-mcp",
        &[
            "client-log",
            "client",
            "http",
            "log",
            "memory",
            "progress",
            "settings",
            "types",
        ],
        &["backend", "plugin"],
    )?;
    check("policy-scopes", &["types"], &["plugin", "policy"])?;
    check("audit-stdout", &["types"], &["exporter", "plugin"])
}
