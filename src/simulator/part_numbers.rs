//! Part numbers and their stock (`origo-api.md` 7).

use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Outcome, Refusal},
    hid::Hid,
    model::Stock,
    routes::Call,
    scim::{Query, Rules},
    shapes,
};

const RULES: Rules = Rules {
    filterable: &["partnumber", "friendlyname", "meta.lastmodified"],
    returnable: &["partnumber", "friendlyname"],
    urn: shapes::PART_NUMBER,
};

/// Why no credential can be drawn. The texts hold the fragments clients look for (10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StockProblem {
    NoDefault,
    NotYours,
    NoneLeft,
    NamedNotAvailable,
    /// Its wording at HID is unknown (7).
    LicenseSuspended,
}

/// What a credential gets from its part number.
pub(super) struct Drawn {
    pub(super) card_number: u64,
    pub(super) friendly_name: String,
}

impl StockProblem {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NoDefault => "The organization has no default part number.",
            Self::NotYours => "The part number is not associated to your company.",
            Self::NoneLeft => "The part number does not have any credentials left.",
            Self::NamedNotAvailable => "The credential is not available.",
            Self::LicenseSuspended => "The license is suspended.",
        }
    }
}

impl Hid {
    /// The part number meant: the one named, or the default.
    pub(super) fn resolve_part_number(
        &self,
        organization: &str,
        named: &str,
    ) -> Result<String, StockProblem> {
        let part_number = match (named, &self.settings.default_part_number) {
            ("", None) => return Err(StockProblem::NoDefault),
            ("", Some(default)) => default.clone(),
            (named, _) => named.to_owned(),
        };
        if self
            .world
            .stock
            .contains_key(&(organization.to_owned(), part_number.clone()))
        {
            Ok(part_number)
        } else {
            Err(StockProblem::NotYours)
        }
    }

    /// The part number to draw from, when there is something to draw. No credential of the pool has an id a caller
    /// could know, so a named one is never available.
    pub(super) fn choose_part_number(
        &self,
        organization: &str,
        named: &str,
        credential: &str,
    ) -> Result<String, StockProblem> {
        let part_number = self.resolve_part_number(organization, named)?;
        if !credential.is_empty() {
            return Err(StockProblem::NamedNotAvailable);
        }
        if ["SUSPENDED", "TERMINATED"].contains(&self.settings.period_state.as_str()) {
            return Err(StockProblem::LicenseSuspended);
        }
        match self
            .world
            .stock
            .get(&(organization.to_owned(), part_number.clone()))
        {
            Some(Stock {
                available: Some(0), ..
            })
            | None => Err(StockProblem::NoneLeft),
            Some(_) => Ok(part_number),
        }
    }

    pub(super) fn draw_card(&mut self, organization: &str, part_number: &str, at: i64) -> Drawn {
        let key = (organization.to_owned(), part_number.to_owned());
        let Some(stock) = self.world.stock.get_mut(&key) else {
            return Drawn {
                card_number: 0,
                friendly_name: String::new(),
            };
        };
        let card_number = stock.next_card;
        stock.next_card += 1;
        stock.used += 1;
        stock.available = stock.available.map(|left| left.saturating_sub(1));
        stock.modified = at;
        Drawn {
            card_number,
            friendly_name: stock.friendly_name.clone(),
        }
    }

    pub(super) fn return_card(&mut self, organization: &str, part_number: &str, at: i64) {
        if let Some(stock) = self
            .world
            .stock
            .get_mut(&(organization.to_owned(), part_number.to_owned()))
        {
            stock.used = stock.used.saturating_sub(1);
            stock.available = stock.available.map(|left| left.saturating_add(1));
            stock.modified = at;
        }
    }

    pub(super) fn list_part_numbers(&mut self, call: &Call) -> Answer {
        let mut list: Vec<(&str, &Stock)> = self.stock_of(&call.organization).collect();
        list.sort_by_key(|(_, stock)| std::cmp::Reverse((stock.modified, stock.id.clone())));
        let rows = list
            .iter()
            .take(self.settings.page_cap)
            .map(|(_, stock)| json!({ "meta": self.part_meta(call, stock) }));
        Answer::ok(shapes::list(list.len(), 1, &rows.collect::<Vec<_>>()))
    }

    pub(super) fn get_part_number(&mut self, call: &Call) -> Outcome {
        let (part_number, stock) = self
            .stock_of(&call.organization)
            .find(|(_, stock)| stock.id == call.id)
            .ok_or_else(|| Refusal::missing("part number"))?;
        let entry = json!({
            "meta": self.part_meta(call, stock),
            "id": stock.id,
            "partNumber": part_number,
            "friendlyName": stock.friendly_name,
            // Unlimited stock has no figure of its own on the wire.
            "availableQty": stock.available.unwrap_or(9_999),
            "offset": "0", "prefix": "", "suffix": "",
            "nextNumber": stock.next_card.to_string(),
            "lastNumber": "999999",
            "badge_type": "",
            "programmingData": { "Facility Code": "9", "Format": "H10301" },
            "replenishmentState": "Not Needed",
        });
        Ok(Answer::ok(shapes::under_urn(shapes::PART_NUMBER, &entry)))
    }

    pub(super) fn search_part_numbers(&mut self, call: &Call) -> Outcome {
        let query = Query::read(&call.json()?, &RULES, self.settings.page_cap)?;
        let list: Vec<(&str, &Stock)> = self.stock_of(&call.organization).collect();
        let (total, page) =
            query.select(
                list.iter(),
                |(part_number, stock), attribute| match attribute {
                    "partnumber" => vec![(*part_number).to_owned()],
                    "friendlyname" => vec![stock.friendly_name.clone()],
                    "meta.lastmodified" => vec![Query::time(stock.modified)],
                    _ => vec![stock.id.clone()],
                },
            );
        let rows = page.into_iter().map(|(part_number, stock)| {
            let mut row = Map::new();
            row.insert("meta".to_owned(), self.part_meta(call, stock));
            for attribute in &query.attributes {
                match attribute.as_str() {
                    "partnumber" => drop(row.insert("partNumber".to_owned(), json!(part_number))),
                    _ => drop(row.insert("friendlyName".to_owned(), json!(stock.friendly_name))),
                }
            }
            Value::Object(row)
        });
        Ok(Answer::ok(shapes::list(
            total,
            query.start,
            &rows.collect::<Vec<_>>(),
        )))
    }

    pub(super) fn stock_of<'a>(
        &'a self,
        organization: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Stock)> {
        self.world
            .stock
            .iter()
            .filter(move |((owner, _), _)| owner == organization)
            .map(|((_, part_number), stock)| (part_number.as_str(), stock))
    }

    fn part_meta(&self, call: &Call, stock: &Stock) -> Value {
        let path = format!("part-number/{}", stock.id);
        shapes::meta(
            &self.settings,
            &call.organization,
            "PartNumber",
            stock.modified,
            &path,
        )
    }
}
