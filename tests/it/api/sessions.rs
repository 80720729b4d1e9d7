//! Client sessions: how they come and go, and how far they reach (seam-api.md 1.1, 3.8).

use std::collections::BTreeSet;
use std::time::Duration;

use http::{Request, StatusCode};
use origo_adapter::api::openapi_document;
use serde_json::{Value, json};

use super::support::*;

const JSON: &str = "application/json";
const CREATE: &str = "/client_sessions/create";
const GET_OR_CREATE: &str = "/client_sessions/get_or_create";

impl World {
    /// The token of a new session of a person.
    async fn session(&self, identity: &str) -> String {
        let made = self
            .ok(CREATE, json!({ "user_identity_id": identity }))
            .await;
        id_of(&made, "token")
    }

    /// A JSON POST with a session's token, as Seam's JavaScript sends it.
    async fn post_as(&self, token: &str, path: &str, body: Value) -> Answer {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("client-session-token", token)
            .header("content-type", JSON);
        let body = axum::body::Body::from(body.to_string());
        self.send(request.body(body).unwrap()).await
    }

    /// What a session is shown under the response key.
    async fn shown_to(&self, token: &str, path: &str, body: Value) -> Value {
        let answer = self.post_as(token, path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let body = answer.json();
        let mut fields = body.as_object().unwrap().iter();
        let shown = fields.find(|(name, _)| !["ok", "pagination"].contains(&name.as_str()));
        shown.map_or(Value::Null, |(_, value)| value.clone())
    }
}

/// A person with one of everything, by its ids.
struct Everything {
    identity: String,
    automation: String,
    acs_user: String,
    cm_user: String,
    parent: String,
    child: String,
    phone: String,
    session: String,
    token: String,
    event: String,
}

impl Everything {
    async fn of(world: &World, key: &str, container: &str) -> Self {
        let identity = world.person(key).await;
        let acs_user = world.acs_user(&identity).await;
        let parent = world.parent(&acs_user).await;
        let phone = world.enroll(&identity, container, iphone()).await;
        world.issue(&identity, &phone, container).await;
        let of = json!({ "user_identity_id": identity });
        let automations = world.ok("/enrollment_automations/list", of.clone()).await;
        let users = world.ok("/acs/users/list", of.clone()).await;
        let users = users.as_array().unwrap().iter();
        let mut users = users.map(|user| id_of(user, "acs_user_id"));
        let asked =
            json!({ "user_identity_id": identity, "is_multi_phone_sync_credential": false });
        let children = world.ok("/acs/credentials/list", asked).await;
        let events = world.ok("/events/list", of.clone()).await;
        let session = world.ok(CREATE, of).await;
        Self {
            automation: id_of(&automations[0], "enrollment_automation_id"),
            cm_user: users.find(|user| *user != acs_user).unwrap(),
            child: id_of(&children[0], "acs_credential_id"),
            event: id_of(&events[0], "event_id"),
            session: id_of(&session, "client_session_id"),
            token: id_of(&session, "token"),
            identity,
            acs_user,
            parent,
            phone,
        }
    }

    fn ids(&self) -> [&str; 10] {
        [
            &self.identity,
            &self.automation,
            &self.acs_user,
            &self.cm_user,
            &self.parent,
            &self.child,
            &self.phone,
            &self.session,
            &self.token,
            &self.event,
        ]
    }

    /// Everything that a request could name.
    fn named(&self, credential: &str) -> Value {
        json!({
            "user_identity_id": self.identity,
            "enrollment_automation_id": self.automation,
            "acs_user_id": self.acs_user,
            "acs_credential_id": credential,
            "device_id": self.phone,
            "client_session_id": self.session,
            "event_id": self.event,
            "acs_system_id": DOORS,
            "credential_manager_acs_system_id": HQ,
        })
    }
}

/// Every route and verb of the document.
fn operations() -> Vec<(String, String)> {
    let document = openapi_document();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let verbs = item.as_object().unwrap().keys();
        verbs.map(move |verb| (verb.to_uppercase(), path.clone()))
    });
    operations.collect()
}

/// Seam's list (seam-api.md 1.1), and what contract.md section 6 adds: the code of one's own invitation.
const ENTERED: [&str; 15] = [
    "/acs/credentials/list",
    "/acs/systems/list",
    "/acs/users/list",
    "/client_sessions/get",
    "/enrollment_automations/get",
    "/enrollment_automations/invitations/get_or_create",
    "/enrollment_automations/list",
    "/events/get",
    "/events/list",
    "/phones/deactivate",
    "/user_identities/enrollment_automations/get",
    "/user_identities/enrollment_automations/list",
    "/user_identities/list",
    "/user_identities/list_acs_systems",
    "/workspaces/get",
];
const OPEN: [&str; 3] = ["/healthz", "/openapi.json", "/readyz"];

#[tokio::test]
async fn a_session_enters_its_own_routes_and_is_never_shown_anybody_else() {
    let world = World::new();
    let ada = Everything::of(&world, "ada", "72001").await;
    let bob = Everything::of(&world, "bob", "72002").await;
    let nobody = id_of(&world.ok(CREATE, json!({})).await, "token");
    let asked = [
        json!({}),
        bob.named(&bob.parent),
        bob.named(&bob.child),
        json!({ "user_identity_ids": [bob.identity], "event_ids": [bob.event], "since": "2020-01-01" }),
        json!({ "device_ids": [bob.phone], "user_identifier_key": "bob", "search": "bob" }),
        json!({ "event_type": "acs_credential.issued" }),
        json!({ "since": "2020-01-01" }),
        // Last, as it takes the phone away.
        ada.named(&ada.child),
    ];
    let mut entered = BTreeSet::new();
    for (verb, path) in operations() {
        for (body, token) in asked
            .iter()
            .flat_map(|body| [(body, &nobody), (body, &ada.token)])
        {
            let text = body.to_string();
            let answer = world.call_as(token, &verb, &path, JSON, &text).await;
            for id in bob.ids().iter().chain(&["bob"]) {
                assert!(
                    !answer.text.contains(id),
                    "{verb} {path} {body}: {}",
                    answer.text
                );
            }
            if token == &nobody {
                for id in ada.ids() {
                    assert!(
                        !answer.text.contains(id),
                        "{verb} {path} {body}: {}",
                        answer.text
                    );
                }
            }
            if answer.status == StatusCode::UNAUTHORIZED {
                let kind = "client_session_token_used_for_api_key".to_owned();
                assert_eq!(answer.error(), (401, kind), "{verb} {path}");
            } else if OPEN.contains(&path.as_str()) {
                assert_eq!(answer.status, 200, "{path}");
            } else {
                entered.insert(path.clone());
            }
        }
    }
    let entered: Vec<_> = entered.iter().map(String::as_str).collect();
    assert_eq!(entered, ENTERED);
    // And Bob has lost nothing.
    let phones = json!({ "owner_user_identity_id": bob.identity });
    assert_eq!(
        world.ok("/phones/list", phones).await[0]["device_id"],
        *bob.phone
    );
}

#[tokio::test]
async fn a_session_is_shown_what_is_its_own_persons() {
    let world = World::new();
    let ada = Everything::of(&world, "ada", "72001").await;
    Everything::of(&world, "bob", "72002").await;
    // A system in which nobody here has a record.
    let systems = world.ok("/acs/systems/list", json!({})).await;
    assert_eq!(systems.as_array().unwrap().len(), 3);
    let token = &ada.token;
    let of = json!({ "user_identity_id": ada.identity });
    for (path, body, field, expected) in [
        (
            "/user_identities/list",
            json!({}),
            "user_identity_id",
            vec![&*ada.identity],
        ),
        (
            "/acs/users/list",
            json!({}),
            "acs_user_id",
            vec![&*ada.acs_user, &*ada.cm_user],
        ),
        (
            "/acs/credentials/list",
            json!({}),
            "acs_credential_id",
            vec![&*ada.parent, &*ada.child],
        ),
        (
            "/acs/systems/list",
            json!({}),
            "is_credential_manager",
            vec![],
        ),
        (
            "/user_identities/list_acs_systems",
            of.clone(),
            "is_credential_manager",
            vec![],
        ),
        (
            "/enrollment_automations/list",
            of,
            "enrollment_automation_id",
            vec![&*ada.automation],
        ),
    ] {
        let shown = world.shown_to(token, path, body).await;
        let shown = shown.as_array().unwrap();
        let found: BTreeSet<_> = shown.iter().filter_map(|one| one[field].as_str()).collect();
        assert_eq!(found, expected.into_iter().collect(), "{path}");
        if field == "is_credential_manager" {
            assert_eq!(shown.len(), 2, "{path}");
        }
    }
    let automation = json!({ "enrollment_automation_id": ada.automation });
    let automation = world
        .shown_to(token, "/enrollment_automations/get", automation)
        .await;
    assert_eq!(automation["user_identity_id"], *ada.identity);
    let own = json!({ "user_identity_id": ada.identity });
    let events = world.ok("/events/list", own).await;
    let seen = world
        .shown_to(token, "/events/list", json!({ "since": "2020-01-01" }))
        .await;
    let ids = |events: &Value| -> BTreeSet<String> {
        let events = events.as_array().unwrap().iter();
        events.map(|event| id_of(event, "event_id")).collect()
    };
    assert!(ids(&seen).len() > 3);
    // Since the list was read, her session was made, which is not told.
    assert_eq!(ids(&seen), ids(&events));
    let itself = world
        .shown_to(token, "/client_sessions/get", json!({}))
        .await;
    assert_eq!(itself["client_session_id"], *ada.session);
    assert_eq!(itself["token"], **token);
    world
        .shown_to(
            token,
            "/phones/deactivate",
            json!({ "device_id": ada.phone }),
        )
        .await;
    let phones = json!({ "owner_user_identity_id": ada.identity });
    assert_eq!(world.ok("/phones/list", phones).await, json!([]));
    let journal = world
        .engine
        .store()
        .journal(identity_id(&ada.identity))
        .await
        .unwrap();
    let cause = format!("client_session/{}", ada.session);
    assert!(journal.iter().any(|row| row.cause == cause));
    assert!(journal.iter().all(|row| !row.cause.contains(token)));
}

#[tokio::test]
async fn the_app_fetches_its_own_code_but_opens_no_door_that_was_shut() {
    let world = World::new();
    let ada = Everything::of(&world, "ada", "72001").await;
    let path = "/enrollment_automations/invitations/get_or_create";
    let of = json!({ "enrollment_automation_id": ada.automation });
    let invitation = world.shown_to(&ada.token, path, of.clone()).await;
    assert_eq!(invitation["status"], "preparing");
    let device = json!({ "device_id": ada.phone });
    world
        .shown_to(&ada.token, "/phones/deactivate", device)
        .await;
    let barred = world.post_as(&ada.token, path, of).await;
    assert_eq!(barred.error(), (403, "insufficient_scope".into()));
}

#[tokio::test]
async fn a_session_has_seams_shape_and_a_token_for_whom_it_concerns() {
    let world = World::new();
    let ada = world.person("ada").await;
    let body = json!({ "user_identity_id": ada, "user_identifier_key": "ada@app" });
    let made = world.ok(CREATE, body).await;
    let token = id_of(&made, "token");
    let session = id_of(&made, "client_session_id");
    assert!(
        token.starts_with("seam_cst") && token.len() == 40,
        "{token}"
    );
    assert_eq!(
        made,
        json!({
            "client_session_id": session,
            "token": token,
            "workspace_id": WORKSPACE,
            "created_at": "2024-01-09T05:45:33.068Z",
            "expires_at": "2024-01-10T05:45:33.068Z",
            "device_count": 0,
            "connected_account_ids": [],
            "connect_webview_ids": [],
            "user_identifier_key": "ada@app",
            "user_identity_id": ada,
            "user_identity_ids": [ada],
        })
    );
    let path = "/client_sessions/get";
    for body in [
        json!({ "client_session_id": session }),
        json!({ "user_identifier_key": "ada@app" }),
    ] {
        assert_eq!(world.ok(path, body.clone()).await, made);
        for key in [READ, INVITE] {
            let answer = world
                .call_as(key, "POST", path, JSON, &body.to_string())
                .await;
            assert_eq!(answer.json()["client_session"].get("token"), None);
        }
    }
    let listed = world
        .call_as(READ, "GET", "/client_sessions/list", "", "")
        .await;
    assert!(!listed.text.contains(&token));
}

#[tokio::test]
async fn of_one_key_there_is_one_session() {
    let world = World::new();
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let body = json!({ "user_identity_id": ada, "user_identifier_key": "k" });
    let text = body.to_string();
    let made = world.call("PUT", CREATE, JSON, &text).await.json();
    let again = world.call("PUT", CREATE, JSON, &text).await.json();
    assert_eq!(again, made, "PUT returns it");
    let posted = world.post(CREATE, body.clone()).await;
    let kind = "client_session_token_already_exists".to_owned();
    assert_eq!(posted.error(), (400, kind));
    assert_eq!(world.ok(GET_OR_CREATE, body).await, made["client_session"]);
    let by_key = json!({ "user_identifier_key": "k" });
    assert_eq!(
        world.ok(GET_OR_CREATE, by_key).await,
        made["client_session"]
    );

    // Ada's token is not handed out for Bob.
    let other = json!({ "user_identity_id": bob, "user_identifier_key": "k" });
    let other_text = other.to_string();
    for answer in [
        world.call("PUT", CREATE, JSON, &other_text).await,
        world.post(GET_OR_CREATE, other).await,
    ] {
        assert_eq!(answer.error(), (409, "client_session_conflict".into()));
    }
    let listed = world.ok("/client_sessions/list", json!({})).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);

    // Without a key a person's is found, but never a named one.
    let unnamed = json!({ "user_identity_ids": [ada] });
    let first = world.ok(GET_OR_CREATE, unnamed.clone()).await;
    assert_ne!(first, made["client_session"]);
    assert_eq!(world.ok(GET_OR_CREATE, unnamed).await, first);
    let nobodys = [
        world.ok(GET_OR_CREATE, json!({})).await,
        world.ok(GET_OR_CREATE, json!({})).await,
    ];
    assert_ne!(nobodys[0], nobodys[1], "nobody is not somebody");
}

#[tokio::test]
async fn a_session_ends() {
    let world = World::new();
    let ada = world.person("ada").await;
    let body = json!({ "user_identity_id": ada, "user_identifier_key": "k" });
    let path = "/user_identities/list";
    let ends = |token: String| {
        let world = &world;
        async move { world.post_as(&token, path, json!({})).await.error() }
    };
    let unauthorized = |kind: &str| (401, kind.to_owned());

    let expired = world.ok(CREATE, body.clone()).await;
    world.advance(Duration::from_hours(24));
    let token = id_of(&expired, "token");
    assert_eq!(ends(token).await, unauthorized("client_session_expired"));

    let later = json!({ "user_identity_id": ada, "user_identifier_key": "k", "expires_at": "2024-02-01T00:00:00Z" });
    let revoked = world.ok(CREATE, later).await;
    assert_eq!(revoked["expires_at"], "2024-02-01T00:00:00.000Z");
    let of = json!({ "client_session_id": revoked["client_session_id"] });
    world.advance(Duration::from_hours(24));
    for _ in 0..2 {
        world.ok("/client_sessions/revoke", of.clone()).await;
        world.advance(Duration::from_hours(1));
    }
    let token = id_of(&revoked, "token");
    assert_eq!(ends(token).await, unauthorized("client_session_revoked"));
    let shown = world.ok("/client_sessions/get", of).await;
    assert_eq!(shown["expires_at"], "2024-01-11T05:45:33.068Z", "then");

    let deleted = world.ok(CREATE, body.clone()).await;
    let of = json!({ "client_session_id": deleted["client_session_id"] });
    world.ok("/client_sessions/delete", of.clone()).await;
    let token = id_of(&deleted, "token");
    assert_eq!(ends(token).await, unauthorized("client_session_not_found"));
    let again = world.post("/client_sessions/delete", of).await;
    assert_eq!(again.error(), (404, "client_session_not_found".into()));
    assert_eq!(
        ends("seam_cst".into()).await,
        unauthorized("client_session_not_found")
    );

    let orphaned = world.ok(CREATE, body).await;
    let of = json!({ "user_identity_id": ada });
    world.ok("/user_identities/delete", of).await;
    let token = id_of(&orphaned, "token");
    assert_eq!(ends(token).await, unauthorized("client_session_not_found"));
    let told = json!({ "event_type": "client_session.deleted" });
    let told = world.ok("/events/list", told).await;
    let told: BTreeSet<_> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|e| id_of(e, "client_session_id"))
        .collect();
    for session in [&expired, &revoked, &deleted, &orphaned] {
        assert!(told.contains(&id_of(session, "client_session_id")));
    }
    assert_eq!(
        world.ok("/client_sessions/list", json!({})).await,
        json!([])
    );
}

#[tokio::test]
async fn access_is_granted_once() {
    let world = World::new();
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let made = world
        .ok(CREATE, json!({ "user_identifier_key": "k" }))
        .await;
    assert_eq!(made["user_identity_id"], Value::Null);
    assert_eq!(made["user_identity_ids"], json!([]));
    let token = id_of(&made, "token");
    let path = "/user_identities/list";
    assert_eq!(world.shown_to(&token, path, json!({})).await, json!([]));

    let grant = "/client_sessions/grant_access";
    let body = json!({ "user_identifier_key": "k", "user_identity_id": ada });
    let answer = world.call("PATCH", grant, JSON, &body.to_string()).await;
    assert_eq!(answer.json()["client_session"]["user_identity_id"], *ada);
    assert_eq!(
        world.ok(grant, body).await["user_identity_ids"],
        json!([ada])
    );
    let seen = world.shown_to(&token, path, json!({})).await;
    assert_eq!(seen[0]["user_identity_id"], *ada);

    let id = &made["client_session_id"];
    let other = json!({ "client_session_id": id, "user_identity_id": bob });
    let answer = world.post(grant, other).await;
    assert_eq!(answer.error(), (409, "client_session_conflict".into()));
    let seen = world.shown_to(&token, path, json!({})).await;
    assert_eq!(seen[0]["user_identity_id"], *ada);
    for (body, status, kind) in [
        (json!({ "client_session_id": id }), 400, "invalid_input"),
        (json!({ "user_identity_id": ada }), 400, "invalid_input"),
        (
            json!({ "client_session_id": NOBODY, "user_identity_id": ada }),
            404,
            "client_session_not_found",
        ),
        (
            json!({ "client_session_id": id, "user_identity_id": NOBODY }),
            404,
            "user_identity_not_found",
        ),
    ] {
        let answer = world.post(grant, body.clone()).await;
        assert_eq!(answer.error(), (status, kind.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn lists_are_filtered() {
    let world = World::new();
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world
        .ok(
            CREATE,
            json!({ "user_identity_id": ada, "user_identifier_key": "a" }),
        )
        .await;
    world.ok(CREATE, json!({ "user_identity_id": bob })).await;
    let empty = world
        .ok(CREATE, json!({ "user_identifier_key": "e" }))
        .await;
    let path = "/client_sessions/list";
    for (query, expected) in [
        ("", 3),
        ("?connect_webview_id=&_strict=true", 3),
        ("?user_identity_id=&_strict=true", 1),
        ("?without_user_identifier_key=true&_strict=true", 1),
        ("?user_identifier_key=a&_strict=true", 1),
        ("?user_identifier_key=b&_strict=true", 0),
        (&format!("?user_identity_id={bob}"), 1),
        (
            &format!("?client_session_id={}", id_of(&empty, "client_session_id")),
            1,
        ),
        (&format!("?connect_webview_id={NOBODY}"), 0),
    ] {
        let listed = world.get(&format!("{path}{query}")).await.json();
        let listed = listed["client_sessions"].as_array().unwrap().len();
        assert_eq!(listed, expected, "{query}");
    }
}

#[tokio::test]
async fn what_is_asked_for_must_make_sense() {
    let world = World::new();
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    for (body, status, kind) in [
        (
            json!({ "expires_at": "2024-01-09T05:45:33.068Z" }),
            400,
            "invalid_input",
        ),
        (json!({ "user_identity_ids": [] }), 400, "invalid_input"),
        (
            json!({ "user_identity_ids": [ada, bob] }),
            400,
            "invalid_input",
        ),
        (
            json!({ "user_identity_ids": [ada], "user_identity_id": bob }),
            400,
            "invalid_input",
        ),
        (
            json!({ "connected_account_ids": [NOBODY] }),
            400,
            "invalid_input",
        ),
        (
            json!({ "user_identity_id": NOBODY }),
            404,
            "user_identity_not_found",
        ),
    ] {
        for path in [CREATE, GET_OR_CREATE] {
            let answer = world.post(path, body.clone()).await;
            assert_eq!(answer.error(), (status, kind.to_owned()), "{body}");
        }
    }
    let path = "/client_sessions/get";
    for body in [
        json!({}),
        json!({ "client_session_id": NOBODY, "user_identifier_key": "k" }),
    ] {
        assert_eq!(
            world.post(path, body).await.error(),
            (400, "invalid_input".into())
        );
    }
    world
        .ok(
            "/user_identities/delete",
            json!({ "user_identity_id": ada }),
        )
        .await;
    let answer = world.post(CREATE, json!({ "user_identity_id": ada })).await;
    assert!(
        answer.status == 409 || answer.status == 404,
        "{}",
        answer.text
    );
    let (read, invite) = (READ, INVITE);
    for key in [read, invite] {
        let answer = world.call_as(key, "POST", CREATE, JSON, "{}").await;
        assert_eq!(answer.error(), (403, "insufficient_scope".into()));
    }
}

#[tokio::test]
async fn a_session_does_not_leave_the_person_that_it_was_made_for() {
    let world = World::new();
    let ada = world.person("ada").await;
    let token = world.session(&ada).await;
    let own = world
        .shown_to(&token, "/client_sessions/get", json!({}))
        .await;
    let other = world
        .ok(
            CREATE,
            json!({ "user_identity_id": ada, "user_identifier_key": "other" }),
        )
        .await;
    for body in [
        json!({ "client_session_id": other["client_session_id"] }),
        json!({ "user_identifier_key": "other" }),
    ] {
        let answer = world.post_as(&token, "/client_sessions/get", body).await;
        assert_eq!(answer.error(), (404, "client_session_not_found".into()));
    }
    let itself = json!({ "client_session_id": own["client_session_id"] });
    assert_eq!(
        world.shown_to(&token, "/client_sessions/get", itself).await,
        own
    );
}
