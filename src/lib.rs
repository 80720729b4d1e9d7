//! The map. (being written)
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod daemon;
pub mod demo;
pub mod engine;
pub mod lifecycle;
pub mod origo;
pub mod poller;
pub mod retry;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod worker;
