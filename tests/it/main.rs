//! One test binary; its files are the layers.
mod config;
