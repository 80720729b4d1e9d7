//! The parameters of a request, out of Seam's dialects of query string and body (seam-api.md 1.3, 1.4).
//!
//! Promises: what a route does not name is dropped; the body wins over the query; null and absent
//! stay apart; everything that is wrong is said at once.

mod read;

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use self::read::{Query, from_json, parse_body};
use super::problem::{Faults, Problem};
use crate::clock;
use crate::core::ids::Timestamp;

/// The longest text that is taken in; nothing of ours or HID's comes near it.
const LONGEST: usize = 1000;

/// A parameter that a route takes.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) kind: ParamKind,
    pub(super) required: bool,
}

/// What a parameter may be.
#[derive(Clone, Copy)]
pub(super) enum ParamKind {
    /// A UUID.
    Id,
    /// UUIDs.
    Ids,
    /// Texts, none of them empty.
    Texts,
    /// Any text but the empty one.
    Text,
    /// A text or a number, kept as text.
    Code,
    /// An e-mail address, lower-cased.
    Email,
    /// A phone number in E.164.
    PhoneNumber,
    /// `true` or `false`.
    Flag,
    /// From 1 up to here.
    Count(i64),
    /// RFC 3339.
    Instant,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// An object with these fields, all of them texts.
    Fields(&'static [Param]),
    /// Objects with these fields; one that is wrong is wrong by itself.
    Rows(&'static [Param]),
    /// Seam has it, we don't yet: refused where it says anything, rather than ignored.
    NotYet,
}

const fn param(name: &'static str, kind: ParamKind) -> Param {
    Param {
        name,
        kind,
        required: false,
    }
}

/// A UUID.
pub(super) const fn id(name: &'static str) -> Param {
    param(name, ParamKind::Id)
}

/// A list of UUIDs.
pub(super) const fn ids(name: &'static str) -> Param {
    param(name, ParamKind::Ids)
}

/// A text.
pub(super) const fn text(name: &'static str) -> Param {
    param(name, ParamKind::Text)
}

/// A list of texts.
pub(super) const fn texts(name: &'static str) -> Param {
    param(name, ParamKind::Texts)
}

/// A text that may come as a number.
pub(super) const fn code(name: &'static str) -> Param {
    param(name, ParamKind::Code)
}

/// An e-mail address.
pub(super) const fn email(name: &'static str) -> Param {
    param(name, ParamKind::Email)
}

/// A phone number.
pub(super) const fn phone_number(name: &'static str) -> Param {
    param(name, ParamKind::PhoneNumber)
}

/// A truth value.
pub(super) const fn flag(name: &'static str) -> Param {
    param(name, ParamKind::Flag)
}

/// A number from 1 to `most`.
pub(super) const fn count(name: &'static str, most: i64) -> Param {
    param(name, ParamKind::Count(most))
}

/// An instant.
pub(super) const fn instant(name: &'static str) -> Param {
    param(name, ParamKind::Instant)
}

/// One of a few words.
pub(super) const fn one_of(name: &'static str, words: &'static [&'static str]) -> Param {
    param(name, ParamKind::OneOf(words))
}

/// An object of texts.
pub(super) const fn fields(name: &'static str, fields: &'static [Param]) -> Param {
    param(name, ParamKind::Fields(fields))
}

/// A list of objects.
pub(super) const fn rows(name: &'static str, fields: &'static [Param]) -> Param {
    param(name, ParamKind::Rows(fields))
}

/// Known to Seam, not yet to us.
pub(super) const fn not_yet(name: &'static str) -> Param {
    param(name, ParamKind::NotYet)
}

impl Param {
    /// It must be there.
    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// A parameter's value, read.
#[derive(Clone, PartialEq, Serialize)]
enum Arg {
    Null,
    Flag(bool),
    Number(i64),
    Text(String),
    Id(Uuid),
    Ids(Vec<Uuid>),
    Texts(Vec<String>),
    Instant(Timestamp),
    Fields(BTreeMap<&'static str, String>),
    Rows(Vec<Result<Params, String>>),
}

/// What a request, or one of its rows, says, by the names that its route declares.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Params {
    args: BTreeMap<&'static str, Arg>,
}

impl Params {
    /// Reads a request's query string and JSON body.
    pub(super) fn read(
        declared: &'static [Param],
        query: &str,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let query = Query::parse(query);
        let body = parse_body(body)?;
        let mut faults = Faults::default();
        let mut args = BTreeMap::new();
        for param in declared {
            let read = match body.get(param.name) {
                Some(value) => Some(from_json(param.kind, value)),
                None => query.read(param)?,
            };
            match read {
                Some(Ok(Arg::Null)) | None if param.required => faults.add(param.name, "Required"),
                Some(Ok(arg)) => {
                    args.insert(param.name, arg);
                }
                Some(Err(issue)) => faults.add(param.name, issue),
                None => {}
            }
        }
        if faults.is_empty() {
            Ok(Self { args })
        } else {
            Err(faults.into_problem())
        }
    }

    /// The UUID, if given.
    pub(super) fn id(&self, name: &str) -> Option<Uuid> {
        let Arg::Id(id) = self.args.get(name)? else {
            return None;
        };
        Some(*id)
    }

    /// The UUID that the route requires.
    pub(super) fn need_id(&self, name: &'static str) -> Result<Uuid, Problem> {
        self.id(name)
            .ok_or_else(|| Problem::param(name, "Required"))
    }

    /// The UUIDs, if given; an empty list is given.
    pub(super) fn ids(&self, name: &str) -> Option<&[Uuid]> {
        let Arg::Ids(ids) = self.args.get(name)? else {
            return None;
        };
        Some(ids)
    }

    /// The texts, if given; an empty list is given.
    pub(super) fn texts(&self, name: &str) -> Option<&[String]> {
        let Arg::Texts(texts) = self.args.get(name)? else {
            return None;
        };
        Some(texts)
    }

    /// The text, if given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let Arg::Text(text) = self.args.get(name)? else {
            return None;
        };
        Some(text)
    }

    /// The truth value, if given.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let Arg::Flag(flag) = self.args.get(name)? else {
            return None;
        };
        Some(*flag)
    }

    /// The number, if given.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        let Arg::Number(number) = self.args.get(name)? else {
            return None;
        };
        Some(*number)
    }

    /// The instant, if given.
    pub(super) fn instant(&self, name: &str) -> Option<Timestamp> {
        let Arg::Instant(at) = self.args.get(name)? else {
            return None;
        };
        Some(*at)
    }

    /// The text of a field of an object, if given.
    pub(super) fn field(&self, name: &str, field: &str) -> Option<&str> {
        let Arg::Fields(fields) = self.args.get(name)? else {
            return None;
        };
        fields.get(field).map(String::as_str)
    }

    /// The rows, if given: each read, or what is wrong with it.
    pub(super) fn rows(&self, name: &str) -> &[Result<Params, String>] {
        match self.args.get(name) {
            Some(Arg::Rows(rows)) => rows,
            Some(_) | None => &[],
        }
    }

    /// As a request of rows of a file would be read; with a number of batches that it has come in, this one among them, one that prunes.
    pub(super) fn of_rows<'a>(
        name: &'static str,
        fields: &'static [Param],
        rows: impl Iterator<Item = &'a Map<String, Value>>,
        (file, prune): (Uuid, Option<i64>),
    ) -> Self {
        let rows = rows.map(|row| Self::of_row(fields, row)).collect();
        let mut args = BTreeMap::from([
            (name, Arg::Rows(rows)),
            ("file", Arg::Id(file)),
            ("prune", Arg::Flag(prune.is_some())),
        ]);
        args.extend(prune.map(|batches| ("batches", Arg::Number(batches))));
        Self { args }
    }

    /// One row; a field that is not named is refused, for a misspelt one would be missing.
    fn of_row(fields: &[Param], given: &Map<String, Value>) -> Result<Self, String> {
        let mut args = BTreeMap::new();
        let mut issues = Vec::new();
        for field in fields {
            match given.get(field.name).filter(|value| !value.is_null()) {
                Some(value) => match from_json(field.kind, value) {
                    Ok(arg) => {
                        args.insert(field.name, arg);
                    }
                    Err(issue) => issues.push(format!("{}: {issue}", field.name)),
                },
                None if field.required => issues.push(format!("{}: Required", field.name)),
                None => {}
            }
        }
        let unknown = given
            .keys()
            .filter(|name| fields.iter().all(|field| field.name != **name));
        if unknown.count() > 0 {
            issues.push("there is a field that is not known here".to_owned());
        }
        if issues.is_empty() {
            Ok(Self { args })
        } else {
            Err(issues.join("; "))
        }
    }

    /// The instant as given, null included; `present` where nothing was said of it.
    pub(super) fn instant_or(&self, name: &str, present: Option<Timestamp>) -> Option<Timestamp> {
        if self.args.contains_key(name) {
            self.instant(name)
        } else {
            present
        }
    }

    /// It was given as null, which is not the same as not at all.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.args.get(name) == Some(&Arg::Null)
    }

    /// It was given, and not as null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.args.get(name).is_some_and(|arg| *arg != Arg::Null)
    }

    /// All of them as a query string says them.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        for (name, arg) in &self.args {
            match arg {
                Arg::Null => pairs.push((*name, String::new())),
                Arg::Flag(flag) => pairs.push((*name, flag.to_string())),
                Arg::Number(number) => pairs.push((*name, number.to_string())),
                Arg::Text(text) => pairs.push((*name, text.clone())),
                Arg::Id(id) => pairs.push((*name, id.to_string())),
                Arg::Ids(ids) if ids.is_empty() => pairs.push((*name, String::new())),
                Arg::Ids(ids) => pairs.extend(ids.iter().map(|id| (*name, id.to_string()))),
                Arg::Texts(texts) if texts.is_empty() => pairs.push((*name, String::new())),
                Arg::Texts(texts) => pairs.extend(texts.iter().map(|text| (*name, text.clone()))),
                Arg::Instant(at) => pairs.push((*name, clock::rfc3339(at.0))),
                // No route with pages takes any.
                Arg::Fields(_) | Arg::Rows(_) => {}
            }
        }
        pairs
    }

    /// Stands for all parameters but `name`, whatever dialect they came in.
    pub(super) fn fingerprint_without(&self, name: &str) -> String {
        let others: BTreeMap<_, _> = self.args.iter().filter(|(key, _)| **key != name).collect();
        let text = serde_json::to_string(&others).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
    }
}
