//! From one engine to the other and back.
