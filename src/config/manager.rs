//! From a table of the merged tree to [`CredentialManager`].

use std::collections::BTreeMap;

use url::Url;
use uuid::Uuid;

use super::read::Table;
use super::values::{
    SECOND, any_duration, at_least, base_url, derive, digits, flag, id, rsa_key, secret, share,
    share_or_nothing, text, whole, word,
};
use super::{
    AdoptUsers, CardProfile, CredentialManager, Delivery, Environment, Invitations, Login,
    OverLimit, PartNumber, Phones, Polling, SameDevice, Window, WindowKey, Windows,
};

/// Reads one manager, or what is set for all of them.
pub(super) fn credential_manager(
    workspace_id: Uuid,
    name: &str,
    mut table: Table<'_>,
) -> Option<CredentialManager> {
    let acs_system_id = table.optional("acs_system_id", id);
    let organization_id = table.required("organization_id", digits);
    let environment = table.required(
        "environment",
        word(&[
            ("production", Environment::Production),
            ("certification", Environment::Certification),
            ("simulator", Environment::Simulator),
        ]),
    );
    let application_id = table.required("application_id", text);
    let application_version = table.required("application_version", text);
    let client_id = table.required("client_id", text);
    let login = login(&mut table);
    let request_timeout = table.required("request_timeout", at_least(SECOND));
    let default_part_number = table.optional("default_part_number", text);
    let adopt_users = table.required(
        "adopt_users",
        word(&[
            ("ours", AdoptUsers::Ours),
            ("by_email", AdoptUsers::ByEmail),
        ]),
    );
    let windows = windows(table.table("windows"));
    let polling = polling(table.table("polling"));
    let invitations = invitations(table.table("invitations"));
    let phones = phones(table.table("phones"));
    let repair_drift = repair_drift(table.table("drift"));

    let token_url = url(&mut table, "token_url", environment, |urls| urls.token);
    let mobile_identities_url = url(&mut table, "mobile_identities_url", environment, |urls| {
        urls.mobile_identities
    });
    let events_url = if polling.as_ref().is_some_and(|polling| !polling.events) {
        table.optional("events_url", base_url)
    } else {
        url(&mut table, "events_url", environment, |urls| urls.events).map(Some)
    };

    let callback_url = callback_url(&mut table, environment);
    let control_url = table.optional("control_url", base_url);

    let acs_system_id = acs_system_id.map(|set| {
        set.unwrap_or_else(|| derive(workspace_id, &format!("credential_manager/{name}")))
    });
    let card_profiles = card_profiles(table.tables("card_profiles"));
    let part_numbers = part_numbers(acs_system_id, table.tables("part_numbers"));
    table.close();

    Some(CredentialManager {
        acs_system_id: acs_system_id?,
        organization_id: organization_id?,
        environment: environment?,
        token_url: token_url?,
        mobile_identities_url: mobile_identities_url?,
        events_url: events_url?,
        callback_url: callback_url?,
        control_url: control_url?,
        application_id: application_id?,
        application_version: application_version?,
        client_id: client_id?,
        login: login?,
        request_timeout: request_timeout?,
        default_part_number: default_part_number?,
        adopt_users: adopt_users?,
        windows: windows?,
        polling: polling?,
        invitations: invitations?,
        phones: phones?,
        repair_drift: repair_drift?,
        card_profiles: card_profiles?,
        part_numbers: part_numbers?,
    })
}

/// A secret or a key, and only one of them.
fn login(table: &mut Table<'_>) -> Option<Login> {
    if !table.has("private_key_file") {
        for key in ["audience", "client_assertion_type"] {
            if table.optional(key, text).flatten().is_some() {
                table.complain(key, "goes with private_key_file");
            }
        }
        let secret = table.required("client_secret_file", secret);
        return secret.map(Login::Secret);
    }
    let private_key = table.optional("private_key_file", rsa_key);
    let audience = table.optional("audience", text);
    let assertion_type = table.optional("client_assertion_type", text);
    if table.has("client_secret_file") {
        table.complain(
            "private_key_file",
            "beside client_secret_file: there can be only one",
        );
        table.optional("client_secret_file", secret);
    }
    Some(Login::Key {
        private_key: private_key??,
        audience: audience?,
        assertion_type: assertion_type?,
    })
}

/// Where HID's services are when nothing else is said.
#[derive(Clone, Copy)]
struct Urls {
    token: Option<&'static str>,
    mobile_identities: Option<&'static str>,
    events: Option<&'static str>,
    callback: Option<&'static str>,
}

impl Urls {
    fn of(environment: Environment) -> Self {
        match environment {
            Environment::Production => Self {
                token: Some("https://api.origo.hidglobal.com"),
                mobile_identities: Some("https://ma.api.assaabloy.com/credential-management"),
                events: Some("https://event.api.origo.hidglobal.com"),
                callback: Some("https://callback.api.origo.hidglobal.com"),
            },
            Environment::Certification => Self {
                token: Some("https://api.cert.origo.hidglobal.com"),
                mobile_identities: Some(
                    "https://cert.mi.api.origo.hidglobal.com/credential-management",
                ),
                // HID names none in public; whoever has an account is told.
                events: None,
                callback: None,
            },
            Environment::Simulator => Self {
                token: None,
                mobile_identities: None,
                events: None,
                callback: None,
            },
        }
    }
}

/// Reads a base that has a default in some environments. While the environment itself is
/// being complained of, nobody knows whether the base is missing.
fn url(
    table: &mut Table<'_>,
    key: &str,
    environment: Option<Environment>,
    default: fn(Urls) -> Option<&'static str>,
) -> Option<Url> {
    if let Some(url) = table.optional(key, base_url)? {
        return Some(url);
    }
    let default = default(Urls::of(environment?));
    if default.is_none() {
        table.complain_missing(key, "missing: this environment has no default for it");
    }
    Some(Url::parse(default?).expect("the built-in URLs are URLs"))
}

/// Reads the base of a service that nothing but a command needs: nobody misses it where it has no default.
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the value is usable, like everywhere here"
)]
fn callback_url(table: &mut Table<'_>, environment: Option<Environment>) -> Option<Option<Url>> {
    let set = table.optional("callback_url", base_url)?;
    let default = environment.and_then(|environment| Urls::of(environment).callback);
    Some(set.or_else(|| default.and_then(|url| Url::parse(url).ok())))
}

fn windows(mut table: Table<'_>) -> Option<Windows> {
    let mut window = |key: &str| {
        let mut table = table.table(key);
        let requests = table.required("requests", whole(1));
        let per = table.required("per", at_least(SECOND));
        let share = table.required("share", share);
        table.close();
        Some(Window {
            requests: requests?,
            per: per?,
            share: share?,
        })
    };
    let mobile_identities = window("mobile_identities");
    let events = window("events");
    let token = window("token");
    let window_key = table.required(
        "window_key",
        word(&[
            ("organization", WindowKey::Organization),
            ("host", WindowKey::Host),
            ("both", WindowKey::Both),
        ]),
    );
    table.close();
    Some(Windows {
        mobile_identities: mobile_identities?,
        events: events?,
        token: token?,
        window_key: window_key?,
    })
}

fn polling(mut table: Table<'_>) -> Option<Polling> {
    let events = table.required("events", word(&[("on", true), ("off", false)]));
    let interval = table.required("interval", at_least(SECOND));
    let overlap = table.required("overlap", any_duration);
    let sweep_share = table.required("sweep_share", share_or_nothing);
    table.close();
    Some(Polling {
        events: events?,
        interval: interval?,
        overlap: overlap?,
        sweep_share: sweep_share?,
    })
}

fn invitations(mut table: Table<'_>) -> Option<Invitations> {
    let delivery = table.required(
        "delivery",
        word(&[("email", Delivery::Email), ("api", Delivery::Api)]),
    );
    let renew = table.required("renew", flag);
    let max_renewals = table.required("max_renewals", whole(0));
    table.close();
    Some(Invitations {
        delivery: delivery?,
        renew: renew?,
        max_renewals: max_renewals?,
    })
}

fn phones(mut table: Table<'_>) -> Option<Phones> {
    let max_per_identity = table.required("max_per_identity", whole(1));
    let over_limit = table.required(
        "over_limit",
        word(&[
            ("refuse", OverLimit::Refuse),
            ("retire_oldest", OverLimit::RetireOldest),
        ]),
    );
    let same_device = table.required(
        "same_device",
        word(&[
            ("keep_all", SameDevice::KeepAll),
            ("keep_newest", SameDevice::KeepNewest),
        ]),
    );
    table.close();
    Some(Phones {
        max_per_identity: max_per_identity?,
        over_limit: over_limit?,
        same_device: same_device?,
    })
}

fn repair_drift(mut table: Table<'_>) -> Option<bool> {
    let policy = table.required("policy", word(&[("report", false), ("repair", true)]));
    table.close();
    policy
}

fn card_profiles(tables: Vec<Table<'_>>) -> Option<Vec<CardProfile>> {
    let mut seen = BTreeMap::new();
    let profiles: Vec<_> = tables
        .into_iter()
        .map(|mut table| {
            let card_format = table.required("card_format", text);
            let facility_code = table.required("facility_code", text);
            let part_number = table.required("part_number", text);
            if let (Some(format), Some(code)) = (&card_format, &facility_code) {
                let here = table.path_of("facility_code");
                if let Some(other) = seen.insert((format.clone(), code.clone()), here) {
                    // Exactly one profile must match a card, so twins match none.
                    table.complain(
                        "facility_code",
                        format!("the same card_format and facility_code as {other}"),
                    );
                }
            }
            table.close();
            Some(CardProfile {
                card_format: card_format?,
                facility_code: facility_code?,
                part_number: part_number?,
            })
        })
        .collect();
    profiles.into_iter().collect()
}

fn part_numbers(manager: Option<Uuid>, tables: Vec<Table<'_>>) -> Option<Vec<PartNumber>> {
    let mut seen = BTreeMap::new();
    let parts: Vec<_> = tables
        .into_iter()
        .map(|mut table| {
            let part_number = table.required("part_number", text);
            let pool = table.optional("acs_credential_pool_id", id);
            if let Some(part) = &part_number {
                let here = table.path_of("part_number");
                if let Some(other) = seen.insert(part.clone(), here) {
                    table.complain("part_number", format!("{part:?} is taken by {other}"));
                }
            }
            table.close();
            let part_number = part_number?;
            let derived = derive(manager?, &format!("credential_pool/{part_number}"));
            Some(PartNumber {
                acs_credential_pool_id: pool?.unwrap_or(derived),
                part_number,
            })
        })
        .collect();
    parts.into_iter().collect()
}
