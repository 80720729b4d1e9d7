//! Files of people, one after the other, to a world that knows nobody at first.
//!
//! Of each file the first line says which kind it is; between two files is a line of its own. A file is planned,
//! applied, applied again, and pruned by.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use origo_adapter::rows::{self, Row};
use origo_adapter::store::sqlite::Sqlite;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{block_on, check_stored, pick};
use crate::api::support::World;

const PLAN: &str = "/adapter/plan";
const APPLY: &str = "/adapter/apply";
const NEXT: &str = "\n#### next\n";
const KINDS: [&str; 3] = ["csv", "json", "toml"];
/// A word that no refusal may repeat (contract.md G7).
const CANARY: &str = "Zwetschge0815";
/// As many rows as the command sends at once.
const BATCH: usize = 100;

struct Village {
    world: World,
    store: Sqlite,
}

/// What became of the rows of a file.
struct Told {
    changed: u64,
    refused: BTreeSet<u64>,
    /// Credentials.
    pruned: u64,
}

impl Village {
    fn new() -> Self {
        let store = Sqlite::in_memory().expect("a store");
        Self {
            world: World::over(Arc::new(store.clone())),
            store,
        }
    }

    async fn ask(&self, path: &str, rows: &[Row], file: Option<Uuid>) -> Told {
        let fields: Vec<_> = rows.iter().map(|row| &row.fields).collect();
        let mut body = json!({ "rows": fields });
        if let Some(file) = file {
            body["file"] = json!(file);
            body["prune"] = json!(true);
        }
        let answer = self.world.post(path, body).await;
        // Nothing is pruned by a file with rows that are refused.
        let place = format!("{} {}", answer.status, answer.text);
        assert!(
            answer.status == 200 || (file.is_some() && answer.status == 409),
            "{place}"
        );
        let told = answer.json();
        let told = &told[if path == PLAN { "planned" } else { "applied" }];
        let mut refused = BTreeSet::new();
        for one in told["refused"].as_array().into_iter().flatten() {
            let message = one["message"].as_str().expect("why");
            let quotes = message.contains(CANARY) && !names_the_canary(rows);
            assert!(!quotes && !message.is_empty(), "{message}");
            refused.insert(one["row"].as_u64().expect("which"));
        }
        let count = |name: &str| told[name].as_u64().unwrap_or_default();
        if answer.status == 200 {
            let all = count("changed") + count("unchanged") + refused.len() as u64;
            assert_eq!(all, rows.len() as u64, "{told}");
        }
        Told {
            changed: count("changed"),
            refused,
            pruned: told["pruned"]["credentials"].as_u64().unwrap_or_default(),
        }
    }

    async fn take(&self, rows: &[Row], is_first: bool) {
        let before = self.store.transactions();
        self.ask(PLAN, rows, None).await;
        assert_eq!(self.store.transactions(), before, "a plan writes nothing");
        let once = self.ask(APPLY, rows, None).await;
        let again = self.ask(APPLY, rows, None).await;
        if is_first && are_of_different_people(rows) {
            assert_eq!((again.changed, &again.refused), (0, &once.refused));
        }
        self.ask(APPLY, rows, Some(Uuid::from_u128(1))).await;
        let again = self.ask(APPLY, rows, Some(Uuid::from_u128(2))).await;
        assert_eq!(again.pruned, 0, "twice");
        check_stored(&self.store).await;
    }
}

/// A column's name may be told.
fn names_the_canary(rows: &[Row]) -> bool {
    let mut names = rows.iter().flat_map(|row| row.fields.keys());
    names.any(|name| name.contains(CANARY))
}

fn are_of_different_people(rows: &[Row]) -> bool {
    let mut keys = BTreeSet::new();
    rows.iter()
        .all(|row| keys.insert(row.fields.get("user_identity_key").map(Value::to_string)))
}

/// Applies `data`.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    block_on(async {
        let village = Village::new();
        for (n, file) in text.split(NEXT).take(3).enumerate() {
            let (kind, file) = file.split_once('\n').unwrap_or((file, ""));
            let kind = pick(&KINDS, kind.bytes().next().unwrap_or_default());
            let name = format!("people.{kind}");
            match rows::read(Path::new(&name), file) {
                Ok(rows) => {
                    check_lines(&rows, file);
                    village.take(&rows[..rows.len().min(BATCH)], n == 0).await;
                }
                Err(error) => assert!(format!("{error:#}").contains(&name), "{error:#}"),
            }
        }
    });
}

/// Each row stands somewhere in the file, after the one before it.
fn check_lines(rows: &[Row], text: &str) {
    let lines: Vec<_> = rows.iter().map(|row| row.line).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    let most = text.matches('\n').count() + 1;
    assert!(
        lines.iter().all(|line| (1..=most).contains(line)),
        "{lines:?}"
    );
}
