//! `cortex-gateway lock`, `diff` and `approve`: what may run and be offered, in one file.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Failed;
use crate::lock::{BadLock, Lock};
use crate::pipeline::{self, Gateway};

/// What is asked about the lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Locking {
    /// What runs and is offered now is all that may be.
    Lock,
    /// What is not as the lock says.
    Diff,
    /// These files of the plugin directory and these tools may be as they are; `None`: all.
    Approve(Option<Vec<String>>),
}

impl From<BadLock> for Failed {
    fn from(error: BadLock) -> Self {
        Self::Refused(error.to_string())
    }
}

pub(super) async fn run(gw: &Gateway, asked: Locking) -> Result<Value, Failed> {
    let path = gw.plugins.lock_file();
    match asked {
        Locking::Lock => {
            let plugins = gw.plugins.pins(None).map_err(Failed::Refused)?;
            let definitions = gw.integrity.lock(path).await?;
            let tools = count(&definitions);
            let lock = Lock::new(plugins, definitions);
            lock.write(path)?;
            for backend in gw.routes.keys() {
                gw.catalog.ask_again(backend);
            }
            Ok(
                json!({ "file": path.display().to_string(), "plugins": lock.plugins.len(), "tools": tools }),
            )
        }
        Locking::Diff => diff(gw).await,
        Locking::Approve(names) => {
            let mut lock = Lock::read(path)?.ok_or_else(no_lock)?;
            let (files, tools): (Vec<String>, Vec<String>) = match names {
                None => {
                    lock.plugins = gw.plugins.pins(None).map_err(Failed::Refused)?;
                    lock.write(path)?;
                    let approved = pipeline::approve(gw, None).await?;
                    return Ok(
                        json!({ "plugins": lock.plugins.keys().collect::<Vec<_>>(), "tools": approved }),
                    );
                }
                Some(names) => names.into_iter().partition(|name| name.ends_with(".wasm")),
            };
            let pins = gw.plugins.pins(Some(&files)).map_err(Failed::Refused)?;
            lock.plugins.extend(pins);
            lock.write(path)?;
            let approved = match tools.is_empty() {
                true => json!([]),
                false => json!(pipeline::approve(gw, Some(&tools)).await?),
            };
            Ok(json!({ "plugins": files, "tools": approved }))
        }
    }
}

async fn diff(gw: &Gateway) -> Result<Value, Failed> {
    let lock = Lock::read(gw.plugins.lock_file())?.ok_or_else(no_lock)?;
    let now = gw.plugins.pins(None).map_err(Failed::Refused)?;
    let mut plugins = Vec::new();
    for (file, pinned) in &now {
        let how = match lock.plugins.get(file) {
            None => "new",
            Some(known) if known.sha256 != pinned.sha256 => "changed",
            Some(known) if known.grants != pinned.grants => "granted something else",
            Some(_) => continue,
        };
        plugins.push(
            json!({ "file": file, "how": how, "now": pinned, "locked": lock.plugins.get(file) }),
        );
    }
    let gone = lock.plugins.keys().filter(|file| !now.contains_key(*file));
    plugins.extend(gone.map(|file| json!({ "file": file, "how": "gone" })));
    let report = gw.integrity.report().await;
    Ok(json!({ "plugins": plugins, "tools": report["changed"] }))
}

fn no_lock() -> Failed {
    Failed::Refused("nothing is locked; hint: `cortex-gateway lock`".to_owned())
}

fn count(definitions: &Value) -> usize {
    let backends = definitions["backends"].as_object().into_iter().flatten();
    backends
        .filter_map(|(_, tools)| tools.as_object())
        .map(serde_json::Map::len)
        .sum()
}
