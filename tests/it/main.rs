//! One test binary; its files are the layers.
mod api;
mod cli;
mod config;
mod lifecycle;
mod telemetry;
