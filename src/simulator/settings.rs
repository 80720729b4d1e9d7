//! Every behaviour of HID that the documents leave open, as a switch. The defaults are those of `origo-api.md` 12.3.

use serde::{Deserialize, Serialize};

/// What kind of HID this is. Loads from a file in which every key is optional and an unknown key is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent open question about HID"
)]
pub struct Settings {
    /// Who may log in, and whose users these are.
    pub organizations: Vec<Organization>,
    /// Start of every `location` and event `source`; its host may differ from the one called (3.5).
    pub public_url: String,
    /// Each organization begins with these, each with a stock of its own.
    pub part_numbers: Vec<PartNumber>,
    /// Used where a request names none; none at all is an error (4.2).
    pub default_part_number: Option<String>,
    /// `Perpetual` or a subscription kind (8).
    pub subscription_mode: String,
    /// Licence period; `SUSPENDED` and `TERMINATED` refuse every issue. The real refusal is unknown (7).
    pub period_state: String,
    /// Whether a revoked credential's place in the stock can be used again. Unknown (6.4).
    pub stock_returns_on_revoke: bool,

    /// The second issue of one part number to one container: the dearest open question (6.5, 12.2).
    pub duplicate_issue: DuplicateIssue,
    /// Credentials a container can hold. A limit exists, its value is unknown (6.5).
    pub container_limit: usize,
    /// How long a revoked credential can be read. Unknown (6.4).
    pub revoked_visibility: RevokedVisibility,
    /// Issue answers the URN list form instead of the bare object (6.2: clients accept both).
    pub issue_answers_list: bool,
    /// String in REST JSON, integer in the 1.0 schema (6.2).
    pub card_number: NumberForm,
    /// Whether a credential reserved with an invitation is shown on its user before there is a phone. Unknown.
    pub reserved_shown_on_user: bool,
    /// What becomes of a credential reserved with a code that expires or is cancelled. Unknown (4.3).
    pub reserved_released_on_expiry: bool,

    /// An organization setting at HID; one sample spans 48 hours (4.2).
    pub invitation_lifetime_ms: u64,
    /// `CANCEL_INITIATED` to `CANCELLED`.
    pub cancel_delay_ms: u64,
    /// Redemption (`INITIALIZED`) to `ACTIVE`.
    pub container_ready_ms: u64,
    /// `ISSUE_INITIATED` to `ISSUING`.
    pub issuing_delay_ms: u64,
    /// `ISSUING` to `ISSUED`: the phone confirms.
    pub issue_confirm_ms: u64,
    /// `REVOKE_INITIATED` to `REVOKING`.
    pub revoking_delay_ms: u64,
    /// `REVOKING` to `REVOKED`: the phone confirms.
    pub revoke_confirm_ms: u64,
    /// The least time a container stays in `DELETE_INITIATED`; its credentials may keep it longer.
    pub container_delete_ms: u64,
    /// The least time a user stays in `DELETE_INITIATED` when there is something to tear down. Unknown (3.6).
    pub user_delete_ms: u64,
    /// Whether HID learns that the app left a phone. No evidence (lifecycles 2).
    pub phone_removal: PhoneRemoval,
    /// Does registering a phone change the user's `meta.lastModified`? Unknown (12.2, 8).
    pub registration_touches_user: bool,
    /// How `ACTIVE` is spelled for containers; clients must compare without case (5).
    pub active_spelling: String,

    /// A second user with the same e-mail address is refused with 409 (3.3).
    pub unique_emails: bool,
    /// Rules that rest on generation 1.0 alone (12.4): `schemas`, field lengths, search whitelists.
    pub strict_bodies: bool,
    /// Whether requests without `Application-ID` are refused. Unproven (1.2).
    pub application_headers: ApplicationHeaders,
    /// What request media types are taken (1.2).
    pub media_types: MediaTypes,
    /// Rows a search or list gives at most (3.5).
    pub page_cap: usize,

    /// Requests per service and time (10.4).
    pub windows: Windows,
    /// What a window counts by: the sources disagree (10.4).
    pub window_key: WindowKey,
    /// Unknown (10.4).
    pub window_kind: WindowKind,
    /// Status of a refusal by window; 403 by the official page (10.4).
    pub throttle_status: u16,
    /// Seconds in a `Retry-After` on such a refusal. Never seen (10.3).
    pub retry_after_s: Option<u64>,

    /// Life of a token (2.1).
    pub token_lifetime_s: u64,
    /// What an assertion's `aud` must be; absent: anything (2.4).
    pub assertion_audience: Option<String>,
    /// Whether `client_assertion_type` must come with an assertion, or must not; absent: either is taken (2.4).
    pub assertion_type_sent: Option<bool>,

    /// Death of a token that is not used; one weak note says 300 (2.1).
    pub token_idle_s: Option<u64>,

    /// `detail` on the wire in 1.0, `message` in one client's model (10.1).
    pub error_field: DetailField,
    /// `status` in error bodies (10.1).
    pub error_status: NumberForm,
    /// 5xx answers carry HTML instead of JSON.
    pub plain_server_errors: bool,
    /// The `Date` header's distance from the true time.
    pub date_skew_ms: i64,

    /// Events older than this are not given any more. Unknown (9.2).
    pub event_retention_s: u64,
    /// Unknown (9.2).
    pub event_order: EventOrder,
    /// Which ends of `dateFrom` and `dateTo` belong to the answer. Unknown (9.2).
    pub event_bounds: EventBounds,
    /// More events than this are cut silently. Unknown (9.2).
    pub event_page: Option<usize>,
    /// Time between what happened and its event being readable.
    pub event_delay_ms: u64,
    /// Events whose names were never seen: `CREDENTIAL_REVOKED`, `ENDPOINT_DELETED` and others (9.3).
    pub extra_event_statuses: bool,
    /// An event `CREDENTIAL_ISSUE_INITIATED` at acceptance, beside `CREDENTIAL_ISSUED`. Unknown (9.3).
    pub issue_initiated_events: bool,
    /// The text `undefined` was guarded against by a client (9.3).
    pub invitation_id_in_events: InvitationIdInEvents,
    /// Ids in event data (9.3).
    pub event_ids: NumberForm,

    /// How a caller back says who it is: two clients disagree (9.4).
    pub callback_authentication: CallbackAuthentication,
    /// Whether a callback must name a filter. Unknown (9.4).
    pub callback_needs_filter: bool,
    /// Events that happen together are posted together; else each alone. Unknown (9.4: the media type is a batch's).
    pub callback_batches: bool,
    /// Time between what happened and its callback (9.4: near-real-time).
    pub callback_delay_ms: u64,
    /// How often what is not answered with 200 is posted again, a second later. The sources disagree (9.4).
    pub callback_retries: u32,
    /// How often each is posted too often. Unknown.
    pub callback_duplicates: u32,
}

/// A HID organization and its one system account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    pub id: String,
    #[serde(default)]
    pub name: String,
    pub client_id: String,
    pub client_secret: String,
    /// RSA, in PEM (SPKI): the account may log in by a signed assertion as well (2.4).
    #[serde(default)]
    pub public_key: Option<String>,
}

/// A part number an organization owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartNumber {
    pub part_number: String,
    #[serde(default)]
    pub friendly_name: String,
    /// Absent: never runs out.
    #[serde(default)]
    pub stock: Option<u32>,
}

/// The answer to a second issue of one part number to one container (6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateIssue {
    /// 412 whose text says it is already delivered.
    Refuse,
    /// Each issue draws a new card number.
    SecondCredential,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedVisibility {
    OneReadThenGone,
    Stays,
    GoneAtOnce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhoneRemoval {
    /// The container is deleted and its credentials end.
    Noticed,
    /// The phone is merely never heard of again.
    Unnoticed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberForm {
    String,
    Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetailField {
    Detail,
    Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationHeaders {
    Ignored,
    /// 403 without `Application-ID`.
    Forbidden,
    /// 400 without `Application-ID`.
    BadRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaTypes {
    /// The vendor type without parameters, else 415.
    Exact,
    /// The vendor type, with or without a charset.
    CharsetAllowed,
    Any,
}

/// What a registration names, and what its callbacks carry (9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackAuthentication {
    /// `httpHeader` and `secret`, together or not at all.
    HeaderSecret,
    /// `authenticationType` and `apiKey`; in which header the key travels is unknown.
    ApiKey,
}

/// How many requests are let through in how many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub requests: usize,
    pub per_s: u64,
}

/// The windows of each service (10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Windows {
    pub mobile_identities: Window,
    pub events: Window,
    pub token: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKey {
    Organization,
    Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    Sliding,
    /// Counted from multiples of the period.
    Fixed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOrder {
    NewestLast,
    NewestFirst,
    Shuffled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventBounds {
    /// `[from, to)`
    FromOnly,
    /// `(from, to]`
    ToOnly,
    /// `[from, to]`
    Both,
    /// `(from, to)`
    Neither,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvitationIdInEvents {
    Present,
    /// The literal text `undefined`.
    Undefined,
    Absent,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            mobile_identities: Window {
                requests: 300,
                per_s: 300,
            },
            events: Window {
                requests: 300,
                per_s: 300,
            },
            token: Window {
                requests: 50,
                per_s: 300,
            },
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            organizations: vec![Organization {
                id: "7001234".to_owned(),
                name: "Example organization".to_owned(),
                client_id: "7001234-OSRV900001".to_owned(),
                client_secret: "simulator-secret".to_owned(),
                public_key: None,
            }],
            public_url: "https://ma.api.assaabloy.com".to_owned(),
            part_numbers: vec![
                PartNumber {
                    part_number: "MID-SUB-EXAMPLE_1".to_owned(),
                    friendly_name: "Main site".to_owned(),
                    stock: None,
                },
                PartNumber {
                    part_number: "MID-SUB-EXAMPLE_2".to_owned(),
                    friendly_name: "Second site".to_owned(),
                    stock: None,
                },
            ],
            default_part_number: Some("MID-SUB-EXAMPLE_1".to_owned()),
            subscription_mode: "Subscription".to_owned(),
            period_state: "NORMAL".to_owned(),
            stock_returns_on_revoke: true,
            duplicate_issue: DuplicateIssue::Refuse,
            container_limit: 5,
            revoked_visibility: RevokedVisibility::OneReadThenGone,
            issue_answers_list: false,
            card_number: NumberForm::String,
            reserved_shown_on_user: true,
            reserved_released_on_expiry: true,
            invitation_lifetime_ms: 48 * 3_600_000,
            cancel_delay_ms: 500,
            container_ready_ms: 1_000,
            issuing_delay_ms: 500,
            issue_confirm_ms: 3_000,
            revoking_delay_ms: 500,
            revoke_confirm_ms: 3_000,
            container_delete_ms: 1_000,
            user_delete_ms: 2_000,
            phone_removal: PhoneRemoval::Noticed,
            registration_touches_user: false,
            active_spelling: "ACTIVE".to_owned(),
            unique_emails: true,
            strict_bodies: true,
            application_headers: ApplicationHeaders::Ignored,
            media_types: MediaTypes::Exact,
            page_cap: 25,
            windows: Windows::default(),
            window_key: WindowKey::Organization,
            window_kind: WindowKind::Sliding,
            throttle_status: 403,
            retry_after_s: None,
            token_lifetime_s: 3_600,
            assertion_audience: None,
            assertion_type_sent: None,
            token_idle_s: None,
            error_field: DetailField::Detail,
            error_status: NumberForm::Number,
            plain_server_errors: false,
            date_skew_ms: 0,
            event_retention_s: 30 * 86_400,
            event_order: EventOrder::NewestLast,
            event_bounds: EventBounds::FromOnly,
            event_page: None,
            event_delay_ms: 0,
            extra_event_statuses: false,
            issue_initiated_events: false,
            invitation_id_in_events: InvitationIdInEvents::Present,
            event_ids: NumberForm::String,
            callback_authentication: CallbackAuthentication::HeaderSecret,
            callback_needs_filter: true,
            callback_batches: true,
            callback_delay_ms: 0,
            callback_retries: 0,
            callback_duplicates: 0,
        }
    }
}
