//! What plugins wanted when they were last let in, by name: so that a version which wants more is noticed,
//! also after a restart.
//!
//! Gateways that share a store may let in two versions at the same moment. The last one let in is remembered, and
//! each is compared with the one remembered before it (`expect`): otherwise the smaller one could be overwritten
//! unseen by the larger one, and nobody would be asked about what that wants more. The union of both is not kept: it
//! would say yes to the larger one for good.

use super::grants::Want;
use crate::store::{Batch, Committed, Space, Store, StoreError, Table};
use crate::types::PluginName;

const WANTS: Table<Vec<Want>> = Table::new(Space::PluginWants, 1);

/// How often it is compared again when other gateways let in the same plugin.
const TRIES: usize = 8;

/// What a version wants beyond the one before it and beyond what `settles` has an answer to. Nothing: it is let in,
/// and remembered. `runs`: what the one wants that runs here, if one does; it is compared with that.
///
/// # Errors
/// [`StoreError`]; then it was compared with what runs here, and with nothing else.
pub(super) async fn beyond(
    store: Option<&Store>,
    name: &PluginName,
    wants: &[Want],
    runs: Option<&[Want]>,
    settles: impl Fn(&Want) -> bool,
) -> Result<Vec<Want>, StoreError> {
    let more = |known: &[Want]| {
        let mut more = Want::beyond(wants, known);
        more.retain(|want| !settles(want));
        more
    };
    let key = name.as_str().as_bytes();
    let here = runs.map(more).unwrap_or_default();
    let (Some(store), true) = (store, here.is_empty()) else {
        return Ok(here);
    };
    for _ in 0..TRIES {
        let before = WANTS.get(store, key).await?;
        if let Some(before) = &before {
            let more = match runs {
                None => more(&before.value),
                Some(_) => Vec::new(),
            };
            if !more.is_empty() || before.value == wants {
                return Ok(more);
            }
        }
        let mut batch = Batch::default();
        WANTS.expect(&mut batch, key, before.as_ref());
        WANTS.put(&mut batch, key, &wants.to_vec())?;
        if store.commit(batch).await? == Committed::Yes {
            return Ok(Vec::new());
        }
    }
    Err(StoreError::Contended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(origins: &[&str]) -> Vec<Want> {
        let wants = origins.iter();
        wants.map(|o| Want::Http(Some((*o).to_owned()))).collect()
    }

    #[tokio::test]
    async fn of_two_versions_at_the_same_time_each_is_compared_with_the_one_before_it() {
        let store = Store::temporary(None).await.expect("a store");
        let (small, large) = (wants(&["https://a"]), wants(&["https://a", "https://b"]));
        for n in 0..50 {
            let name: PluginName = format!("plugin-{n}").parse().expect("a name");
            let let_in = |wants| beyond(Some(&store), &name, wants, None, |_| false);
            let both = tokio::join!(let_in(&small), let_in(&large));
            let (first, second) = (both.0.expect("compared"), both.1.expect("compared"));
            assert_eq!(first, []);
            // Either it was the first, and the smaller one took its place, or somebody has to be asked.
            assert!(second.is_empty() || second == wants(&["https://b"]));
            let kept = WANTS.get(&store, name.as_str().as_bytes()).await;
            let kept = kept.expect("read").expect("there");
            assert_eq!(kept.value, small, "{n}");
        }
    }

    #[tokio::test]
    async fn what_runs_here_is_what_it_is_compared_with() {
        let store = Store::temporary(None).await.expect("a store");
        let name: PluginName = "plugin".parse().expect("a name");
        let (small, large) = (wants(&["https://a"]), wants(&["https://a", "https://b"]));
        let let_in = async |wants: &[Want], runs, settled: bool| {
            let more = beyond(Some(&store), &name, wants, runs, |_| settled).await;
            more.expect("compared").len()
        };
        assert_eq!(let_in(&small, None, false).await, 0);
        assert_eq!(let_in(&large, None, false).await, 1);
        assert_eq!(let_in(&large, Some(&small[..]), false).await, 1);
        assert_eq!(let_in(&large, Some(&large[..]), false).await, 0);
        assert_eq!(let_in(&small, None, false).await, 0);
        assert_eq!(let_in(&large, None, true).await, 0);
        assert_eq!(let_in(&large, None, false).await, 0);
    }
}
