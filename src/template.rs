//! Texts with places for the fields of a record: `{key.card_number}`.
//!
//! Imports core and clock. Promises: what is not a place stands for itself; a place of an unknown name is refused when
//! the template is read; whatever a field holds, a body stays JSON and says nothing but that field there.

use serde_json::Value;

use crate::clock::rfc3339;
use crate::core::record::{Contents, Field};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// With a header.
    Csv,
}

impl Format {
    /// What a file of it is called by.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Field),
}

impl Template {
    /// Reads a text; the error says which place is unknown.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let inside = &rest[open + 1..];
            let name = &inside[..inside.find('}').unwrap_or(0)];
            if is_place(name) {
                plain.push_str(&rest[..open]);
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Place(field(name)?));
                rest = &inside[name.len() + 1..];
            } else {
                plain.push_str(&rest[..=open]);
                rest = inside;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The fields that it has places for.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Place(field) => Some(*field),
            Piece::Text(_) => None,
        })
    }

    /// The text with everything in its place; an empty field leaves nothing.
    #[must_use]
    pub fn fill(&self, contents: &Contents) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Place(field) => shown(*field, contents).unwrap_or_default(),
        });
        pieces.collect()
    }

    /// As JSON: nothing but an empty field is `null`.
    fn fill_json(&self, contents: &Contents) -> Value {
        match self.0.as_slice() {
            [Piece::Place(field)] => shown(*field, contents).map_or(Value::Null, Value::String),
            _ => Value::String(self.fill(contents)),
        }
    }
}

/// A JSON document whose texts are templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A text.
    Text(Template),
    /// A list.
    List(Vec<Body>),
    /// An object.
    Object(Vec<(String, Body)>),
    /// Anything else, as it is.
    Plain(Value),
}

impl Body {
    /// Reads a document; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("must be JSON: {error}"))?;
        Self::of(value)
    }

    fn of(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse(&text)?),
            Value::Array(items) => {
                Self::List(items.into_iter().map(Self::of).collect::<Result<_, _>>()?)
            }
            Value::Object(entries) => {
                let entries = entries.into_iter();
                let entries = entries.map(|(key, value)| Ok((key, Self::of(value)?)));
                Self::Object(entries.collect::<Result<_, String>>()?)
            }
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => Self::Plain(plain),
        })
    }

    /// The fields that it has places for.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        match self {
            Self::Text(template) => template.fields().collect(),
            Self::List(items) => items.iter().flat_map(Self::fields).collect(),
            Self::Object(entries) => entries.iter().flat_map(|(_, body)| body.fields()).collect(),
            Self::Plain(_) => Vec::new(),
        }
    }

    /// The document with everything in its place; a text that is one place of an empty field is `null`.
    #[must_use]
    pub fn fill(&self, contents: &Contents) -> Value {
        match self {
            Self::Text(template) => template.fill_json(contents),
            Self::List(items) => items.iter().map(|item| item.fill(contents)).collect(),
            Self::Object(entries) => {
                let entries = entries.iter();
                let entries = entries.map(|(key, body)| (key.clone(), body.fill(contents)));
                Value::Object(entries.collect())
            }
            Self::Plain(value) => value.clone(),
        }
    }
}

/// A field as the outside sees it: moments as RFC 3339.
#[must_use]
pub fn shown(field: Field, contents: &Contents) -> Option<String> {
    let text = contents.get(field)?;
    let instant = text.parse().ok().filter(|_| field.is_instant());
    Some(instant.map_or_else(|| text.to_owned(), rfc3339))
}

fn is_place(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    name.contains('.') && name.chars().all(plain)
}

/// By the name in the configuration; the error names those that there are.
pub fn field(name: &str) -> Result<Field, String> {
    let known = Field::ALL.iter().find(|field| field.name() == name);
    known.copied().ok_or_else(|| {
        let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
        format!("there is no {{{name}}}; known are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Personal;

    fn contents(fields: &[(Field, &str)]) -> Contents {
        let fields = fields.iter();
        Contents(
            fields
                .map(|(field, text)| (*field, Personal((*text).to_owned())))
                .collect(),
        )
    }

    #[test]
    fn a_body_stays_json_whatever_a_field_holds() {
        let body = Body::parse(
            r#"{"n":"{key.card_number}","ends":"{child.ends_at}","of":"{acs_user.full_name}!","x":[1,"{}"]}"#,
        )
        .unwrap();
        let nasty = contents(&[
            (Field::CardNumber, r#"1","admin":"true"#),
            (Field::AcsUserName, "A \"B\"\n{key.card_number}"),
        ]);
        assert_eq!(
            body.fill(&nasty),
            serde_json::json!({
                "n": r#"1","admin":"true"#,
                "ends": null,
                "of": "A \"B\"\n{key.card_number}!",
                "x": [1, "{}"],
            })
        );
    }

    #[test]
    fn moments_are_shown_as_such() {
        let template = Template::parse("until {child.ends_at}.").unwrap();
        let ends = contents(&[(Field::EndsAt, "1800000000000")]);
        assert_eq!(template.fill(&ends), "until 2027-01-15T08:00:00.000Z.");
        assert_eq!(template.fill(&Contents::default()), "until .");
    }

    #[test]
    fn an_unknown_place_is_named() {
        let error = Template::parse("x/{child.name}").unwrap_err();
        assert!(
            error.starts_with("there is no {child.name}; known are child.id, "),
            "{error}"
        );
        assert!(Body::parse(r#"["{phone.number}"]"#).is_err());
        assert!(Body::parse("{").unwrap_err().starts_with("must be JSON: "));
    }
}
