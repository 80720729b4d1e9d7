//! The HTTP API, in process over an in-memory store: bodies, dialects, errors, pages, and twice the same.

mod adapter;
mod apply;
mod broken;
mod changes;
mod dialect;
mod errors;
mod events;
mod flows;
mod hold;
mod operate;
mod pages;
mod people;
mod reading;
mod replays;
mod sandbox;
mod schema;
mod serving;
mod sessions;
mod shapes;
pub(crate) mod support;
