//! One test program; a module a story. `support` holds everything a story should not have to say.

mod support;

mod capture;
mod control;
mod database;
mod fold;
mod migrations;
mod plan;
