//! The search language of SCIM as HID speaks it (`origo-api.md` 3.5).

use serde_json::Value;

use super::{
    answer::{Refusal, parse_time},
    shapes,
    users::schemas,
};

/// What one kind of resource lets itself be asked. Names in lower case.
pub(super) struct Rules {
    pub(super) filterable: &'static [&'static str],
    /// These can be returned and sorted by.
    pub(super) returnable: &'static [&'static str],
    /// May precede a name, with a colon.
    pub(super) urn: &'static str,
}

/// A search request after its checks.
#[derive(Debug)]
pub(super) struct Query {
    /// In lower case, without URN.
    pub(super) attributes: Vec<String>,
    /// 1-based.
    pub(super) start: usize,
    filter: Option<Filter>,
    sort_by: Option<String>,
    ascending: bool,
    count: usize,
}

#[derive(Debug)]
enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Present(String),
    Compare(String, Operator, String),
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Query {
    /// A missing `count` gives an empty page, a larger one than `cap` gives `cap`.
    pub(super) fn read(body: &Value, rules: &Rules, cap: usize) -> Result<Self, Refusal> {
        if schemas(body) != [shapes::SEARCH] {
            return Err(Refusal::value("The schemas are not valid."));
        }
        let name = |value: &Value| {
            let name = rules.canonical(value.as_str().unwrap_or_default());
            if rules.returnable.contains(&name.as_str()) {
                Ok(name)
            } else {
                Err(Refusal::filter(format!(
                    "{name} is not a supported attribute."
                )))
            }
        };
        let attributes: Result<Vec<String>, Refusal> = body["attributes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(name)
            .collect();
        let filter = match body.get("filter").and_then(Value::as_str) {
            None => None,
            Some(text) if text.trim().is_empty() => {
                return Err(Refusal::filter("The filter is empty."));
            }
            Some(text) => Some(parse(text, rules)?),
        };
        let order = body["sortOrder"]
            .as_str()
            .unwrap_or("descending")
            .to_ascii_lowercase();
        if order != "ascending" && order != "descending" {
            return Err(Refusal::filter("sortOrder takes ascending or descending."));
        }
        let number = |name: &str| {
            body[name]
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
        };
        Ok(Self {
            attributes: attributes?,
            start: number("startIndex").unwrap_or(1).max(1),
            filter,
            sort_by: body
                .get("sortBy")
                .filter(|value| !value.is_null())
                .map(name)
                .transpose()?,
            ascending: order == "ascending",
            count: number("count").unwrap_or(0).min(cap),
        })
    }

    /// All matches counted, and the page asked for. `values` gives an item's values by attribute; for `id` something
    /// that sorts.
    pub(super) fn select<'a, T>(
        &self,
        items: impl Iterator<Item = &'a T>,
        values: impl Fn(&T, &str) -> Vec<String>,
    ) -> (usize, Vec<&'a T>) {
        let mut found: Vec<&T> = items
            .filter(|item| {
                self.filter
                    .as_ref()
                    .is_none_or(|filter| filter.holds(&|name| values(item, name)))
            })
            .collect();
        let sort_by = self.sort_by.as_deref().unwrap_or("meta.lastmodified");
        found.sort_by_cached_key(|item| (values(item, sort_by), values(item, "")));
        if !self.ascending {
            found.reverse();
        }
        let total = found.len();
        (
            total,
            found
                .into_iter()
                .skip(self.start - 1)
                .take(self.count)
                .collect(),
        )
    }

    /// A time as `select` compares it: by the second, as the wire shows it.
    pub(super) fn time(at: i64) -> String {
        format!("{:020}", at.div_euclid(1_000))
    }
}

impl Rules {
    fn canonical(&self, name: &str) -> String {
        let name = name.to_ascii_lowercase();
        let prefix = format!("{}:", self.urn.to_ascii_lowercase());
        name.strip_prefix(&prefix)
            .map(ToOwned::to_owned)
            .unwrap_or(name)
    }
}

impl Filter {
    fn holds(&self, values: &dyn Fn(&str) -> Vec<String>) -> bool {
        match self {
            Self::And(left, right) => left.holds(values) && right.holds(values),
            Self::Or(left, right) => left.holds(values) || right.holds(values),
            Self::Not(inner) => !inner.holds(values),
            Self::Present(name) => values(name).iter().any(|value| !value.is_empty()),
            Self::Compare(name, operator, wanted) => values(name)
                .iter()
                .any(|value| operator.holds(value, wanted)),
        }
    }
}

impl Operator {
    fn read(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "eq" => Some(Self::Eq),
            "ne" => Some(Self::Ne),
            "co" => Some(Self::Co),
            "sw" => Some(Self::Sw),
            "ew" => Some(Self::Ew),
            "gt" => Some(Self::Gt),
            "ge" => Some(Self::Ge),
            "lt" => Some(Self::Lt),
            "le" => Some(Self::Le),
            _ => None,
        }
    }

    /// Values compare with case; a client's lower-casing of e-mail addresses suggests it (3.3).
    fn holds(self, value: &str, wanted: &str) -> bool {
        match self {
            Self::Eq => value == wanted,
            Self::Ne => value != wanted,
            Self::Co => value.contains(wanted),
            Self::Sw => value.starts_with(wanted),
            Self::Ew => value.ends_with(wanted),
            Self::Gt => value > wanted,
            Self::Ge => value >= wanted,
            Self::Lt => value < wanted,
            Self::Le => value <= wanted,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Word {
    Open,
    Close,
    Name(String),
    Text(String),
}

fn parse(text: &str, rules: &Rules) -> Result<Filter, Refusal> {
    let mut parser = Parser {
        words: words(text)?.into_iter().peekable(),
        rules,
    };
    let filter = parser.alternatives()?;
    match parser.words.next() {
        None => Ok(filter),
        Some(_) => Err(Refusal::syntax("The filter does not end where it should.")),
    }
}

fn words(text: &str) -> Result<Vec<Word>, Refusal> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '(' => words.push(Word::Open),
            ')' => words.push(Word::Close),
            '"' => {
                let mut value = String::new();
                loop {
                    match letters.next() {
                        None => return Err(Refusal::syntax("A value in the filter does not end.")),
                        Some('"') => break,
                        Some('\\') => value.extend(letters.next()),
                        Some(other) => value.push(other),
                    }
                }
                words.push(Word::Text(value));
            }
            space if space.is_whitespace() => {}
            other => {
                let mut name = String::from(other);
                while let Some(next) =
                    letters.next_if(|next| !next.is_whitespace() && !"()\"".contains(*next))
                {
                    name.push(next);
                }
                words.push(Word::Name(name));
            }
        }
    }
    Ok(words)
}

struct Parser<'a> {
    words: std::iter::Peekable<std::vec::IntoIter<Word>>,
    rules: &'a Rules,
}

impl Parser<'_> {
    fn alternatives(&mut self) -> Result<Filter, Refusal> {
        let mut filter = self.conjunction()?;
        while self.takes("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.conjunction()?));
        }
        Ok(filter)
    }

    fn conjunction(&mut self) -> Result<Filter, Refusal> {
        let mut filter = self.term()?;
        while self.takes("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.term()?));
        }
        Ok(filter)
    }

    fn term(&mut self) -> Result<Filter, Refusal> {
        if self.takes("not") {
            return Ok(Filter::Not(Box::new(self.term()?)));
        }
        match self.words.next() {
            Some(Word::Open) => {
                let inner = self.alternatives()?;
                match self.words.next() {
                    Some(Word::Close) => Ok(inner),
                    Some(_) | None => Err(Refusal::syntax(
                        "A parenthesis in the filter is not closed.",
                    )),
                }
            }
            Some(Word::Name(name)) => self.comparison(&name),
            Some(Word::Close | Word::Text(_)) | None => {
                Err(Refusal::syntax("The filter lacks an attribute."))
            }
        }
    }

    fn comparison(&mut self, name: &str) -> Result<Filter, Refusal> {
        let name = self.rules.canonical(name);
        if !self.rules.filterable.contains(&name.as_str()) {
            return Err(Refusal::syntax(format!(
                "{name} is not a supported filter attribute."
            )));
        }
        if self.takes("pr") {
            return Ok(Filter::Present(name));
        }
        let operator = match self.words.next() {
            Some(Word::Name(word)) => Operator::read(&word),
            Some(Word::Open | Word::Close | Word::Text(_)) | None => None,
        };
        let operator =
            operator.ok_or_else(|| Refusal::syntax("The filter has an unsupported operator."))?;
        let Some(Word::Text(value)) = self.words.next() else {
            return Err(Refusal::syntax(
                "A value in the filter is not in double quotes.",
            ));
        };
        if name != "meta.lastmodified" {
            return Ok(Filter::Compare(name, operator, value));
        }
        let at = parse_time(&value).ok_or_else(|| Refusal::syntax("The filter has a bad date."))?;
        Ok(Filter::Compare(name, operator, Query::time(at)))
    }

    fn takes(&mut self, word: &str) -> bool {
        self.words
            .next_if(|next| matches!(next, Word::Name(name) if name.eq_ignore_ascii_case(word)))
            .is_some()
    }
}
