//! Protocol tests against a running gateway
