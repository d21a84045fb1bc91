//! Roster keeps a PostgreSQL `users` table the source of truth for who may log in and what they may do.
//!
//! ```text
//!  psql, COPY, any SQL tool                                   Auth0 (or the emulator)
//!        │ commit                                                  ▲
//!        ▼                                                         │ one call a change
//!  users ──trigger──► roster.changes ──NOTIFY──► reactor: fold ► claim ► plan ► apply ► record
//!        │
//!        └──────────── roster.desired_users ◄── authz: GET /v1/me  (a JWT in, role and permissions out)
//! ```
//!
//! [`audit`] compares the rows with what Auth0 really has, now and then.
//!
//! The heart is three files: [`db::listener`] is woken, the view `roster.plan` (`triggers/plan.sql`) decides,
//! [`reactor`] joins them. Rooms are declared below in the order a newcomer should read them.
//!
//! Invariants, said as absences:
//! * What is to be done is decided in `roster.plan` and nowhere else; [`reactor::outcome`] does no I/O.
//! * SQL stands only in [`db`], `sql/` and `triggers/`; Auth0's field names only in `auth0::wire`.
//! * [`auth0`] does not know the database, [`db`] does not know HTTP, [`emulator`] does not import [`auth0`].
//! * No transaction is open while Auth0 is called.

pub mod user;

pub mod db;

pub mod reactor;

pub mod auth0;

pub mod audit;

pub mod authz;

pub mod import;

pub mod doctor;

pub mod service;

pub mod console;

pub mod config;
pub mod http;
pub mod progress;
pub mod supervision;
pub mod telemetry;

pub mod emulator;

pub mod cli;
pub mod demo;
