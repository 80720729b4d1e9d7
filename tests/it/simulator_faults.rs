//! Faults, events and the witness's record.

use origo_adapter::simulator::{
    Cause, Class, Device, DuplicateIssue, Effect, EventBounds, Fault, Faults, InvitationIdInEvents,
    PhoneRemoval, Reply, Settings, Violation,
};
use serde_json::{Value, json};

use crate::simulator_support::*;

#[test]
fn a_lost_request_has_no_effect_and_a_lost_reply_has() {
    let mut caller = Caller::new();
    caller
        .hid
        .faults_mut()
        .next(Class::UserCreate, Fault::LostRequest);
    caller
        .hid
        .faults_mut()
        .next(Class::UserCreate, Fault::LostReply);
    let path = format!("{MI}/users");
    assert!(matches!(
        caller.send("POST", &path, &person("ada")),
        Reply::Reset
    ));
    assert_eq!(caller.get("users").body["totalResults"], 0);
    assert!(matches!(
        caller.send("POST", &path, &person("ada")),
        Reply::Reset
    ));
    assert_eq!(caller.get("users").body["totalResults"], 1);
    let created = caller.hid.ledger().entries();
    assert_eq!(created[0].cause, Cause::Request { no: 4, late: false });
    assert!(matches!(
        created[0].effect,
        Effect::UserCreated { user: 880_001, .. }
    ));
    assert_eq!(caller.hid.ledger().count(Class::UserCreate), 2);
}

#[test]
fn a_hang_may_have_an_effect() {
    let mut caller = Caller::new();
    let path = format!("{MI}/users");
    for (fault, users) in [(Fault::Hang, 0), (Fault::HangWithEffect, 1)] {
        caller.hid.faults_mut().next(Class::UserCreate, fault);
        assert!(matches!(
            caller.send("POST", &path, &person("ada")),
            Reply::Hang
        ));
        assert_eq!(caller.get("users").body["totalResults"], users);
    }
}

#[test]
fn errors_come_with_and_without_effect() {
    let mut caller = Caller::new();
    for (fault, status, users) in [
        (Fault::Http500, 500, 0),
        (Fault::Http503, 503, 0),
        (Fault::Http429, 429, 0),
        (Fault::Window403, 403, 0),
        (Fault::Permission403, 403, 0),
        (Fault::Token401, 401, 0),
        (Fault::Http500WithEffect, 500, 1),
    ] {
        caller.hid.faults_mut().next(Class::UserCreate, fault);
        assert_eq!(caller.post("users", &person("ada")).status, status);
        caller.log_in();
        assert_eq!(caller.get("users").body["totalResults"], users, "{fault:?}");
    }
    caller
        .hid
        .faults_mut()
        .next(Class::Token, Fault::TokenRefused);
    assert_eq!(caller.log_in().status, 401);
    caller.hid.set_settings(Settings {
        plain_server_errors: true,
        ..Settings::default()
    });
    caller.hid.faults_mut().next_any(Fault::Http500);
    assert!(caller.get("users").text.starts_with("<html>"));
    assert_eq!(
        caller.hid.ledger().window_refusals(),
        0,
        "foreign traffic is not ours"
    );
}

#[test]
fn a_late_effect_arrives_within_its_bound_and_shows_as_such() {
    let duplicate_issue = DuplicateIssue::SecondCredential;
    let mut caller = Caller::with(Settings {
        duplicate_issue,
        ..Settings::default()
    });
    let (user, container) = caller.phone("ada");
    caller.hid.faults_mut().late_by_max_ms = 30_000;
    caller
        .hid
        .faults_mut()
        .next(Class::Issue, Fault::LateEffect);
    let path = format!("{MI}/credential-container/{container}/credential");
    assert!(matches!(
        caller.send("POST", &path, &issue(PART)),
        Reply::Reset
    ));
    assert!(caller.statuses(user).is_empty());
    assert_eq!(caller.issue(container).status, 200);
    caller.wait(30_000);
    assert_eq!(caller.hid.live_credentials().len(), 2);
    assert!(matches!(
        caller.hid.violations()[..],
        [Violation::Duplicate {
            late_effect: true,
            until: None,
            ..
        }]
    ));
    let outcomes: Vec<&str> = caller
        .hid
        .ledger()
        .requests()
        .iter()
        .filter(|record| record.class == Class::Issue)
        .map(|record| record.outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["late_effect", "200", "late_200"]);
}

#[test]
fn a_late_effect_is_refused_where_hid_refuses_duplicates() {
    let mut caller = Caller::new();
    let (_, container) = caller.phone("ada");
    caller
        .hid
        .faults_mut()
        .next(Class::Issue, Fault::LateEffect);
    let path = format!("{MI}/credential-container/{container}/credential");
    caller.send("POST", &path, &issue(PART));
    assert_eq!(caller.issue(container).status, 200);
    caller.wait(60_000);
    assert_eq!(caller.hid.live_credentials().len(), 1);
    assert!(caller.hid.violations().is_empty());
}

#[test]
fn a_stale_read_does_not_see_the_last_write() {
    let mut caller = Caller::new();
    let (user, container) = caller.phone("ada");
    caller.wait(6_000);
    caller.issue(container);
    caller
        .hid
        .faults_mut()
        .next(Class::UserGet, Fault::StaleRead);
    assert!(caller.statuses(user).is_empty());
    assert_eq!(caller.statuses(user), ["ISSUE_INITIATED"]);
    caller.user("bob");
    caller
        .hid
        .faults_mut()
        .next(Class::UserGet, Fault::StaleRead);
    assert_eq!(caller.get("users/880002").status, 404);
    assert_eq!(caller.get("users/880002").status, 200);
    caller.wait(6_000);
    caller
        .hid
        .faults_mut()
        .next(Class::UserGet, Fault::StaleRead);
    assert_eq!(
        caller.statuses(user),
        ["ISSUED"],
        "too long ago to be missed"
    );
}

#[test]
fn bodies_break_in_three_ways() {
    let mut caller = Caller::new();
    let (user, _) = caller.phone("ada");
    let path = format!("users/{user}");
    caller
        .hid
        .faults_mut()
        .next(Class::UserGet, Fault::MalformedJson);
    let got = caller.get(&path);
    assert!(got.status == 200 && got.body.is_null() && !got.text.is_empty());
    caller
        .hid
        .faults_mut()
        .next(Class::UserGet, Fault::TruncatedBody);
    let got = caller.get(&path);
    let promised: usize = got.headers["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(promised > got.text.len() && got.body.is_null());
    caller
        .hid
        .faults_mut()
        .next(Class::UserGet, Fault::UnknownEnum);
    let got = caller.get(&path);
    assert_eq!(got.body["status"], "BRAND_NEW_STATE");
    assert_eq!(got.body[CONTAINER][0]["status"], "BRAND_NEW_STATE");
}

#[test]
fn issue_has_failures_of_its_own() {
    let mut caller = Caller::new();
    let (user, container) = caller.phone("ada");
    for (fault, fragment) in [
        (Fault::AssignmentRace, "try again"),
        (Fault::NotCompatible, "not compatible"),
    ] {
        caller.hid.faults_mut().next(Class::Issue, fault);
        let got = caller.issue(container);
        assert_eq!(got.status, 412);
        assert!(got.body["detail"].as_str().unwrap().contains(fragment));
    }
    caller.hid.faults_mut().next_any(Fault::IssueFails);
    caller.issue(container);
    caller.wait(10_000);
    assert_eq!(caller.statuses(user), ["ISSUE_FAILED"]);
    assert!(caller.hid.live_credentials().is_empty());
    assert_eq!(
        caller.delete("credential/72001").status,
        204,
        "a failed one is revocable"
    );
}

#[test]
fn a_phone_that_is_offline_confirms_nothing() {
    let mut caller = Caller::new();
    let (user, container) = caller.phone("ada");
    caller.hid.set_phone_offline(caller.now, container, true);
    caller.issue(container);
    caller.wait(600_000);
    assert_eq!(caller.statuses(user), ["ISSUING"]);
    caller.hid.set_phone_offline(caller.now, container, false);
    assert_eq!(caller.statuses(user), ["ISSUED"]);
    assert!(caller.hid.remove_phone(caller.now, container));
    assert_eq!(caller.statuses(user), ["REVOKED"]);
    assert!(!caller.hid.remove_phone(caller.now, container));

    let phone_removal = PhoneRemoval::Unnoticed;
    caller.hid.set_settings(Settings {
        phone_removal,
        ..Settings::default()
    });
    let (_, other) = caller.phone("bob");
    assert!(caller.hid.remove_phone(caller.now, other));
    assert_eq!(caller.hid.active_containers().len(), 1);
}

#[test]
fn the_portal_goes_behind_the_callers_back() {
    let mut caller = Caller::new();
    let (user, container) = caller.phone("ada");
    let credential = caller
        .hid
        .portal_issue(caller.now, container, PART)
        .unwrap();
    assert!(
        caller
            .hid
            .portal_issue(caller.now, container, PART)
            .is_err()
    );
    caller.hid.portal_revoke(caller.now, credential).unwrap();
    assert!(caller.hid.set_stock(caller.now, PART, Some(0)));
    caller.wait(10_000);
    assert!(caller.hid.set_stock(caller.now, PART, Some(0)));
    assert_eq!(caller.issue(container).status, 412);
    assert!(caller.hid.add_stock(caller.now, PART, 1));
    assert_eq!(caller.issue(container).status, 200);
    caller.hid.portal_delete_user(caller.now, user).unwrap();
    caller.wait(10_000);
    assert_eq!(caller.get(&format!("users/{user}")).status, 404);
}

#[test]
fn events_have_the_printed_shape() {
    let mut caller = Caller::new();
    let (_, container) = caller.phone("ada");
    caller.issue(container);
    caller.wait(5_000);
    assert_eq!(
        caller.event_statuses(),
        [
            "USER_CREATED",
            "INVITATION_PENDING",
            "INVITATION_ACKNOWLEDGED",
            "ENDPOINT_ACTIVE",
            "CREDENTIAL_ISSUED"
        ]
    );
    let events = caller.events();
    let endpoint = &events[3];
    assert_eq!(endpoint["type"], "com.origo.mi.endpoint");
    assert_eq!(endpoint["specversion"], "1.0");
    assert_eq!(endpoint["time"], "2026-03-01T10:00:01.000Z");
    assert_eq!(endpoint["data"]["endpointId"], "61001");
    assert_eq!(endpoint["data"]["userId"], "880001");
    assert_eq!(endpoint["data"]["invitationId"], "5101");
    let credential = &events[4]["data"];
    assert_eq!(
        (&credential["mid"], &credential["cardNumber"]),
        (&json!(72_001), &json!(1001))
    );
    assert_eq!(credential["endpointId"], "61001");
}

#[test]
fn events_are_read_by_time_and_filter() {
    let mut caller = Caller::new();
    caller.user("ada");
    caller.wait(1_000);
    caller.user("bob");
    let read = |caller: &mut Caller, query: &str| {
        let got = caller.call("GET", &format!("{EVENTS}?{query}"), &Value::Null);
        got.body
            .as_array()
            .map_or(usize::from(got.status), Vec::len)
    };
    let both_ends = "dateFrom=2026-03-01T10:00:00Z&dateTo=2026-03-01T10:00:01Z";
    assert_eq!(read(&mut caller, both_ends), 1);
    for (event_bounds, found) in [
        (EventBounds::Both, 2),
        (EventBounds::Neither, 0),
        (EventBounds::ToOnly, 1),
    ] {
        caller.hid.set_settings(Settings {
            event_bounds,
            ..Settings::default()
        });
        assert_eq!(read(&mut caller, both_ends), found);
    }
    caller.hid.set_settings(Settings {
        event_page: Some(1),
        ..Settings::default()
    });
    assert_eq!(caller.events().len(), 1, "cut without a word");
    caller.hid.set_settings(Settings {
        event_retention_s: 1,
        ..Settings::default()
    });
    caller.wait(500);
    assert_eq!(caller.events().len(), 1);
    caller.hid.set_settings(Settings::default());
    assert_eq!(read(&mut caller, "dateFrom=soon"), 400);
    let filter = caller.call(
        "POST",
        &format!("{EVENTS}/filter"),
        &json!({ "filterSet": ["USER_DELETED"] }),
    );
    let id = filter.body["filterId"].as_str().unwrap().to_owned();
    caller.delete("users/880001");
    assert_eq!(read(&mut caller, &format!("filterId={id}")), 1);
    assert_eq!(read(&mut caller, "filterId=x"), 404);
    let list = caller.call("GET", &format!("{EVENTS}/filter"), &Value::Null);
    assert_eq!(list.body[0]["filterId"], id.as_str());
    let path = "/organization/7001234/callback";
    let body =
        json!({ "url": "https://a.example", "filterId": id, "httpHeader": "x", "secret": "y" });
    assert_eq!(caller.call("POST", path, &body).status, 201);
    let list = caller.call("GET", path, &Value::Null);
    assert!(list.body[0]["url"].is_string() && !list.text.contains("secret"));
}

#[test]
fn events_go_wrong() {
    let mut caller = Caller::new();
    for fault in [Fault::EventMissing, Fault::EventDuplicated] {
        caller.hid.faults_mut().next_any(fault);
    }
    caller.user("ada");
    assert!(
        caller.events().is_empty(),
        "missing and duplicated: still missing"
    );
    caller.hid.faults_mut().next_any(Fault::EventDuplicated);
    caller.user("bob");
    let events = caller.events();
    assert!(events.len() == 2 && events[0] == events[1]);
    caller.hid.faults_mut().next_any(Fault::EventLate);
    caller.user("cid");
    assert_eq!(caller.events().len(), 2);
    caller.wait(60_000);
    assert_eq!(caller.events().len(), 3);
    caller.hid.faults_mut().next_any(Fault::EventReordered);
    caller.user("dan");
    assert_ne!(caller.events().last().unwrap()["data"]["firstname"], "dan");
    caller.hid.faults_mut().next_any(Fault::FeedEmpty);
    assert!(caller.events().is_empty());
    let invitation_id_in_events = InvitationIdInEvents::Undefined;
    caller.hid.set_settings(Settings {
        invitation_id_in_events,
        ..Settings::default()
    });
    caller.phone("eve");
    assert_eq!(
        caller.events().last().unwrap()["data"]["invitationId"],
        "undefined"
    );
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let run = || {
        let mut caller = Caller::new();
        *caller.hid.faults_mut() = Faults::standard();
        let mut told = Vec::new();
        for number in 0..150 {
            let path = format!("{MI}/users");
            let reply = caller.send("POST", &path, &person(&format!("u{number:03}")));
            told.push(format!("{reply:?}"));
            if let Some(invitation) = caller.hid.pending_invitations().first().cloned() {
                caller
                    .hid
                    .redeem(caller.now, &invitation.code, Device::default())
                    .unwrap();
            }
            told.push(format!("{:?}", caller.send("GET", EVENTS, &Value::Null)));
            caller.wait(2_500);
        }
        told.push(format!("{:?}", caller.hid.ledger()));
        told
    };
    let told = run();
    assert_eq!(told, run());
    assert!(told.iter().any(|reply| reply == "Reset"));
}
