//! One test binary; its files are the layers of tests, from the cheapest to the dearest.

mod architecture;
mod cli;
mod config;
mod core_props;
mod core_table;
mod lifecycle;
mod simulator_endpoints;
mod simulator_faults;
mod simulator_http;
mod simulator_support;
mod store_contract;
mod support;
mod telemetry;
