//! Guarantee G7: the whole story, told at the most talkative level, and not a secret in anything
//! that was written: log, metrics, errors, status, what webhooks are told, and the head file. Names and addresses here
//! are words that nothing else would write.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::process_support::{Person, Site, id, until};

const NAME: &str = "Quillon Zwetschge";

/// Somebody who is told of events: refuses the first, and keeps what it is sent. Its address is a secret as well.
fn listener() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/Zwetschge", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(&stream);
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                if let Some(field) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = field.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let mut kept = kept.lock().unwrap();
            let status = if kept.is_empty() { "500 No" } else { "204 Yes" };
            kept.push(String::from_utf8(body).unwrap());
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, heard)
}

/// All that an operator and a machine may read of how things stand.
fn looked_at(site: &Site, person: &Person) -> Vec<String> {
    let mut shown = Vec::new();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["why", &person.identity],
        &["history", &person.identity],
        &["list", "automations"],
        &["list", "orphans"],
    ] {
        shown.push(site.said(arguments));
    }
    for wrong in [&["why", "Zwetschge"][..], &["show", "Zwetschge"]] {
        let output = site.run(wrong);
        assert!(!output.status.success());
        // The command line itself may repeat what was asked of it; the API's part of the answer does not.
        shown.push(String::from_utf8(output.stdout).unwrap());
    }
    let metrics = site.send("GET", "/metrics", &site.head(), b"");
    assert_eq!(metrics.status, 200);
    assert!(metrics.text.contains("origo_adapter_identities"));
    shown.push(metrics.text);
    for path in ["/healthz", "/readyz"] {
        shown.push(site.send("GET", path, "", b"").text);
    }
    shown
}

/// What somebody is answered who asks for what is wrong, unknown or not his.
fn mistaken(site: &Site, bearer: &str) -> Vec<String> {
    let refused = site.send("POST", "/user_identities/delete", bearer, b"{}");
    assert_eq!(refused.status, 401);
    let mut answers = vec![refused.body.to_string()];
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
    answers
}

#[test]
fn nothing_that_is_written_tells_a_secret() {
    let mut site = Site::without_daemon();
    let file = site.file("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[log]\nlevel = \"trace\"\nheartbeat = \"1s\"\n[webhooks]\nallow_private = true\n")).unwrap();
    site.start_daemon();
    site.hid.control("faults", &json!({ "preset": "standard" }));

    let (url, heard) = listener();
    let made = site.call("/webhooks/create", &json!({ "url": url }));
    let signing = id(&made["webhook"], "secret");
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
    codes.push(signing.trim_start_matches("whsec_").to_owned());
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
    let mut answers = mistaken(&site, &bearer);
    codes.push(token);
    until("events", || (heard.lock().unwrap().len() > 2).then_some(()));
    site.daemon().tells("webhook.failed");
    site.daemon().tells("heartbeat");
    answers.extend(looked_at(&site, &person));

    // A refused login tells the secret to nobody.
    site.stop_and_keep();
    fs::write(site.file("origo-secret"), "another-secret-Zwetschge").unwrap();
    site.start_daemon();
    site.enroll("Someone Else");
    site.daemon().tells("service.paused");
    answers.extend(looked_at(&site, &person));
    site.stop_and_keep();
    answers.push(fs::read_to_string(site.file("state.db.head")).unwrap());
    assert_ne!(answers.last().unwrap(), "", "the head file");

    let log = site.written();
    assert!(
        log.iter().all(|line| !line.contains("Bearer")),
        "a header is logged"
    );
    let told = heard.lock().unwrap().clone();
    assert!(
        told.iter().any(|body| body.contains(&person.acs_user)),
        "{told:?}"
    );
    let written = [log, answers, told].concat();
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
