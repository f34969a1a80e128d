//! The smallest backend adapter: it greets
