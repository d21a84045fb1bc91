//! One test program; a module a story. `support` holds everything a story should not have to say.

mod support;

mod authz;
mod capture;
mod database;
mod demo;
mod emulator;
mod migrations;
mod mirror;
mod tls;
