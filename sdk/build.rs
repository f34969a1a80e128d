//! Encodes what a component of each world imports and exports, for the export macros to embed.
//!
//! `wit_bindgen::generate!` would embed this too, but it ties one invocation to one world, and
//! this crate serves all of them with one set of types.

use std::{env, error::Error, fs, path::Path};

use wit_component::{StringEncoding, metadata};
use wit_parser::Resolve;

const WIT: &str = "../wit/v0.2";
const WORLDS: [&str; 4] = [
    "backend-adapter",
    "scope-policy",
    "audit-exporter",
    "audit-keeper",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={WIT}");
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(WIT)?;
    for name in WORLDS {
        let world = resolve.select_world(&[package], Some(name))?;
        let encoded = metadata::encode(&resolve, world, StringEncoding::UTF8, None)?;
        fs::write(Path::new(&out).join(name), encoded)?;
    }
    Ok(())
}
