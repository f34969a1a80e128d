//! Writes the C bindings of the contract, as `wit-bindgen c` does: for a machine where that is not
//! installed. Takes the folder of the contract, the world and where to write.

use std::path::Path;

use anyhow::{Context as _, bail};
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [contract, world, out] = arguments.as_slice() else {
        bail!("expected: CONTRACT WORLD OUT, such as wit/v0.2 backend-adapter target/relay-c");
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(contract)
        .with_context(|| format!("`{contract}` cannot be read"))?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    let options = wit_bindgen_c::Opts::default();
    let mut generator = options.build();
    generator.generate(&mut resolve, world, &mut files)?;
    std::fs::create_dir_all(out).with_context(|| format!("`{out}` cannot be made"))?;
    for (name, content) in files.iter() {
        let path = Path::new(out).join(name);
        std::fs::write(&path, content).with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}
