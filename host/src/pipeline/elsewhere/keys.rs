//! Which key of the ring seals, while not all gateways have the same ring: one that everybody can open.
//!
//! So keys are rotated by starting one gateway after the other with the new key in front of the old one.
//! Until the last one has it, all of them seal with the old.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{debug, warn};

use crate::fleet::Shelf;
use crate::pipeline::Gateway;
use crate::seal::KeyId;

/// How long a gateway that said nothing more still counts.
const LIVES: Duration = Duration::from_secs(30);
/// Gateways that are looked at.
const MAX_GATEWAYS: usize = 1_000;

/// Says which keys are known here, and chooses the one that seals. While the others cannot be asked, the choice
/// stays.
pub(super) async fn agree(gw: &Gateway) {
    let own: Vec<u8> = gw.sealer.ring().flat_map(KeyId::bytes).collect();
    let name = gw.fleet.instance().to_string();
    let told = gw.fleet.put(Shelf::Keys, name.as_bytes(), own, LIVES).await;
    let rings = match told {
        Ok(()) => gw.fleet.all(Shelf::Keys, MAX_GATEWAYS).await,
        Err(away) => Err(away),
    };
    let Ok(rings) = rings else { return };
    let before = gw.sealer.sealing();
    let knows = |ring: &[u8], key| KeyId::read_all(ring).any(|known| known == key);
    let common = gw
        .sealer
        .seal_for(|key| rings.iter().all(|(_, ring)| knows(ring, key)));
    let now = gw.sealer.sealing();
    if before != now {
        debug!(key.id = %now, "another key seals, which all gateways have");
    }
    let said = &gw.elsewhere.no_common_key;
    if !said.swap(!common, Ordering::Relaxed) && !common {
        warn!(
            "another gateway has none of this one's keys: sessions and answers of clients do not pass between them; \
             hint: give all gateways the same CORTEX_STATE_KEY"
        );
    }
}
