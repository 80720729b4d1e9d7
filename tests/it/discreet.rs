//! Guarantee G7: the whole story, told at the most talkative level, and not a secret in anything
//! that was written. Names and addresses here are words that nothing else would write.

use std::fs;

use serde_json::json;

use crate::process_support::{Site, id, until};

const NAME: &str = "Quillon Zwetschge";

#[test]
fn nothing_that_is_written_tells_a_secret() {
    let mut site = Site::without_daemon();
    let file = site.file("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[log]\nlevel = \"trace\"\n")).unwrap();
    site.start_daemon();
    site.hid.control("faults", &json!({ "preset": "standard" }));

    let person = site.enroll(NAME);
    site.credential(&person);
    let mut codes: Vec<String> = Vec::new();
    until("a code in the mailbox", || {
        let pending = site.hid.look("invitations");
        let found = pending
            .as_array()?
            .iter()
            .filter_map(|i| i["code"].as_str().map(str::to_owned));
        codes.extend(found);
        (!codes.is_empty()).then_some(())
    });
    site.hid.redeem(&person.identity);
    until("a key", || (site.issued(&person).len() == 1).then_some(()));
    codes.push(site.invite(&person));
    let asked = json!({ "user_identity_id": person.identity });
    site.call("/phones/simulate/create_sandbox_phone", &asked);
    let made = site.call("/client_sessions/create", &asked);
    let token = id(&made["client_session"], "token");
    let bearer = format!(
        "authorization: Bearer {token}\r\nclient-session-token: {token}\r\ncontent-type: application/json\r\n"
    );
    let own = site.send("POST", "/user_identities/list", &bearer, b"{}");
    assert_eq!(own.status, 200);

    // Answers to mistakes do not repeat what was sent, either.
    let refused = site.send("POST", "/user_identities/delete", &bearer, b"{}");
    assert_eq!(refused.status, 401);
    let mut answers = vec![refused.body.to_string()];
    codes.push(token);
    for (path, body) in [
        (
            "/user_identities/create",
            json!({ "full_name": NAME, "email_address": "Quillon.Zwetschge@tenant.example" }),
        ),
        (
            "/user_identities/create",
            json!({ "full_name": NAME, "email_address": "Zwetschge" }),
        ),
        (
            "/user_identities/get",
            json!({ "user_identity_id": "Zwetschge" }),
        ),
        ("/Zwetschge", json!({})),
    ] {
        let answer = site.ask(path, &body);
        assert!(answer.status >= 400, "{path}");
        answers.push(answer.body.to_string());
    }
    let stranger = "authorization: Bearer seam_Zwetschge\r\ncontent-type: application/json\r\n";
    answers.push(
        site.send("POST", "/user_identities/list", stranger, b"{}")
            .body
            .to_string(),
    );

    // A refused login tells the secret to nobody.
    site.stop_and_keep();
    fs::write(site.file("origo-secret"), "another-secret-Zwetschge").unwrap();
    site.start_daemon();
    site.enroll("Someone Else");
    site.daemon().tells("service.paused");
    site.stop_and_keep();

    let log = site.written();
    assert!(
        log.iter().all(|line| !line.contains("Bearer")),
        "a header is logged"
    );
    let written = [log, answers].concat();
    assert!(
        written.iter().any(|line| line.contains("effect.done")),
        "the log is talkative"
    );
    let secrets = [
        "Zwetschge",
        "zwetschge",
        "Quillon",
        "quillon",
        "simulator-secret",
        site.key(),
    ];
    for secret in secrets.into_iter().chain(codes.iter().map(String::as_str)) {
        let told: Vec<_> = written
            .iter()
            .filter(|line| line.contains(secret))
            .collect();
        assert!(told.is_empty(), "{secret:?} is told: {told:?}");
    }
}
