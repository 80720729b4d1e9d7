//! From an access system's `import` table to [`Import`].

use std::collections::BTreeSet;
use std::time::Duration;

use config::{Value, ValueKind};
use secrecy::{ExposeSecret as _, SecretString};

use super::read::Table;
use super::values::{SECOND, at_least, base_url, directory, secret, show, text, whole, word};
use super::{FilesImport, HttpImport, Import};
use crate::core::record::Field;
use crate::template::{self, Body, Format, Template};

/// Waits that a site has not set.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const EVERY: Duration = Duration::from_secs(10);
/// An access system's own window, where it has none set.
const WINDOW: (u32, Duration) = (600, Duration::from_mins(1));
/// What a row says unless the site names fields: nothing personal.
const FIELDS: [Field; 11] = [
    Field::ChildId,
    Field::AcsUserId,
    Field::CardNumber,
    Field::CardFormat,
    Field::FacilityCode,
    Field::StartsAt,
    Field::EndsAt,
    Field::PartNumber,
    Field::ParentId,
    Field::PhoneId,
    Field::IdentityId,
];

#[derive(Clone, Copy)]
enum Kind {
    Http,
    Files,
}

/// Reads one connector.
pub(super) fn import(mut table: Table<'_>) -> Option<Import> {
    let kinds = [("http", Kind::Http), ("files", Kind::Files)];
    let import = match table.required("kind", word(&kinds)) {
        Some(Kind::Http) => http(&mut table).map(Import::Http),
        Some(Kind::Files) => files(&mut table).map(Import::Files),
        // Nobody knows which of the other keys are right.
        None => return None,
    };
    table.close();
    import
}

fn http(table: &mut Table<'_>) -> Option<HttpImport> {
    let url = table.required("url", url);
    let method = table.optional(
        "method",
        word(&[("PUT", "PUT"), ("POST", "POST"), ("PATCH", "PATCH")]),
    );
    let remove_method = table.optional(
        "remove_method",
        word(&[("DELETE", "DELETE"), ("POST", "POST")]),
    );
    let headers = table.optional("headers_file", headers);
    let body = table.required("body", |value| Body::parse(&text(value)?));
    let request_timeout = table.optional("request_timeout", at_least(SECOND));
    let mut window = table.table("window");
    let requests = window.optional("requests", whole(1));
    let per = window.optional("per", at_least(SECOND));
    window.close();
    Some(HttpImport {
        url: url?,
        method: method?.unwrap_or("PUT"),
        remove_method: remove_method?.unwrap_or("DELETE"),
        headers: headers?.unwrap_or_default(),
        body: body?,
        request_timeout: request_timeout?.unwrap_or(REQUEST_TIMEOUT),
        window: (requests?.unwrap_or(WINDOW.0), per?.unwrap_or(WINDOW.1)),
    })
}

fn files(table: &mut Table<'_>) -> Option<FilesImport> {
    let directory = table.required("directory", directory);
    let format = table.optional(
        "format",
        word(&[("ndjson", Format::Ndjson), ("csv", Format::Csv)]),
    );
    let fields = table.optional("fields", fields);
    let every = table.optional("every", at_least(SECOND));
    Some(FilesImport {
        directory: directory?,
        format: format?.unwrap_or(Format::Ndjson),
        fields: fields?.unwrap_or_else(|| FIELDS.to_vec()),
        every: every?.unwrap_or(EVERY),
    })
}

/// An address with places for what never changes, so that a record is removed where it was put.
fn url(value: &Value) -> Result<Template, String> {
    let template = Template::parse(&text(value)?)?;
    if !template.fields().any(|field| field == Field::ChildId) {
        return Err(
            "must have a place for {child.id}, so that each record has its own address".into(),
        );
    }
    if let Some(other) = template.fields().find(|field| !field.is_stable()) {
        let name = other.name();
        return Err(format!(
            "must not hold {{{name}}}, which may change: put it into the body"
        ));
    }
    let example = template.fill(&crate::core::record::Contents::default());
    base_url(&Value::from(example))?;
    Ok(template)
}

/// One `Name: value` a line; no message ever holds a value.
fn headers(value: &Value) -> Result<Vec<(String, SecretString)>, String> {
    let text = secret(value)?;
    let lines = text.expose_secret().lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let header = |(number, line): (usize, &str)| {
        let bad = || format!("{}: line {} is no `Name: value`", show(value), number + 1);
        let (name, held) = line.split_once(':').ok_or_else(bad)?;
        let sane = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let held = held.trim();
        let printable = held.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
        if name.is_empty() || !name.chars().all(sane) || !printable {
            return Err(bad());
        }
        Ok((name.to_owned(), SecretString::from(held)))
    };
    lines.map(header).collect()
}

fn fields(value: &Value) -> Result<Vec<Field>, String> {
    let ValueKind::Array(items) = &value.kind else {
        return Err(format!("must be a list of names, not {}", show(value)));
    };
    let fields: Vec<Field> = items
        .iter()
        .map(|item| template::field(&text(item)?))
        .collect::<Result<_, _>>()?;
    let distinct: BTreeSet<_> = fields.iter().collect();
    if distinct.len() < fields.len() || fields.is_empty() {
        return Err("must name each field once, and at least one".into());
    }
    if !fields.contains(&Field::ChildId) {
        return Err("must name child.id, by which a record is known again".into());
    }
    Ok(fields)
}

impl Import {
    /// What a record of this access system is made of.
    #[must_use]
    pub fn fields(&self) -> BTreeSet<Field> {
        match self {
            Self::Http(import) => {
                let body = import.body.fields().into_iter();
                body.chain(import.url.fields()).collect()
            }
            Self::Files(import) => import.fields.iter().copied().collect(),
        }
    }
}
