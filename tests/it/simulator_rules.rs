//! What holds for many endpoints of the simulator: search, headers, tokens, windows, settings.

use origo_adapter::simulator::{
    ApplicationHeaders, DetailField, DuplicateIssue, NumberForm, Settings, Violation, Window,
};
use serde_json::{Value, json};

use crate::simulator_support::*;

#[test]
fn a_token_may_die_of_idleness() {
    let mut caller = Caller::with(Settings {
        token_idle_s: Some(300),
        ..Settings::default()
    });
    caller.wait(299_000);
    assert_eq!(caller.get("users").status, 200);
    caller.wait(300_000);
    assert_eq!(caller.get("users").status, 401);
}

#[test]
fn a_search_answers_meta_and_what_was_asked_for() {
    let mut caller = Caller::new();
    caller.user("ada");
    caller.user("bob");
    let filter = "emails eq \"ada@tenant.example\" and status eq \"ACTIVE\"";
    let got = caller.post("users/.search", &search(filter));
    assert_eq!(got.status, 200);
    assert_eq!(got.body["totalResults"], 1);
    assert_eq!(got.body["itemsPerPage"], 1);
    let found = &got.body["Resources"][0];
    assert!(found.get("id").is_none() && found["meta"]["location"].is_string());
    assert_eq!(found["emails"], json!([{ "value": "ada@tenant.example" }]));
    assert_eq!(found["name"], json!({ "givenName": "ada" }));
    let count = |caller: &mut Caller, filter: &str| {
        let got = caller.post("users/.search", &search(filter));
        got.body["totalResults"]
            .as_u64()
            .unwrap_or(u64::from(got.status))
    };
    for (filter, found) in [
        ("name.givenName sw \"a\"", 1),
        ("NOT (name.givenName sw \"a\")", 1),
        ("externalId eq \"ident-ada\" or externalId ew \"bob\"", 2),
        (
            "externalId eq \"x\" or name.familyName co \"kaf\" and name.givenName ne \"bob\"",
            1,
        ),
        ("name.familyName pr", 2),
        ("meta.lastModified ge \"2026-03-01T10:00:00\"", 2),
        ("meta.lastModified gt \"2026-03-01T10:00:00Z\"", 0),
        ("emails eq \"ADA@tenant.example\"", 0),
        (&format!("{USER}:emails co \"bob\""), 1),
        ("meta.lastModified gt \"yesterday\"", 400),
        ("nickName eq \"x\"", 400),
        ("emails xx \"x\"", 400),
        ("emails eq x", 400),
        ("(emails pr", 400),
        ("", 400),
    ] {
        assert_eq!(count(&mut caller, filter), found, "{filter}");
    }
    let mut body = search(filter);
    body["attributes"] = json!(["externalId"]);
    assert_eq!(
        caller.post("users/.search", &body).body["scimType"],
        "invalidFilter"
    );
}

#[test]
fn pages_hold_25_and_need_a_count() {
    let mut caller = Caller::new();
    for number in 0..30 {
        caller.user(&format!("u{number:02}"));
    }
    let mut body = search("emails pr");
    body["count"] = json!(100);
    body["sortBy"] = json!("name.givenName");
    body["sortOrder"] = json!("Ascending");
    let first = caller.post("users/.search", &body).body;
    assert_eq!(
        (&first["totalResults"], &first["itemsPerPage"]),
        (&json!(30), &json!(25))
    );
    body["startIndex"] = json!(26);
    let second = caller.post("users/.search", &body).body;
    assert_eq!(second["Resources"][0]["name"]["givenName"], "u25");
    body["startIndex"] = json!(0);
    assert_eq!(
        caller.post("users/.search", &body).body["Resources"],
        first["Resources"]
    );
    body.as_object_mut().unwrap().remove("count");
    assert_eq!(caller.post("users/.search", &body).body["itemsPerPage"], 0);
    let list = caller.get("users").body;
    assert_eq!(list["Resources"].as_array().unwrap().len(), 25);
    let newest = list["Resources"][0].as_object().unwrap();
    assert!(
        newest.len() == 1
            && newest["meta"]["location"]
                .as_str()
                .unwrap()
                .ends_with("/880030")
    );
}

#[test]
fn headers_are_looked_at() {
    let mut caller = Caller::new();
    let mut request = caller.request("POST", &format!("{MI}/users"), &person("ada"));
    let with_charset = format!("{MEDIA};charset=utf-8").parse().unwrap();
    request.headers_mut().insert("content-type", with_charset);
    assert_eq!(answer(caller.hid.handle(START, request)).status, 415);
    let mut request = caller.request("GET", &format!("{MI}/users"), &Value::Null);
    request.headers_mut().remove("application-id");
    assert_eq!(
        answer(caller.hid.handle(START, request.clone())).status,
        200
    );
    assert!(matches!(
        caller.hid.violations()[..],
        [Violation::NoApplicationId { .. }]
    ));
    let application_headers = ApplicationHeaders::Forbidden;
    caller.hid.set_settings(Settings {
        application_headers,
        ..Settings::default()
    });
    assert_eq!(answer(caller.hid.handle(START, request)).status, 403);
}

#[test]
fn a_full_window_answers_403_and_slides() {
    let mut settings = Settings::default();
    settings.windows.mobile_identities = Window {
        requests: 3,
        per_s: 10,
    };
    let mut caller = Caller::with(settings);
    for _ in 0..3 {
        assert_eq!(caller.get("users").status, 200);
        caller.wait(1_000);
    }
    let refused = caller.get("users");
    let body = json!({ "status": 403, "detail": "The usage limit is exceeded." });
    assert_eq!((refused.status, &refused.body), (403, &body));
    assert!(!refused.headers.contains_key("retry-after"));
    assert_eq!(caller.hid.ledger().window_refusals(), 1);
    assert_eq!(
        caller.call("GET", EVENTS, &Value::Null).status,
        200,
        "another service"
    );
    caller.wait(6_999);
    assert_eq!(caller.get("users").status, 403);
    caller.wait(1);
    assert_eq!(caller.get("users").status, 200);
    assert_eq!(caller.get("users").status, 403);
}

#[test]
fn settings_are_optional_and_unknown_ones_refused() {
    let read = serde_json::from_value::<Settings>;
    assert_eq!(read(json!({})).unwrap(), Settings::default());
    let changed = read(json!({ "duplicate_issue": "second_credential" })).unwrap();
    assert_eq!(changed.duplicate_issue, DuplicateIssue::SecondCredential);
    assert!(read(json!({ "duplicate_isue": "refuse" })).is_err());
}

#[test]
fn shapes_vary_as_the_open_questions_do() {
    let mut caller = Caller::with(Settings {
        card_number: NumberForm::Number,
        error_status: NumberForm::String,
        error_field: DetailField::Message,
        issue_answers_list: true,
        active_spelling: "Active".to_owned(),
        event_ids: NumberForm::Number,
        extra_event_statuses: true,
        ..Settings::default()
    });
    let (user, container) = caller.phone("ada");
    let issued = caller.issue(container).body;
    assert_eq!(issued[CREDENTIAL][0]["cardNumber"], 1001);
    let refused = caller.issue(container).body;
    assert!(refused["status"] == "412" && refused["message"].is_string());
    assert_eq!(
        caller.get(&format!("users/{user}")).body[CONTAINER][0]["status"],
        "Active"
    );
    caller.delete("credential/72001");
    caller.wait(5_000);
    let last = caller.events().pop().unwrap();
    assert_eq!(last["data"]["status"], "CREDENTIAL_REVOKED");
    assert_eq!(last["data"]["userId"], user);
}

/// The witness shares nothing with what it watches.
#[test]
fn the_simulator_imports_nothing_of_the_crate() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/simulator");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("crate::") && !text.contains("super::super"),
            "{path:?}"
        );
        assert!(text.lines().count() <= 500, "{path:?}");
    }
}

#[test]
fn nonsense_is_answered() {
    let mut caller = Caller::new();
    let (user, container) = caller.phone("ada");
    caller.hid.set_settings(Settings {
        windows: serde_json::from_value(json!({
            "mobile_identities": { "requests": 100_000, "per_s": 1 },
            "events": { "requests": 100_000, "per_s": 1 },
        }))
        .unwrap(),
        ..Settings::default()
    });
    let mut paths = vec!["/".to_owned(), "//control".to_owned(), MI.to_owned()];
    for path in [
        "users",
        "users/.search",
        "users/x",
        &format!("users/{user}"),
        &format!("users/{user}/invitation"),
        &format!("users/{user}/invitation/.search"),
        &format!("users/{user}/invitation/99999999999999999999"),
        "invitation/5101",
        &format!("credential-container/{container}/credential"),
        "credential/0",
        "part-number/.search",
    ] {
        paths.push(format!("{MI}/{path}"));
    }
    paths.push(EVENTS.to_owned());
    paths.push(format!("{EVENTS}/filter"));
    paths.push("/organization/7001234/callback".to_owned());
    let bodies = [
        Value::Null,
        json!([]),
        json!("text"),
        json!({}),
        json!({ "schemas": 1, "filter": 2, "count": -1, "emails": {}, "filterSet": "x" }),
        json!({ "schemas": [ACTION], ACTION: [] }),
        search("((((\"\\"),
    ];
    for path in &paths {
        for verb in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
            for body in &bodies {
                let got = caller.call(verb, path, body);
                assert!(
                    (200..500).contains(&got.status) || got.status == 501,
                    "{verb} {path}"
                );
            }
        }
    }
    caller.hid.advance(i64::MAX);
    caller.hid.advance(i64::MIN);
    assert_eq!(caller.get("users").status, 401);
}
