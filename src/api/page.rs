//! Pages of the entity index, and the cursors between them (seam-api.md 1.8).
//!
//! Promises: with rows coming and going between two pages, what stayed is shown once; a cursor holds
//! for the parameters that it was made with and no others.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::problem::Problem;
use super::routes::PAGE;
use super::{Api, Call, Reply};
use crate::core::identity::Identity;
use crate::core::ids::Timestamp;
use crate::core::index::Row;
use crate::store::ListQuery;

const CURSOR: &str = "page_cursor";

/// The page that `call` asks for. `show` says what a row looks like, or that nobody should see it.
pub(super) async fn page(
    api: &Api,
    call: &Call,
    query: ListQuery,
    show: impl Fn(&Row, &Identity) -> Option<Value>,
) -> Result<Reply, Problem> {
    let fingerprint = call.params.fingerprint_without(CURSOR);
    let after = match call.params.text(CURSOR) {
        Some(cursor) => Some(read_cursor(cursor, &fingerprint)?),
        None => None,
    };
    let limit = call.params.number("limit").unwrap_or(PAGE);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let query = ListQuery { after, ..query };
    // One more than is shown tells whether there is a next page.
    let mut found = collect(api, query, limit.saturating_add(1), show).await?;
    let has_next_page = found.len() > limit;
    found.truncate(limit);
    let cursor = found
        .last()
        .filter(|_| has_next_page)
        .map(|(row, _)| write_cursor(&fingerprint, row));
    let url = cursor
        .as_ref()
        .map(|cursor| format!("{}?{}", call.path, next_query(call, cursor)));
    let values = found.into_iter().map(|(_, value)| value).collect();
    Ok(Reply {
        value: Value::Array(values),
        plain: None,
        pagination: Some(json!({
            "has_next_page": has_next_page,
            "next_page_cursor": cursor,
            "next_page_url": url,
        })),
    })
}

/// What is shown has what `search` asks for in one of `fields`, whatever its case; without a search,
/// everything has.
pub(super) fn finds(call: &Call, shown: &Value, fields: &[&str]) -> bool {
    let Some(search) = call.params.text("search").map(str::to_lowercase) else {
        return true;
    };
    let mut texts = fields.iter().filter_map(|field| shown[*field].as_str());
    texts.any(|text| text.to_lowercase().contains(&search))
}

/// Every row that `show` shows, for lists without pages.
pub(super) async fn all(
    api: &Api,
    query: ListQuery,
    show: impl Fn(&Row, &Identity) -> Option<Value>,
) -> Result<Reply, Problem> {
    let found = collect(api, query, usize::MAX, show).await?;
    Ok(Reply::list(
        found.into_iter().map(|(_, value)| value).collect(),
    ))
}

/// The first `most` rows that are shown; reads on past those that are not.
async fn collect(
    api: &Api,
    mut query: ListQuery,
    most: usize,
    show: impl Fn(&Row, &Identity) -> Option<Value>,
) -> Result<Vec<(Row, Value)>, Problem> {
    let mut found = Vec::new();
    loop {
        let wanted = most.saturating_sub(found.len());
        query.limit = u32::try_from(wanted.min(PAGE_READ)).unwrap_or(u32::MAX);
        let rows = api.rows(query.clone()).await?;
        let read = rows.len();
        query.after = rows.last().map(|(row, _)| (row.created_at, row.id.clone()));
        for (row, loaded) in rows {
            if let Some(value) = show(&row, &loaded.identity) {
                found.push((row, value));
            }
        }
        if found.len() >= most || read < wanted.min(PAGE_READ) {
            return Ok(found);
        }
    }
}

/// How many rows are read at once.
const PAGE_READ: usize = 501;

fn write_cursor(fingerprint: &str, row: &Row) -> String {
    let cursor = json!([fingerprint, row.created_at, row.id]);
    URL_SAFE_NO_PAD.encode(cursor.to_string())
}

fn read_cursor(cursor: &str, fingerprint: &str) -> Result<(Timestamp, String), Problem> {
    let invalid = || Problem::param(CURSOR, "Invalid page cursor");
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    let (made_for, at, id): (String, Timestamp, String) =
        serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    if made_for != fingerprint {
        return Err(Problem::bad(
            "mismatched_page_parameters",
            "page_cursor belongs to other parameters; repeat those of the first page, limit included",
        ));
    }
    Ok((at, id))
}

/// Only the cursor is there to be added; the caller repeats its own parameters, as SDKs do.
fn next_query(call: &Call, cursor: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in call.params.pairs() {
        if name != CURSOR {
            query.append_pair(name, &value);
        }
    }
    query.append_pair(CURSOR, cursor);
    query.finish()
}
