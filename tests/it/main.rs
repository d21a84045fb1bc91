//! One test program; a module a story. `support` holds everything a story should not have to say.

mod support;

mod adoption;
mod answers;
mod authz;
mod between;
mod blocks;
mod capture;
mod cli;
mod clients;
mod clocks;
mod control;
mod database;
mod demo;
mod emulator;
mod failover;
mod faults;
mod fold;
mod guard;
mod invitations;
mod migrations;
mod mirror;
mod persons;
mod plan;
mod poolers;
mod reactors;
mod readme;
mod restarts;
mod rights;
mod silence;
mod stopping;
mod tls;
mod turns;
mod wake;
mod walls;
mod word;
