//! Scope policy: a caller sees and calls what the scopes of the token name
