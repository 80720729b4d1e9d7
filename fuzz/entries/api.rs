//! Requests to the API, over a store that knows two people, one of them with a phone and a key.
//!
//! Requests are parted by blank lines; of each the first line is a letter for the caller, one for the verb and
//! the target, the rest is the body. A target that is no path begins with a letter that picks a route. Names such
//! as `@ada` stand for ids. A capital letter for the caller sends the body as something else than JSON; `+` in
//! its place lets time pass.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use http::Request;
use origo_adapter::api::openapi_document;
use origo_adapter::store::sqlite::Sqlite;
use serde_json::json;

use super::{BETWEEN, block_on, check_stored, pick};
use crate::api::support::{
    DOORS, HQ, INVITE, LAB, NOBODY, POOL, READ, WRITE, World, id_of, iphone,
};

/// A word that no answer to a mistake may repeat (contract.md G7).
const CANARY: &str = "Zwetschge0815";
const VERBS: [(u8, &str); 7] = [
    (b'P', "POST"),
    (b'G', "GET"),
    (b'U', "PUT"),
    (b'A', "PATCH"),
    (b'D', "DELETE"),
    (b'H', "HEAD"),
    (b'O', "OPTIONS"),
];

/// Every path of the document, in the order of names.
static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let document = openapi_document();
    let paths = document["paths"].as_object().expect("paths");
    paths.keys().cloned().collect()
});

/// A world with people in it, and what they are called.
struct Town {
    world: World,
    store: Sqlite,
    names: BTreeMap<&'static str, String>,
    session: String,
}

impl Town {
    async fn new() -> Self {
        let store = Sqlite::in_memory().expect("a store");
        let world = World::over(Arc::new(store.clone()));
        let ada = world.person("ada").await;
        let grace = world.person("grace").await;
        let user = world.acs_user(&ada).await;
        let parent = world.parent(&user).await;
        let phone = world.enroll(&ada, "72001", iphone()).await;
        world.issue(&ada, &phone, "900").await;
        let launch = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
        let automation = world.ok("/enrollment_automations/launch", launch).await;
        let hook = json!({"url": "https://hooks.example.com/seam"});
        let hook = world.ok("/webhooks/create", hook).await;
        let session = json!({"user_identity_id": ada, "user_identifier_key": "ada"});
        let session = world.ok("/client_sessions/create", session).await;
        // The first look at the windows notes when this machine was started.
        assert_eq!(world.get("/adapter/status").await.status, 200);
        let names = BTreeMap::from([
            (
                "@automation",
                id_of(&automation, "enrollment_automation_id"),
            ),
            ("@session", id_of(&session, "client_session_id")),
            ("@hook", id_of(&hook, "webhook_id")),
            ("@ada", ada),
            ("@grace", grace),
            ("@user", user),
            ("@parent", parent),
            ("@phone", phone),
            ("@nobody", NOBODY.to_string()),
            ("@hq", HQ.to_string()),
            ("@lab", LAB.to_string()),
            ("@doors", DOORS.to_string()),
            ("@pool", POOL.to_string()),
            ("@canary", CANARY.to_owned()),
        ]);
        Self {
            world,
            store,
            names,
            session: id_of(&session, "token"),
        }
    }

    fn spell_out(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, id) in &self.names {
            text = text.replace(name, id);
        }
        text
    }

    fn key(&self, caller: u8) -> Option<&str> {
        match caller.to_ascii_lowercase() {
            b'w' => Some(WRITE),
            b'i' => Some(INVITE),
            b'r' => Some(READ),
            b's' => Some(&self.session),
            b'x' => Some("seam_somebody"),
            b'n' => None,
            other => *pick(&[Some(WRITE), Some(READ), Some(&self.session)], other),
        }
    }

    async fn ask(&self, caller: u8, verb: &str, target: &str, body: &str) {
        let mut request = Request::builder().method(verb).uri(target);
        let key = self.key(caller);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if !body.is_empty() {
            let kind = if caller.is_ascii_uppercase() {
                "text/plain"
            } else {
                "application/json"
            };
            request = request.header("content-type", kind);
        }
        let Ok(request) = request.body(Body::from(body.to_owned())) else {
            return;
        };
        let path = request.uri().path().to_owned();
        let before = self.store.transactions();
        // Each answer is held against the document.
        let answer = self.world.send(request).await;
        let place = format!("{verb} {target} {body}: {} {}", answer.status, answer.text);
        assert!(answer.status.as_u16() < 500, "{place}");
        assert!(answer.headers.contains_key("seam-request-id"), "{place}");
        let writes = self.store.transactions() - before;
        let reads = verb == "GET" || answer.status != 200 || key == Some(READ);
        assert!(writes == 0 || !reads, "{writes} transactions: {place}");
        // A scrape is text.
        if verb == "HEAD" || path == "/metrics" {
            return;
        }
        let told = answer.json();
        let is_probe = path == "/openapi.json";
        assert!(is_probe || told["ok"] == (answer.status == 200), "{place}");
        assert!(
            answer.status == 200 || !answer.text.contains(CANARY),
            "{place}"
        );
        let is_hers = key != Some(&self.session) || !answer.text.contains(&self.names["@grace"]);
        assert!(is_hers, "another person's: {place}");
    }
}

/// Sends what `data` says to a town of its own.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    block_on(async {
        let town = Town::new().await;
        for request in text.split(BETWEEN).take(8) {
            let (line, body) = request.split_once('\n').unwrap_or((request, ""));
            let [caller, verb, ..] = line.as_bytes() else {
                continue;
            };
            if *caller == b'+' {
                let by = Duration::from_mins(60 * u64::from(*verb));
                town.world.advance(by);
                continue;
            }
            let Some(target) = line.get(2..) else {
                continue;
            };
            let target = town.spell_out(&path(target));
            let known = VERBS.iter().find(|(letter, _)| letter == verb);
            let (_, verb) = known.unwrap_or_else(|| pick(&VERBS, *verb));
            town.ask(*caller, verb, &target, &town.spell_out(body))
                .await;
        }
        check_stored(&town.store).await;
    });
}

fn path(target: &str) -> String {
    match target.as_bytes() {
        [b'/', ..] => target.to_owned(),
        [chosen, ..] => {
            let rest = target.split_once('?');
            let query = rest.map_or(String::new(), |(_, query)| format!("?{query}"));
            format!("{}{query}", pick(&PATHS, *chosen))
        }
        [] => "/".to_owned(),
    }
}
