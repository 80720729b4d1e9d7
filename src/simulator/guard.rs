//! What every request passes before its endpoint looks at it: the window, the token, the headers.

use std::collections::{BTreeMap, VecDeque};

use super::{
    answer::Refusal,
    hid::Hid,
    ledger::Violation,
    routes::{Call, Class, Service},
    settings::{ApplicationHeaders, MediaTypes, Settings, WindowKey, WindowKind},
    shapes,
};

/// Times of the requests let through, by service and key.
pub(super) type Passed = BTreeMap<(Service, String), VecDeque<i64>>;

/// An access token, opaque to the caller.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) organization: String,
    pub(super) expires: i64,
    pub(super) used: i64,
}

const MEDIA_TYPE: &str = "application/vnd.assaabloy.ma.credential-management-2.2+json";

impl Hid {
    /// Counts the request, or says that the window is full (10.4). A refused request is not counted.
    pub(super) fn pass_window(&mut self, call: &Call) -> bool {
        let window = match call.service {
            Service::Token => self.settings.windows.token,
            Service::MobileIdentities => self.settings.windows.mobile_identities,
            Service::Events => self.settings.windows.events,
        };
        let key = match self.settings.window_key {
            WindowKey::Organization => call.organization.clone(),
            WindowKey::Host => call.host.clone(),
        };
        let period = i64::try_from(window.per_s.saturating_mul(1_000))
            .unwrap_or(i64::MAX)
            .max(1);
        let oldest = match self.settings.window_kind {
            WindowKind::Sliding => call.at.saturating_sub(period).saturating_add(1),
            WindowKind::Fixed => call.at - call.at.rem_euclid(period),
        };
        let passed = self.passed.entry((call.service, key.clone())).or_default();
        while passed.front().is_some_and(|at| *at < oldest) {
            passed.pop_front();
        }
        if passed.len() < window.requests {
            passed.push_back(call.at);
            return true;
        }
        self.ledger.violations.push(Violation::WindowExceeded {
            at: call.at,
            no: call.no,
            service: call.service,
            key,
            late: call.late,
        });
        false
    }

    /// Checks the bearer token (2.1). A 401 carries the error URN as its `scimType`, a quirk (10.2).
    pub(super) fn pass_token(&mut self, call: &Call) -> Result<(), Refusal> {
        if call.class == Class::Token {
            return Ok(());
        }
        let idle = self
            .settings
            .token_idle_s
            .and_then(|idle| i64::try_from(idle.saturating_mul(1_000)).ok());
        let token = call
            .bearer
            .as_ref()
            .and_then(|bearer| self.tokens.get_mut(bearer));
        match token {
            Some(token)
                if token.expires > call.at
                    && idle.is_none_or(|idle| token.used.saturating_add(idle) > call.at) =>
            {
                token.used = call.at;
                if token.organization == call.organization {
                    Ok(())
                } else {
                    Err(permission())
                }
            }
            Some(_) | None => Err(unauthorized()),
        }
    }

    /// Checks what section 1.2 says of headers.
    pub(super) fn pass_headers(&mut self, call: &Call) -> Result<(), Refusal> {
        if call.class == Class::Token {
            return Ok(());
        }
        if !call.has_application_id {
            let violation = Violation::NoApplicationId {
                at: call.at,
                no: call.no,
                class: call.class,
            };
            self.ledger.violations.push(violation);
            match self.settings.application_headers {
                ApplicationHeaders::Ignored => {}
                ApplicationHeaders::Forbidden => {
                    return Err(Refusal::plain(403, "Application-ID is required."));
                }
                ApplicationHeaders::BadRequest => {
                    return Err(Refusal::plain(400, "Application-ID is required."));
                }
            }
        }
        if media_type_fits(&self.settings, call) {
            Ok(())
        } else {
            Err(Refusal::plain(415, "The media type is not supported."))
        }
    }
}

fn media_type_fits(settings: &Settings, call: &Call) -> bool {
    if call.body.is_empty() || settings.media_types == MediaTypes::Any {
        return true;
    }
    let sent = call.content_type.as_deref().unwrap_or_default();
    let (bare, parameters) = sent
        .split_once(';')
        .map_or((sent, ""), |(bare, rest)| (bare.trim(), rest));
    match call.service {
        Service::Token => true,
        Service::Events => bare.eq_ignore_ascii_case("application/json"),
        Service::MobileIdentities => {
            let bare_enough =
                settings.media_types == MediaTypes::CharsetAllowed || parameters.is_empty();
            bare.eq_ignore_ascii_case(MEDIA_TYPE) && bare_enough
        }
    }
}

pub(super) fn unauthorized() -> Refusal {
    Refusal {
        status: 401,
        scim_type: Some(shapes::ERROR),
        detail: "The access token is missing or expired.".to_owned(),
    }
}

pub(super) fn permission() -> Refusal {
    Refusal::plain(403, "The client is not authorized for this resource.")
}
