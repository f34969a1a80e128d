//! Audit exporter: one JSON line per record on standard output
