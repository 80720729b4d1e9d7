//! The events API: storing, filters, reading (`origo-api.md` 9).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refusal, parse_time},
    faults::Fault,
    hid::Hid,
    ledger::{Cause, Effect},
    routes::Call,
    settings::{EventBounds, EventOrder},
};

/// Events in order of time, with the filters of all organizations.
#[derive(Debug, Default)]
pub(super) struct Feed {
    events: Vec<Event>,
    /// By filter id.
    filters: BTreeMap<String, Filter>,
}

#[derive(Debug)]
struct Event {
    at: i64,
    readable_from: i64,
    /// Its place in the list; reordered events have one that is not theirs.
    place: i64,
    organization: String,
    body: Value,
}

#[derive(Debug)]
pub(super) struct Filter {
    organization: String,
    names: Vec<String>,
}

impl Filter {
    /// A filter names single events or groups (9.1); a group is taken to be a `type`.
    pub(super) fn takes(&self, event: &Value) -> bool {
        let named = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| self.names.iter().any(|name| name == text))
        };
        named(&event["data"]["status"]) || named(&event["type"])
    }

    fn body(&self, id: &str) -> Value {
        json!({ "filterId": id, "filterSet": self.names })
    }
}

impl Hid {
    /// Stores an event, unless a fault has it lost, doubled, moved or late.
    pub(super) fn store_event(&mut self, at: i64, organization: &str, body: &Value) {
        let mut strikes = |fault| self.faults.strikes_now(&mut self.chance, fault);
        let missing = strikes(Fault::EventMissing);
        let duplicated = strikes(Fault::EventDuplicated);
        let reordered = strikes(Fault::EventReordered);
        let late = strikes(Fault::EventLate);
        if missing {
            let status = body["data"]["status"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            self.ledger
                .note(at, Cause::Clock, Effect::EventDropped { status });
            return;
        }
        let mut readable_from = at.saturating_add_unsigned(self.settings.event_delay_ms);
        if late {
            readable_from += self.chance.delay(self.faults.event_late_by_max_ms);
        }
        let mut place = i64::try_from(self.feed.events.len()).unwrap_or(i64::MAX) * 2;
        if reordered {
            place -= 7;
        }
        let copies = if duplicated { 2 } else { 1 };
        for _ in 0..copies {
            self.feed.events.push(Event {
                at,
                readable_from,
                place,
                organization: organization.to_owned(),
                body: body.clone(),
            });
            self.owe_callbacks(at, organization, body);
        }
    }

    pub(super) fn read_events(&mut self, call: &Call) -> Outcome {
        let time = |name: &str| match call.parameter(name) {
            None => Ok(None),
            Some(text) => parse_time(text)
                .map(Some)
                .ok_or_else(|| Refusal::plain(400, format!("{name} is not a date."))),
        };
        let retention_ms = self.settings.event_retention_s.saturating_mul(1_000);
        let kept_from = call.at.saturating_sub_unsigned(retention_ms);
        let from = time("dateFrom")?.unwrap_or(i64::MIN);
        let to = time("dateTo")?.unwrap_or(i64::MAX);
        let filter = match call.parameter("filterId") {
            None => None,
            Some(id) => Some(self.find_filter(&call.organization, id)?),
        };
        let (first, last) = match self.settings.event_bounds {
            EventBounds::FromOnly => (true, false),
            EventBounds::ToOnly => (false, true),
            EventBounds::Both => (true, true),
            EventBounds::Neither => (false, false),
        };
        let is_inside = |at: i64| {
            (at > from || (first && at == from))
                && (at < to || (last && at == to))
                && at >= kept_from
        };
        let start = self.feed.events.partition_point(|event| event.at < from);
        let mut found: Vec<&Event> = self.feed.events[start..]
            .iter()
            .take_while(|event| event.at <= to)
            .filter(|event| event.organization == call.organization)
            .filter(|event| is_inside(event.at) && event.readable_from <= call.at)
            .filter(|event| filter.is_none_or(|filter| filter.takes(&event.body)))
            .collect();
        found.sort_by_key(|event| event.place);
        if let Some(most) = self.settings.event_page {
            found.truncate(most);
        }
        let mut bodies: Vec<Value> = found.into_iter().map(|event| event.body.clone()).collect();
        match self.settings.event_order {
            EventOrder::NewestLast => {}
            EventOrder::NewestFirst => bodies.reverse(),
            EventOrder::Shuffled => {
                for index in (1..bodies.len()).rev() {
                    let bound = u64::try_from(index + 1).unwrap_or(1);
                    bodies.swap(
                        index,
                        usize::try_from(self.chance.below(bound)).unwrap_or(0),
                    );
                }
            }
        }
        Ok(Answer::ok(Value::Array(bodies)))
    }

    pub(super) fn create_filter(&mut self, call: &Call) -> Outcome {
        let body = call.json()?;
        let names: Option<Vec<String>> = body["filterSet"].as_array().map(|list| {
            list.iter()
                .filter_map(Value::as_str)
                .map(ToOwned::to_owned)
                .collect()
        });
        let names = names
            .filter(|names| !names.is_empty())
            .ok_or_else(|| Refusal::plain(400, "filterSet takes a list of event names."))?;
        let id = self.names.uuid().to_string();
        let filter = Filter {
            organization: call.organization.clone(),
            names,
        };
        let answer = filter.body(&id);
        self.feed.filters.insert(id, filter);
        Ok(Answer::new(201, answer))
    }

    pub(super) fn list_filters(&mut self, call: &Call) -> Answer {
        let own = self
            .feed
            .filters
            .iter()
            .filter(|(_, filter)| filter.organization == call.organization);
        Answer::ok(own.map(|(id, filter)| filter.body(id)).collect())
    }

    pub(super) fn get_filter(&mut self, call: &Call) -> Outcome {
        self.find_filter(&call.organization, &call.id)
            .map(|filter| Answer::ok(filter.body(&call.id)))
    }

    pub(super) fn delete_filter(&mut self, call: &Call) -> Outcome {
        self.find_filter(&call.organization, &call.id)?;
        self.feed.filters.remove(&call.id);
        Ok(Answer::empty(204))
    }

    pub(super) fn find_filter(&self, organization: &str, id: &str) -> Result<&Filter, Refusal> {
        self.feed
            .filters
            .get(id)
            .filter(|filter| filter.organization == organization)
            .ok_or_else(|| Refusal::missing("filter"))
    }
}
