//! Everything at once on one machine, for trying Roster without an Auth0 account or a database.

pub mod cluster;
