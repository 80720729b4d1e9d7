//! Values out of rows. What does not decode is `Corrupt`, and says nothing of what it held.

use std::fmt;

use serde::de::DeserializeOwned;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::{Decode, Row as _, Type};

use crate::store::{Error, common};

/// One row as read, and what to call it should it make no sense.
pub(super) struct Cells<'a, K> {
    row: &'a PgRow,
    table: &'static str,
    key: K,
}

impl<'a, K: fmt::Display> Cells<'a, K> {
    pub(super) fn new(row: &'a PgRow, table: &'static str, key: K) -> Self {
        Self { row, table, key }
    }

    pub(super) fn get<T>(&self, column: usize) -> Result<T, Error>
    where
        T: Decode<'a, Postgres> + Type<Postgres>,
    {
        self.row
            .try_get(column)
            .map_err(|error| self.corrupt(error))
    }

    pub(super) fn get_u64(&self, column: usize) -> Result<u64, Error> {
        u64::try_from(self.get::<i64>(column)?).map_err(|error| self.corrupt(error))
    }

    pub(super) fn get_json<T: DeserializeOwned>(&self, column: usize) -> Result<T, Error> {
        common::parse(self.get(column)?).map_err(|error| self.corrupt(error))
    }

    pub(super) fn corrupt(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::Corrupt {
            table: self.table,
            key: self.key.to_string(),
            source: source.into(),
        }
    }
}
