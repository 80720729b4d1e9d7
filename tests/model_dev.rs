#![allow(dead_code, clippy::all)]
#[path = "it/support/mod.rs"]
mod support;
#[path = "it/model/mod.rs"]
mod model;
#[path = "it/core_races.rs"]
mod core_races;
#[path = "it/core_table.rs"]
mod core_table;
#[path = "it/core_wishes.rs"]
mod core_wishes;
