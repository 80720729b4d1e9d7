//! The map of `origo-adapter`. Operators read README.md; this is for whoever changes the code.
//!
//! ```text
//!  Seam's SDKs, curl ──► api ────┐                           ┌─► identities  what is, and what is wanted
//!  HID's events ───────► poller ─┼──► observation ──► engine ┼─► journal     what happened
//!  HID's answers ──────► worker ─┘               (pure step) └─► effects     what is owed to HID
//!                           ▲                                       │
//!                           └────────── claim what is due ◄─────────┘
//! ```
//!
//! The circle, once round:
//!
//! - Whatever reaches us is first an **observation** of one **identity**: a wish of the API, an event of HID's feed,
//!   the answer or the failure of a call of our own, time that has passed.
//! - The **engine** alone changes identities. It loads one, calls [`core::step()`] and commits what follows from it:
//!   the identity, everything that is now owed, the journal. All in one transaction, again on a conflict.
//! - An **effect** is one call that is owed to HID. There is at most one in each **lane** of an identity, and all of
//!   them are computed afresh after each step, so nothing is ever queued twice, cancelled or reordered.
//! - A **worker** claims what is due, which makes the `sent` mark and takes a place in HID's window; then it performs
//!   the call and hands the result back as an observation. There is no other way to HID but the poller's reading.
//!
//! So a crash anywhere loses time and nothing else. What was claimed and has no result is an unknown outcome, and an
//! unknown outcome is read, never repeated blindly. Starting and recovering are the same code.
//!
//! The modules in reading order. Each may import those above it, where it needs them, and none below:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`core`] | every decision: identities, observations, effects, `step`. Pure: no clock, no I/O, imports nothing of ours |
//! | [`clock`] | the only reader of a clock |
//! | [`telemetry`] | the log: one line an event, from a closed list |
//! | [`retry`] | growing waits for what is not durable |
//! | [`template`] | texts with places for the fields of a record |
//! | [`rows`] | files of people: CSV, JSON, TOML |
//! | [`config`] | defaults ← file ← environment, and every complaint at once; the only reader of the environment |
//! | [`store`] | all that is durable, in verbs; `SQLite` and `PostgreSQL` |
//! | [`origo`] | the client of HID: one effect in, one answer or fault out; the only place that knows HID's wire |
//! | [`engine`] | load, step, commit |
//! | [`budget`] | HID's windows: what part of them is ours, and a place for each call |
//! | [`gate`] | whether a service of HID may be called now |
//! | [`manager`] | one HID organization as worker and poller share it: client, windows, gates, the feed's echo |
//! | [`worker`] | claims and performs |
//! | [`poller`] | reads HID's feed |
//! | [`adopt`] | takes over what HID has and the store does not know |
//! | [`stock`] | reads what is left of part numbers, and lets go of what waited for it |
//! | [`connector`] | tells access systems of keys: by HTTP, or by batches of files |
//! | [`callback`] | takes HID's callbacks: each wakes the pollers, and nothing of it is believed |
//! | [`webhook`] | tells the outside of events: claims deliveries, signs and posts them |
//! | [`sandbox`] | plays the app on a sandbox phone, against the simulator's control API |
//! | [`api`] | Seam's routes over HTTP, answered from the store alone (but for sandbox phones) |
//! | [`lifecycle`] | signals, draining, supervision, word to systemd |
//! | [`daemon`] | composes the above and lets them run; decides nothing |
//! | [`simulator`] | HID Origo played by an independent witness: imports nothing of ours and shares no code with us |
//! | [`demo`] | simulator, daemon and a scripted app in one process |
//! | [`cli`] | the command line; it and `demo` alone may import each other, for the options |
//!
//! Beside this crate, which forbids unsafe code, lies `heap/` with the one unsafe call there is.
//!
//! To add a call of HID: `core::effect`, what owes it in `core::plan`, how it is sent in `origo`. To add a route: one
//! entry in `api::routes` and a function. A new log line: `telemetry` and `docs/log-events.md`, held together by a test.

pub mod adopt;
pub mod api;
pub mod budget;
pub mod callback;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connector;
pub mod core;
pub mod daemon;
pub mod demo;
pub mod engine;
pub mod gate;
pub mod lifecycle;
pub mod manager;
pub mod origo;
pub mod poller;
pub mod retry;
pub mod rows;
pub mod sandbox;
pub mod simulator;
pub mod stock;
pub mod store;
pub mod telemetry;
pub mod template;
pub mod webhook;
pub mod worker;
