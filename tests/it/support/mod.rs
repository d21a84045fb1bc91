//! What stories need and should not have to say: databases, tenants, the application under test.

pub(crate) mod database;
pub(crate) mod https;
pub(crate) mod issuer;
pub(crate) mod logs;
pub(crate) mod packages;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod shared;
pub(crate) mod sql;
pub(crate) mod tenant;
pub(crate) mod word;
pub(crate) mod world;

pub(crate) use database::Database;
