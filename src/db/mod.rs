//! The database: how to get in, how to install, how to be woken, and every statement the program makes.

pub mod connect;
pub mod migrate;
