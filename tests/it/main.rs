//! One test binary; its files are the layers of tests, from the cheapest to the dearest.

mod cli;
mod config;
mod lifecycle;
mod origo_client;
mod origo_feed;
mod origo_http;
mod origo_simulator;
mod origo_stub;
mod origo_token;
mod simulator_endpoints;
mod simulator_faults;
mod simulator_http;
mod simulator_support;
mod store_contract;
mod telemetry;
