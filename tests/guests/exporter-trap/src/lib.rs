//! An audit exporter that traps when it is given records.

use cortex_plugin_sdk::prelude::*;

struct Trap;

impl Exporter for Trap {
    fn export_batch(records: &[AuditRecord]) -> Result<usize, ExportError> {
        panic!("given {} records", records.len())
    }
}

cortex_plugin_sdk::export_exporter!(Trap);
