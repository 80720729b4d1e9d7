//! What is fuzzed: for each target one function from bytes to nothing, which panics where a promise is broken.
//!
//! The targets of `fuzz/` and the test `corpus` call the same functions. An input decides everything: the same
//! bytes lead to the same calls, in whatever order inputs come. Texts and shapes are those of the tests.

pub(crate) mod api;
pub(crate) mod cloud_events;
pub(crate) mod configuration;
pub(crate) mod desired_state;
pub(crate) mod hid;
pub(crate) mod hid_answers;
pub(crate) mod stages;
pub(crate) mod stored_rows;

use std::cell::RefCell;

use origo_adapter::core::index::Kind;
use origo_adapter::store::sqlite::Sqlite;
use origo_adapter::store::{ListQuery, Store as _};

use crate::support::scene::check_round_trip;

/// Runs one input.
pub(crate) type Run = fn(&[u8]);

/// Every target, by the name of its corpus.
pub(crate) const TARGETS: [(&str, Run); 6] = [
    ("api", api::run),
    ("cloud_events", cloud_events::run),
    ("configuration", configuration::run),
    ("desired_state", desired_state::run),
    ("hid_answers", hid_answers::run),
    ("stored_rows", stored_rows::run),
];

/// Parts one input into several: between them is a blank line, which JSON has no need of.
const BETWEEN: &str = "\n\n";

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime"),
    );
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}

/// What is stored can be stored.
async fn check_stored(store: &Sqlite) {
    let query = ListQuery {
        kinds: vec![Kind::Identity, Kind::AcsUser],
        limit: 100,
        ..ListQuery::default()
    };
    for (_, loaded) in store.list(query).await.expect("a list") {
        check_round_trip(&loaded.identity);
    }
}

/// One of `all`, whatever the byte; `a` is the first, so that an input can be read.
fn pick<T>(all: &[T], byte: u8) -> &T {
    &all[usize::from(byte.wrapping_sub(b'a')) % all.len()]
}
