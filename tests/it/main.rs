//! One test binary; its files are the layers of tests, from the cheapest to the dearest.

mod cli;
mod config;
mod demo;
mod lifecycle;
mod process;
mod process_support;
mod simulator_endpoints;
mod simulator_faults;
mod simulator_http;
#[cfg(test)]
mod simulator_rules;
#[cfg(test)]
mod simulator_support;
mod store_contract;
mod telemetry;
