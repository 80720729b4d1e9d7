//! Answers and refusals before they become bytes; times as HID writes and reads them.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::{Value, json};

use super::{
    routes::Service,
    settings::{DetailField, NumberForm, Settings},
    shapes,
};

/// A success, or an error already in its final shape.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
    pub(super) location: Option<String>,
    pub(super) retry_after_s: Option<u64>,
}

/// What an endpoint says instead of doing it (10.2).
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) scim_type: Option<&'static str>,
    pub(super) detail: String,
}

pub(super) type Outcome = Result<Answer, Refusal>;

impl Answer {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
            location: None,
            retry_after_s: None,
        }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            body: None,
            location: None,
            retry_after_s: None,
        }
    }

    pub(super) fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }
}

impl Refusal {
    pub(super) fn syntax(detail: impl Into<String>) -> Self {
        Self {
            status: 400,
            scim_type: Some("invalidSyntax"),
            detail: detail.into(),
        }
    }

    pub(super) fn value(detail: impl Into<String>) -> Self {
        Self {
            status: 400,
            scim_type: Some("invalidValue"),
            detail: detail.into(),
        }
    }

    pub(super) fn filter(detail: impl Into<String>) -> Self {
        Self {
            status: 400,
            scim_type: Some("invalidFilter"),
            detail: detail.into(),
        }
    }

    pub(super) fn missing(what: &str) -> Self {
        Self {
            status: 404,
            scim_type: Some("noTarget"),
            detail: format!("The {what} does not exist."),
        }
    }

    pub(super) fn mutability(detail: impl Into<String>) -> Self {
        Self {
            status: 412,
            scim_type: Some("mutability"),
            detail: detail.into(),
        }
    }

    pub(super) fn plain(status: u16, detail: impl Into<String>) -> Self {
        Self {
            status,
            scim_type: None,
            detail: detail.into(),
        }
    }

    /// The body of 10.1; events answer in their own form (9.5), the token endpoint in that of RFC 6749 (2.2).
    pub(super) fn answer(&self, settings: &Settings, service: Service) -> Answer {
        let status = match settings.error_status {
            NumberForm::Number => json!(self.status),
            NumberForm::String => json!(self.status.to_string()),
        };
        let field = match settings.error_field {
            DetailField::Detail => "detail",
            DetailField::Message => "message",
        };
        let body = match service {
            Service::MobileIdentities => json!({
                "schemas": [shapes::ERROR], "status": status, field: self.detail, "scimType": self.scim_type,
            }),
            Service::Events => {
                json!({ "responseHeader": { "statusCode": status, field: self.detail } })
            }
            Service::Token => json!({ "error": self.detail }),
        };
        Answer::new(self.status, body)
    }
}

/// UTC, second precision, `Z` (4.2).
pub(super) fn seconds(at: i64) -> String {
    format_time(at, "%Y-%m-%dT%H:%M:%SZ")
}

/// UTC with milliseconds, as event times are (9.3).
pub(super) fn millis(at: i64) -> String {
    format_time(at, "%Y-%m-%dT%H:%M:%S.%3fZ")
}

fn format_time(at: i64, format: &str) -> String {
    Timestamp::from_millisecond(at)
        .map(|time| time.strftime(format).to_string())
        .unwrap_or_default()
}

/// ISO 8601; no zone means UTC (3.5).
pub(super) fn parse_time(text: &str) -> Option<i64> {
    // A `+` that the caller forgot to escape arrives as a space.
    let text = text.replace(' ', "+");
    let zoned = text.parse::<Timestamp>().ok();
    let local = || {
        text.parse::<civil::DateTime>()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()
    };
    zoned
        .or_else(|| local().map(|time| time.timestamp()))
        .map(Timestamp::as_millisecond)
}

/// The `Date` header.
pub(super) fn http_date(at: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(at).ok()?;
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .ok()
}
