//! Single values, out of a query string or a JSON body (seam-api.md 1.3, 1.4).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Arg, LONGEST, Param, ParamKind};
use crate::api::problem::Problem;
use crate::clock;
use crate::core::ids::Timestamp;

/// A body is a JSON object, or nothing.
pub(super) fn parse_body(body: &[u8]) -> Result<Map<String, Value>, Problem> {
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
pub(super) struct Query {
    strict: bool,
    values: BTreeMap<String, Vec<String>>,
}

impl Query {
    pub(super) fn parse(text: &str) -> Self {
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
    pub(super) fn read(&self, param: &Param) -> Result<Option<Result<Arg, Issue>>, Problem> {
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

/// What is wrong with a value.
pub(super) type Issue = Cow<'static, str>;

/// Reads a value of a body.
pub(super) fn from_json(kind: ParamKind, value: &Value) -> Result<Arg, Issue> {
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
        (ParamKind::Rows(fields), Value::Array(items)) => {
            let rows = items.iter().map(|item| match item.as_object() {
                Some(given) => super::Params::of_row(fields, given),
                None => Err(expected("object", item).into_owned()),
            });
            Ok(Arg::Rows(rows.collect()))
        }
        (ParamKind::Ids | ParamKind::Texts | ParamKind::Rows(_), other) => {
            Err(expected("array", other))
        }
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
    // PostgreSQL keeps none.
    if text.contains('\0') {
        return Err("Must not hold U+0000".into());
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
        ParamKind::Rows(_) => Err("Expected an array".into()),
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
