//! What several gateways share, with a real Redis and a real PostgreSQL: one list of what any engine does,
//! and what happens when it goes away.

mod engines;
mod leases;
mod rates;
mod servers;
mod tls;
