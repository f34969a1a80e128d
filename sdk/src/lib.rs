//! Write Cortex Gateway plugins: a trait and one export line per kind
