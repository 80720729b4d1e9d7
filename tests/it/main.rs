//! One test binary; its files are the layers.
mod cli;
mod config;
mod lifecycle;
mod telemetry;
