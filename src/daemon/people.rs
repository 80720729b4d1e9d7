//! The directory of desired-state files: read at start and on change, and applied as one (contract.md section 5).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::loops::TURN_BOUND;
use crate::api::Api;
use crate::config::DesiredState;
use crate::emit;
use crate::lifecycle::{Beat, Lifecycle};
use crate::rows;
use crate::telemetry::{PEOPLE_APPLIED, PEOPLE_REFUSED};

/// How often the directory is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Rows that are applied together.
const BATCH: usize = 500;

/// What changes when a file does: its time and size.
type Look = BTreeMap<PathBuf, (SystemTime, u64)>;

/// Starts the loop, where there is a directory; `again` has it applied however little has changed.
pub(super) fn spawn(
    lifecycle: &Lifecycle,
    api: &Arc<Api>,
    again: Arc<Notify>,
    wanted: Option<&DesiredState>,
) {
    let Some(wanted) = wanted.cloned() else {
        return;
    };
    let beat = lifecycle.beat("people", TURN_BOUND);
    let watching = watch(Arc::clone(api), again, wanted, beat, lifecycle.soft());
    lifecycle.spawn("people", watching);
}

async fn watch(
    api: Arc<Api>,
    again: Arc<Notify>,
    wanted: DesiredState,
    beat: Beat,
    soft: CancellationToken,
) {
    let (mut seen, mut applied) = (None, None);
    while !soft.is_cancelled() {
        beat.turn();
        let now = look(&wanted.directory);
        // A file that is still being written has changed by the next look.
        if let Some(files) = &now
            && now == seen
            && now != applied
            && apply(&api, files, wanted.prune, &beat).await
        {
            applied.clone_from(&now);
        }
        seen = now;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = again.notified() => applied = None,
            () = soft.cancelled() => {}
        }
    }
}

fn look(directory: &Path) -> Option<Look> {
    let mut files = Look::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            refused(directory, 0, &error.to_string());
            return None;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let ours = path
            .extension()
            .is_some_and(|kind| kind == "csv" || kind == "json" || kind == "toml");
        // Names that begin with a dot are files on their way.
        if ours
            && !name.to_string_lossy().starts_with('.')
            && let Ok(known) = entry.metadata()
            && let Ok(modified) = known.modified()
        {
            files.insert(path, (modified, known.len()));
        }
    }
    Some(files)
}

/// `false`: to be tried again, the store or a file could not be read.
async fn apply(api: &Api, files: &Look, prune: bool, beat: &Beat) -> bool {
    let file = Uuid::new_v4();
    let (mut changed, mut unchanged, mut wrong, mut batches) = (0, 0, 0, 1);
    for path in files.keys() {
        let rows = fs::read_to_string(path).map_err(anyhow::Error::from);
        let rows = match rows.and_then(|text| rows::read(path, &text)) {
            Ok(rows) => rows,
            Err(error) => {
                refused(path, 0, &format!("{error:#}"));
                wrong += 1;
                continue;
            }
        };
        for batch in rows.chunks(BATCH) {
            beat.turn();
            let fields = batch.iter().map(|row| &row.fields);
            let told = match api.apply_rows("files", fields, file, None).await {
                Ok(told) => told,
                Err(message) => {
                    refused(path, 0, &message);
                    return false;
                }
            };
            batches += 1;
            changed += told["changed"].as_u64().unwrap_or_default();
            unchanged += told["unchanged"].as_u64().unwrap_or_default();
            for one in told["refused"].as_array().into_iter().flatten() {
                let row = one["row"]
                    .as_u64()
                    .and_then(|row| usize::try_from(row).ok());
                let line = row.and_then(|row| batch.get(row)).map_or(0, |row| row.line);
                refused(path, line, one["message"].as_str().unwrap_or_default());
                wrong += 1;
            }
        }
    }
    let mut withdrawn = 0;
    if prune && wrong == 0 {
        match api
            .apply_rows("files", std::iter::empty(), file, Some(batches))
            .await
        {
            Ok(told) => withdrawn = told["pruned"]["credentials"].as_u64().unwrap_or_default(),
            Err(message) => refused(Path::new("prune"), 0, &message),
        }
    }
    emit!(PEOPLE_APPLIED, rows.changed = changed, rows.unchanged = unchanged, rows.refused = wrong, credentials.withdrawn = withdrawn;
        "files of people applied: {changed} changed, {unchanged} as they were, {wrong} refused, {withdrawn} withdrawn");
    true
}

fn refused(path: &Path, line: usize, message: &str) {
    let path = path.display();
    emit!(PEOPLE_REFUSED, file.path = %path, file.line = line, error = %message; "{path}:{line}: {message}");
}
