//! One test binary; its files are the layers of tests, from the cheapest to the dearest.

mod cli;
mod config;
mod lifecycle;
mod store_contract;
mod telemetry;
