//! One test binary; its files are the layers of tests, from the cheapest to the dearest.

/// The model check and the simulation spend much of their time allocating; with the system's it is half as much again.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(test)]
mod announce;
#[cfg(test)]
mod api;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod callback_receiver;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod config;
#[cfg(test)]
mod core_answers;
#[cfg(test)]
mod core_drift;
#[cfg(test)]
mod core_failures;
#[cfg(test)]
mod core_feed;
#[cfg(test)]
mod core_hold;
#[cfg(test)]
mod core_index;
#[cfg(test)]
mod core_operator;
#[cfg(test)]
mod core_phones;
#[cfg(test)]
mod core_props;
#[cfg(test)]
mod core_prune;
#[cfg(test)]
mod core_races;
#[cfg(test)]
mod core_reads;
#[cfg(test)]
mod core_records;
#[cfg(test)]
mod core_regressed;
#[cfg(test)]
mod core_seen;
#[cfg(test)]
mod core_table;
#[cfg(test)]
mod core_tries;
#[cfg(test)]
mod core_wishes;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod discreet;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod loops;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod model;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod on_postgres;
#[cfg(test)]
mod online;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod operator_hold;
#[cfg(test)]
mod operator_reading;
#[cfg(test)]
mod origo_callbacks;
mod origo_client;
#[cfg(test)]
mod origo_feed;
#[cfg(test)]
mod origo_http;
#[cfg(test)]
mod origo_login;
#[cfg(test)]
mod origo_simulator;
#[cfg(test)]
mod origo_stub;
#[cfg(test)]
mod origo_token;
#[cfg(test)]
mod people;
#[cfg(test)]
mod phones;
#[cfg(test)]
mod power;
#[cfg(test)]
mod process;
#[cfg(test)]
mod process_support;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod restored;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod security;
#[cfg(test)]
mod several;
#[cfg(test)]
mod sick_disk;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod simulator_callbacks;
#[cfg(test)]
mod simulator_endpoints;
#[cfg(test)]
mod simulator_faults;
#[cfg(test)]
mod simulator_http;
#[cfg(test)]
mod simulator_rules;
#[cfg(test)]
mod simulator_support;
#[cfg(test)]
mod states;
#[cfg(test)]
mod stock_out;
#[cfg(test)]
mod store_contract;
#[cfg(test)]
mod support;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod unit;
#[cfg(test)]
mod webhook;
