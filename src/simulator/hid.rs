//! One request from arrival to reply: background work first, then the faults, the guards, the endpoint.

use bytes::Bytes;
use http::{Request, Response, header};
use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refusal, http_date},
    callbacks::Callbacks,
    clockwork::{Due, Work},
    faults::{Fault, Faults},
    feed::Feed,
    guard::{self, Passed, Token},
    ledger::{ActiveContainer, Cause, Ledger, LiveCredential, RequestRecord, Violation},
    model::{ContainerStatus, Stock, World},
    rng::Rng,
    routes::{Call, Class, Service},
    settings::Settings,
};

/// The whole model of one HID: every organization, every service.
#[derive(Debug)]
pub struct Hid {
    pub(super) settings: Settings,
    pub(super) faults: Faults,
    pub(super) world: World,
    pub(super) due: Due,
    pub(super) feed: Feed,
    pub(super) callbacks: Callbacks,
    pub(super) ledger: Ledger,
    pub(super) passed: Passed,
    pub(super) tokens: std::collections::BTreeMap<String, Token>,
    pub(super) assertions: super::assertion::Seen,
    /// For codes, tokens and ids; apart from `chance`, so that faults do not change them.
    pub(super) names: Rng,
    pub(super) chance: Rng,
    pub(super) ids: Ids,
    now: i64,
    request_no: u64,
}

/// The last id given of each kind.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) user: u64,
    pub(super) invitation: u64,
    pub(super) container: u64,
    pub(super) credential: u64,
}

/// How a request ends.
#[derive(Debug)]
pub enum Reply {
    /// A `content-length` above the body's own length means that the rest never comes.
    Answer(Response<Bytes>),
    /// The connection is closed without an answer.
    Reset,
    /// Nothing is ever sent; the caller's time-out must end it.
    Hang,
}

impl Hid {
    /// A HID without users. The same seed gives the same codes, tokens and faults.
    pub fn new(settings: Settings, seed: u64) -> Self {
        let mut hid = Self {
            settings,
            faults: Faults::none(),
            world: World::default(),
            due: Due::default(),
            feed: Feed::default(),
            callbacks: Callbacks::default(),
            ledger: Ledger::default(),
            passed: Passed::new(),
            tokens: std::collections::BTreeMap::new(),
            assertions: super::assertion::Seen::new(),
            names: Rng::new(seed),
            chance: Rng::new(!seed),
            ids: Ids {
                user: 880_000,
                invitation: 5_100,
                container: 61_000,
                credential: 72_000,
            },
            now: i64::MIN,
            request_no: 0,
        };
        hid.fill_stock();
        hid
    }

    /// Takes one HTTP request at `now` (milliseconds since the epoch). Never fails, never panics. HID's own clock does
    /// not go back: an earlier `now` counts as the latest one seen.
    pub fn handle(&mut self, now: i64, request: Request<Bytes>) -> Reply {
        self.advance(now);
        self.request_no += 1;
        let call = Call::read(self.request_no, self.now, request);
        let fault = self.faults.draw(&mut self.chance, call.class);
        match fault {
            Some(Fault::LostRequest) => return self.cut(&call, "lost_request", Reply::Reset),
            Some(Fault::Hang) => return self.cut(&call, "hang", Reply::Hang),
            Some(Fault::LateEffect) => {
                let at = self.now + self.chance.delay(self.faults.late_by_max_ms);
                let reply = self.cut(&call, "late_effect", Reply::Reset);
                self.due.add(
                    at,
                    Work::LateCall(Box::new(Call {
                        at,
                        late: true,
                        ..call
                    })),
                );
                return reply;
            }
            Some(_) | None => {}
        }
        let answer = self.serve(&call, fault);
        self.reply(&call, fault, answer)
    }

    /// Runs background work that is due, in order, each piece at its own time.
    pub fn advance(&mut self, now: i64) {
        let now = now.max(self.now);
        while let Some((at, work)) = self.due.take(now) {
            self.now = at.max(self.now);
            self.work(self.now, work);
        }
        self.now = now;
    }

    /// HID's own clock.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// The time of the next background work, for a test clock.
    pub fn next_due(&self) -> Option<i64> {
        self.due.next()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes the settings; new part numbers appear, existing stock stays as it is.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        self.fill_stock();
    }

    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What this HID holds against its callers, oldest first.
    pub fn violations(&self) -> Vec<Violation> {
        self.ledger.violations.clone()
    }

    /// Every credential that is live now, by user and id.
    pub fn live_credentials(&self) -> Vec<LiveCredential> {
        let mut live = Vec::new();
        for user in self.world.users.values() {
            for credential in user
                .credentials
                .iter()
                .filter(|credential| credential.status.is_live())
            {
                live.push(LiveCredential {
                    organization: user.organization.clone(),
                    user: user.id,
                    user_external_id: user.external_id.clone(),
                    container: credential.container,
                    container_status: credential
                        .container
                        .and_then(|id| user.container(id))
                        .map(|container| container.status),
                    part_number: credential.part_number.clone(),
                    card_number: credential.card_number,
                    credential: credential.id,
                    status: credential.status,
                });
            }
        }
        live
    }

    /// Every container that is `ACTIVE` now, by user and id.
    pub fn active_containers(&self) -> Vec<ActiveContainer> {
        let mut active = Vec::new();
        for user in self.world.users.values() {
            for container in user
                .containers
                .iter()
                .filter(|item| item.status == ContainerStatus::Active)
            {
                active.push(ActiveContainer {
                    organization: user.organization.clone(),
                    user: user.id,
                    user_external_id: user.external_id.clone(),
                    container: container.id,
                    active_since: container.modified,
                });
            }
        }
        active
    }

    fn fill_stock(&mut self) {
        for organization in &self.settings.organizations {
            for (index, part) in self.settings.part_numbers.iter().enumerate() {
                let key = (organization.id.clone(), part.part_number.clone());
                self.world.stock.entry(key).or_insert_with(|| Stock {
                    id: format!("{}_{}", organization.id, index + 1),
                    friendly_name: part.friendly_name.clone(),
                    available: part.stock,
                    used: 0,
                    next_card: 1_001,
                    modified: 0,
                });
            }
        }
    }

    /// A request that took effect after its sender was cut off.
    pub(super) fn late_call(&mut self, call: &Call) {
        let answer = self.serve(call, None);
        self.record(call, format!("late_{}", answer.status));
    }

    fn cut(&mut self, call: &Call, outcome: &str, reply: Reply) -> Reply {
        self.record(call, outcome.to_owned());
        reply
    }

    fn record(&mut self, call: &Call, outcome: String) {
        self.ledger.request(RequestRecord {
            no: call.no,
            at: call.at,
            service: call.service,
            class: call.class,
            outcome,
        });
    }

    fn serve(&mut self, call: &Call, fault: Option<Fault>) -> Answer {
        if !self.pass_window(call) {
            return self.throttled();
        }
        match fault {
            Some(Fault::Window403) => self.throttled(),
            Some(_) | None => self
                .endpoint(call, fault)
                .unwrap_or_else(|refusal| refusal.answer(&self.settings, call.service)),
        }
    }

    /// The same body for every service (12.3).
    fn throttled(&self) -> Answer {
        let status = self.settings.throttle_status;
        let body = json!({ "status": status, "detail": "The usage limit is exceeded." });
        Answer {
            retry_after_s: self.settings.retry_after_s,
            ..Answer::new(status, body)
        }
    }

    fn endpoint(&mut self, call: &Call, fault: Option<Fault>) -> Outcome {
        match fault {
            Some(Fault::Http500) => return Err(Refusal::plain(500, "Internal error.")),
            Some(Fault::Http503) => return Err(Refusal::plain(503, "Service unavailable.")),
            Some(Fault::Http429) => return Err(Refusal::plain(429, "Too many requests.")),
            Some(Fault::Permission403) => return Err(guard::permission()),
            Some(Fault::TokenRefused) => return Err(Refusal::plain(401, "invalid_client")),
            Some(Fault::Token401) => {
                if let Some(bearer) = &call.bearer {
                    self.tokens.remove(bearer);
                }
            }
            Some(_) | None => {}
        }
        if !call.late {
            self.pass_token(call)?;
            self.pass_headers(call)?;
        }
        if fault == Some(Fault::StaleRead) {
            let within = self.faults.stale_within_ms;
            self.world.swap_before(call.at, within);
            let answer = self.dispatch(call, fault);
            self.world.swap_before(call.at, within);
            return answer;
        }
        let answer = self.dispatch(call, fault);
        self.forget_what_was_shown(call);
        answer
    }

    fn dispatch(&mut self, call: &Call, fault: Option<Fault>) -> Outcome {
        match call.class {
            Class::Token => self.token(call),
            Class::UserCreate => self.create_user(call),
            Class::UserGet => self.get_user(call),
            Class::UserList => Ok(self.list_users(call)),
            Class::UserSearch => self.search_users(call),
            Class::UserUpdate => self.update_user(call),
            Class::UserPatch => Err(Refusal::plain(501, "Patch is not supported.")),
            Class::UserDelete => self.delete_user(call),
            Class::InvitationCreate => self.create_invitation(call),
            Class::InvitationList => self.list_invitations(call),
            Class::InvitationSearch => self.search_invitations(call),
            Class::InvitationOfUser => self.get_invitation_of_user(call),
            Class::InvitationGet => self.get_invitation(call),
            Class::InvitationEmail => self.mail_invitation(call),
            Class::InvitationCancel => self.cancel_invitation(call),
            Class::ContainerGet => self.get_container(call),
            Class::ContainerList => self.list_containers(call),
            Class::ContainerDelete => self.delete_container(call),
            Class::CredentialList => self.list_credentials(call),
            Class::Issue => self.issue(call, fault),
            Class::CredentialGet => self.get_credential(call),
            Class::Revoke => self.revoke(call),
            Class::PartNumberList => Ok(self.list_part_numbers(call)),
            Class::PartNumberGet => self.get_part_number(call),
            Class::PartNumberSearch => self.search_part_numbers(call),
            Class::Organization => self.get_organization(call),
            Class::SdkVersion => Ok(Self::get_sdk_version()),
            Class::FilterCreate => self.create_filter(call),
            Class::FilterList => Ok(self.list_filters(call)),
            Class::FilterGet => self.get_filter(call),
            Class::FilterDelete => self.delete_filter(call),
            Class::EventsRead if fault == Some(Fault::FeedEmpty) => Ok(Answer::ok(json!([]))),
            Class::EventsRead => self.read_events(call),
            Class::CallbackCreate => self.create_callback(call),
            Class::CallbackList => Ok(self.list_callbacks(call)),
            Class::CallbackDelete => self.delete_callback(call),
            Class::Unknown => Err(Refusal::missing("resource")),
        }
    }

    fn reply(&mut self, call: &Call, fault: Option<Fault>, answer: Answer) -> Reply {
        match fault {
            Some(Fault::LostReply) => return self.cut(call, "lost_reply", Reply::Reset),
            Some(Fault::HangWithEffect) => return self.cut(call, "hang_with_effect", Reply::Hang),
            Some(_) | None => {}
        }
        let mut answer = if fault == Some(Fault::Http500WithEffect) {
            Refusal::plain(500, "Internal error.").answer(&self.settings, call.service)
        } else {
            answer
        };
        if fault == Some(Fault::UnknownEnum)
            && answer.status < 300
            && let Some(body) = &mut answer.body
        {
            make_statuses_unknown(body);
        }
        self.record(call, answer.status.to_string());
        Reply::Answer(self.render(call, fault, &answer))
    }

    fn render(&self, call: &Call, fault: Option<Fault>, answer: &Answer) -> Response<Bytes> {
        let html = answer.status >= 500 && self.settings.plain_server_errors;
        let mut bytes = match &answer.body {
            Some(_) if html => b"<html><body>Server error</body></html>".to_vec(),
            Some(body) => body.to_string().into_bytes(),
            None => Vec::new(),
        };
        if fault == Some(Fault::MalformedJson) && !bytes.is_empty() {
            bytes.splice(0..1, *b"{]");
        }
        let promised = bytes.len();
        if fault == Some(Fault::TruncatedBody) {
            bytes.truncate(promised / 2);
        }
        let mut builder = Response::builder().status(answer.status);
        if let Some(date) = http_date(call.at.saturating_add(self.settings.date_skew_ms)) {
            builder = builder.header(header::DATE, date);
        }
        if promised > 0 {
            builder = builder.header(header::CONTENT_LENGTH, promised).header(
                header::CONTENT_TYPE,
                match call.service {
                    Service::MobileIdentities if !html => {
                        "application/vnd.assaabloy.ma.credential-management-2.2+json;charset=UTF-8"
                    }
                    Service::Token | Service::Events if !html => "application/json; charset=UTF-8",
                    Service::MobileIdentities | Service::Token | Service::Events => "text/html",
                },
            );
        }
        if let Some(location) = &answer.location {
            builder = builder.header(header::LOCATION, location);
        }
        if let Some(seconds) = answer.retry_after_s {
            builder = builder.header(header::RETRY_AFTER, seconds);
        }
        if answer.status == 401 {
            builder = builder.header(header::WWW_AUTHENTICATE, "Bearer");
        }
        builder.body(Bytes::from(bytes)).unwrap_or_default()
    }
}

impl Call {
    pub(super) fn cause(&self) -> Cause {
        Cause::Request {
            no: self.no,
            late: self.late,
        }
    }
}

fn make_statuses_unknown(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == "status" && field.is_string() {
                    *field = json!("BRAND_NEW_STATE");
                } else {
                    make_statuses_unknown(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_statuses_unknown),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
