//! The entries as a library, so that they are built once for all targets.

// What the tests share among themselves is more than is needed here.
#![allow(dead_code, unused_imports)]

#[path = "../entries/mod.rs"]
mod entries;

#[path = "../../tests/it/support"]
mod support {
    pub(crate) mod manager;
    pub(crate) mod scene;
}

#[path = "../../tests/it/api"]
mod api {
    mod schema;
    pub(crate) mod support;
}

/// Runs one input of a target.
pub fn run(target: &str, data: &[u8]) {
    let known = entries::TARGETS.iter().find(|(name, _)| *name == target);
    let (_, entry) = known.expect("a target");
    entry(data);
}
