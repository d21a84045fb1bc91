//! What stories need and should not have to say: databases, tenants, the application under test.

pub(crate) mod authz;
pub(crate) mod chromium;
pub(crate) mod clock;
pub(crate) mod database;
pub(crate) mod https;
pub(crate) mod issuer;
pub(crate) mod ledger;
pub(crate) mod logs;
pub(crate) mod packages;
pub(crate) mod pooler;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod servers;
pub(crate) mod shared;
pub(crate) mod somebody;
pub(crate) mod sql;
pub(crate) mod tenant;
pub(crate) mod word;
pub(crate) mod world;

pub(crate) use database::Database;
