//! The parameters of a request, out of Seam's dialects of query string and body (seam-api.md 1.3, 1.4).
//!
//! Promises: what a route does not name is dropped; the body wins over the query; null and absent
//! stay apart; everything that is wrong is said at once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

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
}

/// What a request says, by the names that its route declares.
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
        match self.args.get(name)? {
            Arg::Id(id) => Some(*id),
            Arg::Null
            | Arg::Flag(_)
            | Arg::Number(_)
            | Arg::Text(_)
            | Arg::Ids(_)
            | Arg::Texts(_)
            | Arg::Instant(_)
            | Arg::Fields(_) => None,
        }
    }

    /// The UUID that the route requires.
    pub(super) fn need_id(&self, name: &'static str) -> Result<Uuid, Problem> {
        self.id(name)
            .ok_or_else(|| Problem::param(name, "Required"))
    }

    /// The UUIDs, if given; an empty list is given.
    pub(super) fn ids(&self, name: &str) -> Option<&[Uuid]> {
        match self.args.get(name)? {
            Arg::Ids(ids) => Some(ids),
            Arg::Null
            | Arg::Flag(_)
            | Arg::Number(_)
            | Arg::Text(_)
            | Arg::Id(_)
            | Arg::Texts(_)
            | Arg::Instant(_)
            | Arg::Fields(_) => None,
        }
    }

    /// The texts, if given; an empty list is given.
    pub(super) fn texts(&self, name: &str) -> Option<&[String]> {
        match self.args.get(name)? {
            Arg::Texts(texts) => Some(texts),
            Arg::Null
            | Arg::Flag(_)
            | Arg::Number(_)
            | Arg::Text(_)
            | Arg::Id(_)
            | Arg::Ids(_)
            | Arg::Instant(_)
            | Arg::Fields(_) => None,
        }
    }

    /// The text, if given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.args.get(name)? {
            Arg::Text(text) => Some(text),
            Arg::Null
            | Arg::Flag(_)
            | Arg::Number(_)
            | Arg::Id(_)
            | Arg::Ids(_)
            | Arg::Texts(_)
            | Arg::Instant(_)
            | Arg::Fields(_) => None,
        }
    }

    /// The truth value, if given.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.args.get(name)? {
            Arg::Flag(flag) => Some(*flag),
            Arg::Null
            | Arg::Number(_)
            | Arg::Text(_)
            | Arg::Id(_)
            | Arg::Ids(_)
            | Arg::Texts(_)
            | Arg::Instant(_)
            | Arg::Fields(_) => None,
        }
    }

    /// The number, if given.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.args.get(name)? {
            Arg::Number(number) => Some(*number),
            Arg::Null
            | Arg::Flag(_)
            | Arg::Text(_)
            | Arg::Id(_)
            | Arg::Ids(_)
            | Arg::Texts(_)
            | Arg::Instant(_)
            | Arg::Fields(_) => None,
        }
    }

    /// The instant, if given.
    pub(super) fn instant(&self, name: &str) -> Option<Timestamp> {
        match self.args.get(name)? {
            Arg::Instant(at) => Some(*at),
            Arg::Null
            | Arg::Flag(_)
            | Arg::Number(_)
            | Arg::Text(_)
            | Arg::Id(_)
            | Arg::Ids(_)
            | Arg::Texts(_)
            | Arg::Fields(_) => None,
        }
    }

    /// The text of a field of an object, if given.
    pub(super) fn field(&self, name: &str, field: &str) -> Option<&str> {
        match self.args.get(name)? {
            Arg::Fields(fields) => fields.get(field).map(String::as_str),
            Arg::Null
            | Arg::Flag(_)
            | Arg::Number(_)
            | Arg::Text(_)
            | Arg::Id(_)
            | Arg::Ids(_)
            | Arg::Texts(_)
            | Arg::Instant(_) => None,
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
                Arg::Fields(_) => {}
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

/// A body is a JSON object, or nothing.
fn parse_body(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Problem::input("the body must be a JSON object")),
        Err(error) => Err(Problem::input(format!(
            "the body is not valid JSON (line {}, column {})",
            error.line(),
            error.column()
        ))),
    }
}

/// A query string, grouped by key.
struct Query {
    strict: bool,
    values: BTreeMap<String, Vec<String>>,
}

impl Query {
    fn parse(text: &str) -> Self {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            values
                .entry(key.into_owned())
                .or_default()
                .push(value.into_owned());
        }
        // Anything but the literal `true` means not strict (seam-api.md 1.4).
        let strict = values
            .remove("_strict")
            .is_some_and(|values| values == ["true"]);
        Self { strict, values }
    }

    /// The outer problem refuses the request as a whole, the inner text one parameter.
    fn read(&self, param: &Param) -> Result<Option<Result<Arg, Issue>>, Problem> {
        let values = self.values.get(param.name);
        if let ParamKind::Ids | ParamKind::Texts = param.kind {
            let bracketed = self.values.get(&format!("{}[]", param.name));
            let values = match (values, bracketed) {
                (None, Some(bracketed)) if !self.strict => bracketed,
                (None, _) => return Ok(None),
                (Some(values), _) => values,
            };
            let parts: Vec<&str> = match values.as_slice() {
                [empty] if empty.is_empty() => Vec::new(),
                [joined] if !self.strict => joined.split(',').collect(),
                several => several.iter().map(String::as_str).collect(),
            };
            return Ok(Some(read_list(param.kind, parts.into_iter())));
        }
        if let ParamKind::Fields(fields) = param.kind {
            return Ok(self.read_fields(param.name, fields));
        }
        match values.map(Vec::as_slice) {
            None => Ok(None),
            Some([value]) if value.is_empty() => Ok(Some(Ok(Arg::Null))),
            Some([value]) => Ok(Some(self.read_one(param.kind, value))),
            Some(_) => Err(Problem::bad(
                "invalid_query_params",
                format!("\"{}\" is given more than once", param.name),
            )),
        }
    }

    /// `a.b=c` is a field.
    fn read_fields(&self, name: &str, fields: &[Param]) -> Option<Result<Arg, Issue>> {
        let given = fields.iter().filter_map(|field| {
            let values = self.values.get(&format!("{name}.{}", field.name))?;
            Some((field, values.last()?.as_str()))
        });
        let given: Vec<_> = given.filter(|(_, text)| !text.is_empty()).collect();
        (!given.is_empty()).then(|| read_fields(given.into_iter()))
    }

    fn read_one(&self, kind: ParamKind, value: &str) -> Result<Arg, Issue> {
        if let ParamKind::Flag = kind {
            let loose = value.to_lowercase();
            return match (self.strict, value, loose.as_str()) {
                (_, "true", _) | (false, _, "true" | "yes" | "1") => Ok(Arg::Flag(true)),
                (_, "false", _) | (false, _, "false" | "no" | "0") => Ok(Arg::Flag(false)),
                _ => Err("Expected true or false".into()),
            };
        }
        from_text(kind, value)
    }
}

type Issue = Cow<'static, str>;

fn from_json(kind: ParamKind, value: &Value) -> Result<Arg, Issue> {
    let is_empty_list = value.as_array().is_some_and(Vec::is_empty);
    match (kind, value) {
        (_, Value::Null) => Ok(Arg::Null),
        (ParamKind::NotYet, _) if is_empty_list => Ok(Arg::Null),
        (ParamKind::Flag, Value::Bool(flag)) => Ok(Arg::Flag(*flag)),
        (ParamKind::Flag, other) => Err(expected("boolean", other)),
        (ParamKind::Count(_) | ParamKind::Code, Value::Number(number)) => {
            from_text(kind, &number.to_string())
        }
        (ParamKind::Ids | ParamKind::Texts, Value::Array(items)) => {
            if items.iter().all(Value::is_string) {
                read_list(kind, items.iter().filter_map(Value::as_str))
            } else {
                Err("Expected a list of strings".into())
            }
        }
        (ParamKind::Ids | ParamKind::Texts, other) => Err(expected("array", other)),
        (ParamKind::NotYet, _) => from_text(kind, ""),
        (ParamKind::Fields(fields), Value::Object(given)) => {
            let known = fields.iter().filter_map(|field| {
                let value = given.get(field.name).filter(|value| !value.is_null())?;
                Some((field, value))
            });
            let texts = known.map(|(field, value)| match value.as_str() {
                Some(text) => Ok((field, text)),
                None => Err(format!("{}: {}", field.name, expected("string", value)).into()),
            });
            read_fields(texts.collect::<Result<Vec<_>, Issue>>()?.into_iter())
        }
        (ParamKind::Fields(_), other) => Err(expected("object", other)),
        (_, Value::String(text)) => from_text(kind, text),
        (ParamKind::Count(_), other) => Err(expected("number", other)),
        (
            ParamKind::Id
            | ParamKind::Text
            | ParamKind::Code
            | ParamKind::Email
            | ParamKind::PhoneNumber
            | ParamKind::Instant
            | ParamKind::OneOf(_),
            other,
        ) => Err(expected("string", other)),
    }
}

fn expected(wanted: &str, found: &Value) -> Issue {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("Expected {wanted}, received {found}").into()
}

fn from_text(kind: ParamKind, text: &str) -> Result<Arg, Issue> {
    if text.len() > LONGEST {
        return Err(format!("Longer than {LONGEST} bytes").into());
    }
    match kind {
        ParamKind::Id => read_id(text).map(Arg::Id),
        ParamKind::Ids | ParamKind::Texts => read_list(kind, std::iter::once(text)),
        ParamKind::Text | ParamKind::Code if text.trim().is_empty() => {
            Err("Must not be empty".into())
        }
        ParamKind::Text | ParamKind::Code => Ok(Arg::Text(text.to_owned())),
        ParamKind::Email if is_email(text) => Ok(Arg::Text(text.to_lowercase())),
        ParamKind::Email => Err("Invalid email".into()),
        ParamKind::PhoneNumber if is_e164(text) => Ok(Arg::Text(text.to_owned())),
        ParamKind::PhoneNumber => Err("Invalid phone number (E.164, as +15551234567)".into()),
        ParamKind::Flag => Err("Expected true or false".into()),
        ParamKind::Count(most) => match text.parse::<i64>() {
            Ok(number) if number < 1 => Err("Number must be greater than or equal to 1".into()),
            Ok(number) if number > most => {
                Err(format!("Number must be less than or equal to {most}").into())
            }
            Ok(number) => Ok(Arg::Number(number)),
            Err(_) => Err("Expected a whole number".into()),
        },
        ParamKind::Instant => clock::parse_rfc3339(text)
            .map(|at| Arg::Instant(Timestamp(at)))
            .ok_or_else(|| "Invalid date-time (RFC 3339)".into()),
        ParamKind::OneOf(words) if words.contains(&text) => Ok(Arg::Text(text.to_owned())),
        ParamKind::OneOf(words) => {
            Err(format!("Invalid value, expected one of {}", words.join(", ")).into())
        }
        ParamKind::Fields(_) => Err("Expected an object".into()),
        ParamKind::NotYet => Err("Not supported yet".into()),
    }
}

fn read_id(text: &str) -> Result<Uuid, Issue> {
    // `Uuid` also reads forms that Seam never shows.
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 => Ok(id),
        Ok(_) | Err(_) => Err("Invalid uuid".into()),
    }
}

fn read_fields<'a>(given: impl Iterator<Item = (&'a Param, &'a str)>) -> Result<Arg, Issue> {
    let mut read = BTreeMap::new();
    for (field, text) in given {
        from_text(field.kind, text).map_err(|issue| format!("{}: {issue}", field.name))?;
        read.insert(field.name, text.to_owned());
    }
    Ok(Arg::Fields(read))
}

fn read_list<'a>(kind: ParamKind, texts: impl Iterator<Item = &'a str>) -> Result<Arg, Issue> {
    if let ParamKind::Texts = kind {
        let read = |text| from_text(ParamKind::Text, text).map(|_| text.to_owned());
        return texts.map(read).collect::<Result<_, _>>().map(Arg::Texts);
    }
    texts.map(read_id).collect::<Result<_, _>>().map(Arg::Ids)
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    text.len() <= 254
        && !local.is_empty()
        && text.chars().filter(|c| *c != '@').all(is_plain)
        && !domain.contains('@')
        && domain.split('.').count() >= 2
        && domain.split('.').all(|label| !label.is_empty())
}

fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else {
        return false;
    };
    (2..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
}
