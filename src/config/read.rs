//! Reads tables of the merged tree key by key. Nothing stops at the first complaint: a
//! value that cannot be used is `None` and its complaint is noted; what nobody has asked
//! for when a table is closed is an unknown key.

use std::cell::RefCell;
use std::collections::BTreeMap;

use config::{Value, ValueKind};

use super::Complaint;
use super::layers::{Layers, UNKNOWN, entries};
use super::values::show;

/// Collects complaints.
pub(super) struct Notes<'a> {
    layers: &'a Layers,
    complaints: RefCell<Vec<Complaint>>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(layers: &'a Layers) -> Self {
        Self {
            layers,
            complaints: RefCell::new(layers.odd.clone()),
        }
    }

    /// Returns the whole tree as a table.
    pub(super) fn root(&self) -> Table<'_> {
        self.table_at(String::new(), Some(&self.layers.merged))
    }

    pub(super) fn complain(&self, key: &str, message: impl Into<String>) {
        let key = self.layers.set_as(key);
        self.complaints.borrow_mut().push(Complaint {
            origin: self.layers.origin(&key),
            key,
            message: message.into(),
        });
    }

    /// Returns every complaint once, in the order of keys.
    pub(super) fn into_complaints(self) -> Vec<Complaint> {
        let mut complaints = self.complaints.into_inner();
        complaints.sort();
        complaints.dedup();
        complaints
    }

    fn table_at<'t>(&'t self, path: String, value: Option<&'t Value>) -> Table<'t> {
        let mut table = Table {
            notes: self,
            path,
            left: BTreeMap::new(),
            partial: false,
        };
        match value.map(|value| &value.kind) {
            Some(ValueKind::Table(inner)) => table.left = entries(inner),
            Some(_) => {
                table.partial = true;
                self.complain(
                    &table.path,
                    format!("must be a table, not {}", value.map_or(String::new(), show)),
                );
            }
            None => {}
        }
        table
    }
}

/// A table, and which of its keys nobody has asked for so far.
pub(super) struct Table<'a> {
    notes: &'a Notes<'a>,
    path: String,
    left: BTreeMap<&'a str, &'a Value>,
    /// Whether missing keys are no news: they come from elsewhere, or the complaint about
    /// the whole table covers them.
    partial: bool,
}

impl<'a> Table<'a> {
    /// Lets missing keys be.
    pub(super) fn partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// Returns the dotted path of one of its keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.into()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn complain(&self, key: &str, message: impl Into<String>) {
        self.notes.complain(&self.path_of(key), message);
    }

    /// Reads a value that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.optional(key, parse)?;
        if value.is_none() {
            self.complain_missing(key, "missing");
        }
        value
    }

    /// Complains of a missing value, unless that is no news.
    pub(super) fn complain_missing(&self, key: &str, message: &str) {
        if !self.partial {
            self.complain(key, message);
        }
    }

    /// Reads a value that may be absent: `Some(None)`.
    #[expect(
        clippy::option_option,
        reason = "the outer one says whether the value is usable, like everywhere here"
    )]
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let Some(value) = self.left.remove(key) else {
            return Some(None);
        };
        match parse(value) {
            Ok(value) => Some(Some(value)),
            Err(message) => {
                self.complain(key, message);
                None
            }
        }
    }

    /// Whether a key is set.
    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// Opens a table; an absent one is empty.
    pub(super) fn table(&mut self, key: &str) -> Table<'a> {
        let mut table = self
            .notes
            .table_at(self.path_of(key), self.left.remove(key));
        table.partial |= self.partial;
        table
    }

    /// Opens a table of tables that a site names itself.
    pub(super) fn named(&mut self, key: &str) -> Vec<(String, Table<'a>)> {
        let mut names = self.table(key);
        let keys: Vec<&str> = names.left.keys().copied().collect();
        keys.into_iter()
            .map(|name| {
                if !super::is_name(name) {
                    names.complain(name, "a name has lower-case letters, digits and _ only");
                }
                (name.into(), names.table(name))
            })
            .collect()
    }

    /// Opens a list of tables; an absent one is empty.
    pub(super) fn tables(&mut self, key: &str) -> Vec<Table<'a>> {
        let Some(value) = self.left.remove(key) else {
            return Vec::new();
        };
        let ValueKind::Array(items) = &value.kind else {
            self.complain(
                key,
                format!("must be a list of tables, not {}", show(value)),
            );
            return Vec::new();
        };
        let path = self.path_of(key);
        items
            .iter()
            .enumerate()
            .map(|(i, item)| self.notes.table_at(format!("{path}.{i}"), Some(item)))
            .collect()
    }

    /// Complains of every key that nobody has asked for.
    pub(super) fn close(self) {
        for key in self.left.keys() {
            self.notes.complain(&self.path_of(key), UNKNOWN);
        }
    }
}
