//! Everything that speaks to PostgreSQL. SQL stands here, in `sql/` and in `triggers/`, and nowhere else.

pub mod connect;
