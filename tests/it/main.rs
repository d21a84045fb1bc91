//! One test program; a module a story. `support` holds everything a story should not have to say.

mod support;

mod adoption;
mod answers;
mod authz;
mod between;
mod capture;
mod cli;
mod clients;
mod control;
mod database;
mod demo;
mod emulator;
mod faults;
mod fold;
mod guard;
mod migrations;
mod mirror;
mod model;
mod persons;
mod plan;
mod readme;
mod rights;
mod tls;
mod turns;
mod wake;
mod walls;
mod word;
