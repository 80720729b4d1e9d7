//! An API over an in-memory store with a clock that stands still, and a person's phones put in by hand.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use origo_adapter::api::{Api, router};
use origo_adapter::clock::Clock;
use origo_adapter::config;
use origo_adapter::core::effect::Lane;
use origo_adapter::core::ids::*;
use origo_adapter::core::observation::*;
use origo_adapter::core::policy::{DriftPolicy, ManagerPolicy, PhonePolicy, Policy};
use origo_adapter::engine::Engine;
use origo_adapter::manager::Manager;
use origo_adapter::store::Store;
use origo_adapter::store::sqlite::Sqlite;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use uuid::{Uuid, uuid};

use crate::support::manager::{NoWay, hq};

pub(crate) const WORKSPACE: Uuid = uuid!("398d80b7-3f96-47c2-b85a-6f8ba21d07be");
pub(crate) const HQ: Uuid = uuid!("6737e186-8d54-48ce-a7da-a0be4d252172");
pub(crate) const LAB: Uuid = uuid!("11111111-8d54-48ce-a7da-a0be4d252172");
pub(crate) const DOORS: Uuid = uuid!("8aaa5fa0-9381-4463-a0ed-85f9c1fbcef4");
pub(crate) const POOL: Uuid = uuid!("3fa85f64-5717-4562-b3fc-2c963f66afa6");
pub(crate) const NOBODY: Uuid = uuid!("ffffffff-ffff-4fff-8fff-ffffffffffff");
pub(crate) const WRITE: &str = "seam_write_key";
pub(crate) const INVITE: &str = "seam_invite_key";
pub(crate) const READ: &str = "seam_read_key";
/// 2024-01-09T05:45:33.068Z, the seeds' own.
pub(crate) const NOW: i64 = 1_704_779_133_068;

#[derive(Default)]
pub(crate) struct StoppedClock(AtomicI64);

impl Clock for StoppedClock {
    fn boot_id(&self) -> uuid::Uuid {
        uuid::Uuid::nil()
    }

    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn boottime(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now() - NOW).unwrap())
    }
}

pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) manager: Arc<Manager>,
    pub(crate) clock: Arc<StoppedClock>,
    pub(crate) turning: Arc<AtomicBool>,
    pub(crate) router: Router,
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        let kind = self
            .headers
            .get("content-type")
            .map(|v| v.to_str().unwrap());
        assert!(
            kind.unwrap_or_default().starts_with("application/json"),
            "{kind:?}"
        );
        assert!(self.headers.contains_key("seam-request-id"));
        serde_json::from_str(&self.text).unwrap()
    }

    /// The error's type, with its status.
    pub(crate) fn error(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(body["ok"], false, "{body}");
        assert!(body["error"]["message"].is_string(), "{body}");
        let kind = body["error"]["type"].as_str().unwrap_or_default();
        (self.status.as_u16(), kind.to_owned())
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(Sqlite::in_memory().unwrap()))
    }

    pub(crate) fn over(store: Arc<dyn Store>) -> Self {
        Self::configured(store, "")
    }

    /// With a credential manager that is HID's simulator.
    pub(crate) fn sandbox(control_url: &str) -> Self {
        let simulator = format!(
            "environment = \"simulator\"\ncontrol_url = \"{control_url}\"\n\
             token_url = \"http://127.0.0.1:9\"\nmobile_identities_url = \"http://127.0.0.1:9\"\n\
             events_url = \"http://127.0.0.1:9\""
        );
        Self::configured(Arc::new(Sqlite::in_memory().unwrap()), &simulator)
    }

    fn configured(store: Arc<dyn Store>, manager: &str) -> Self {
        let site = tempfile::TempDir::new().unwrap();
        let secret = site.path().join("secret");
        fs::write(&secret, "a secret").unwrap();
        let hash = |key: &str| {
            let hash = digest(&SHA256, key.as_bytes());
            let hex: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
            format!("sha256:{}", hex.concat())
        };
        let text = format!(
            r#"
workspace_id = "{WORKSPACE}"
[credential_managers.hq]
{manager}
acs_system_id = "{HQ}"
organization_id = "7001234"
application_id = "HID-EXAMPLE-ADAPTER"
client_id = "7001234-OSRV900001"
client_secret_file = {secret:?}
default_part_number = "MID-SUB-DEFAULT"
[[credential_managers.hq.card_profiles]]
card_format = "rfid48"
facility_code = "9"
part_number = "MID-SUB-EXAMPLE_1"
[[credential_managers.hq.card_profiles]]
card_format = "rfid48"
facility_code = "10"
part_number = "MID-SUB-EXAMPLE_2"
[[credential_managers.hq.part_numbers]]
part_number = "MID-SUB-EXAMPLE_1"
acs_credential_pool_id = "{POOL}"
[credential_managers.lab]
acs_system_id = "{LAB}"
organization_id = "7001235"
application_id = "HID-EXAMPLE-ADAPTER"
client_id = "7001235-OSRV900001"
client_secret_file = {secret:?}
[access_systems.hq_doors]
acs_system_id = "{DOORS}"
credential_manager = "hq"
[api.keys.ops]
scope = "write"
hash = "{}"
[api.keys.app]
scope = "invite"
hash = "{}"
[api.keys.auditor]
scope = "read"
hash = "{}"
"#,
            hash(WRITE),
            hash(INVITE),
            hash(READ)
        );
        let file = site.path().join("config.toml");
        fs::write(&file, text).unwrap();
        let config = config::load(Some(&file), std::iter::empty()).unwrap();
        let clock = Arc::new(StoppedClock(AtomicI64::new(NOW)));
        let manager = ManagerPolicy {
            email_invitations: true,
            max_renewals: 3,
            adopt_by_email: false,
            events: true,
            overlap: Duration::from_mins(2),
            phones: PhonePolicy::default(),
            drift: DriftPolicy::Report,
        };
        let policy = Policy {
            retry_schedule: vec![Duration::from_secs(5)],
            managers: [HQ, LAB]
                .map(|id| (AcsSystemId(id), manager.clone()))
                .into(),
            ..crate::support::scene::policy()
        };
        let engine = Arc::new(Engine::new(
            store,
            Arc::<StoppedClock>::clone(&clock),
            policy,
        ));
        let manager = Arc::new(hq(AcsSystemId(HQ), Arc::new(NoWay), &engine));
        let turning = Arc::new(AtomicBool::new(true));
        let probe = Arc::clone(&turning);
        let probe = Arc::new(move || probe.load(Ordering::SeqCst));
        let api = Api::new(
            Arc::clone(&engine),
            &config,
            vec![Arc::clone(&manager)],
            probe,
        );
        let router = router(Arc::new(api));
        Self {
            engine,
            manager,
            clock,
            turning,
            router,
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        self.clock.0.fetch_add(by, Ordering::SeqCst);
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (verb, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        };
        super::schema::check(verb.as_str(), &path, &answer);
        answer
    }

    /// A request with the write key; `body` may be empty.
    pub(crate) async fn call(&self, verb: &str, path: &str, kind: &str, body: &str) -> Answer {
        self.call_as(WRITE, verb, path, kind, body).await
    }

    pub(crate) async fn call_as(
        &self,
        key: &str,
        verb: &str,
        path: &str,
        kind: &str,
        body: &str,
    ) -> Answer {
        let mut request = Request::builder()
            .method(verb)
            .uri(path)
            .header("authorization", format!("Bearer {key}"));
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    /// A JSON POST, as the oldest SDKs send everything.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        let body = body.to_string();
        self.call("POST", path, "application/json", &body).await
    }

    /// A JSON POST that must be answered with 200; what stands under the response key.
    pub(crate) async fn ok(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let mut body = answer.json();
        assert_eq!(body["ok"], true);
        let fields = body.as_object_mut().unwrap();
        fields.remove("ok");
        fields.remove("pagination");
        let value = fields.values().next().cloned();
        value.unwrap_or(Value::Null)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "", "").await
    }

    /// A user identity with all that HID asks of one.
    pub(crate) async fn person(&self, key: &str) -> String {
        let body = json!({
            "user_identity_key": key,
            "full_name": "Ada Okafor",
            "email_address": format!("{key}@example.com"),
        });
        let identity = self.ok("/user_identities/create", body).await;
        id_of(&identity, "user_identity_id")
    }

    /// Her ACS user in the access system.
    pub(crate) async fn acs_user(&self, identity: &str) -> String {
        let body = json!({
            "acs_system_id": DOORS,
            "full_name": "Ada Okafor",
            "user_identity_id": identity,
        });
        id_of(&self.ok("/acs/users/create", body).await, "acs_user_id")
    }

    /// Her parent, as the seeds ask for it.
    pub(crate) async fn parent(&self, acs_user: &str) -> String {
        let parent = self
            .ok("/acs/credentials/create", seed_credential(acs_user))
            .await;
        id_of(&parent, "acs_credential_id")
    }

    /// Carries out what a lane owes, with `answer` for HID's.
    pub(crate) async fn perform(&self, identity: &str, lane: Lane, answer: Answered) {
        let id = IdentityId(identity.parse().unwrap());
        let started = Observation::Started(lane.clone());
        let identity = self.engine.observe(id, &started, "test").await.unwrap();
        let identity = identity.unwrap();
        let call = identity.in_flight.clone();
        let call = call.unwrap_or_else(|| panic!("{lane} owes nothing that is due"));
        let seen = Observation::Answered(call, answer(&identity));
        self.engine.observe(id, &seen, "test").await.unwrap();
    }

    /// Carries out what a lane owes, and it fails.
    pub(crate) async fn fails(&self, identity: &str, lane: Lane, fault: Fault) {
        let id = IdentityId(identity.parse().unwrap());
        let started = Observation::Started(lane);
        let identity = self.engine.observe(id, &started, "test").await.unwrap();
        let call = identity.unwrap().in_flight.unwrap();
        let seen = Observation::Failed(call, fault);
        self.engine.observe(id, &seen, "test").await.unwrap();
    }

    /// HID makes the user with an invitation.
    pub(crate) async fn make_hid_user(&self, identity: &str) {
        let lane = Lane::CmUser(AcsSystemId(HQ));
        self.perform(identity, lane, Box::new(created_user)).await;
    }

    /// HID makes the user with an invitation where there is none, and `container` registers.
    pub(crate) async fn enroll(&self, identity: &str, container: &str, device: Device) -> String {
        let manager = AcsSystemId(HQ);
        let id = IdentityId(identity.parse().unwrap());
        let loaded = self.engine.store().load(id).await.unwrap().unwrap();
        if loaded.identity.enrollments[&manager].user_id().is_none() {
            self.make_hid_user(identity).await;
        }
        let container = ContainerId::parse(container).unwrap();
        let event = Observation::Event(Event {
            manager,
            time: self.engine.now(),
            what: Happening::PhoneActive {
                container: container.clone(),
                invitation: InvitationId::parse("inv-1"),
                device,
            },
        });
        self.engine.observe(id, &event, "test").await.unwrap();
        PhoneId::of(manager, &container).to_string()
    }

    /// HID takes the issue in, and the key reaches the phone.
    pub(crate) async fn issue(&self, identity: &str, phone: &str, credential: &str) {
        let part_number = PartNumber("MID-SUB-EXAMPLE_1".into());
        let lane = Lane::Key(PhoneId(phone.parse().unwrap()), part_number.clone());
        let credential = CredentialId::parse(credential).unwrap();
        let seen = CredentialSeen {
            id: credential.clone(),
            part_number: Some(part_number),
            card_number: Some("4711".into()),
            status: CredentialStatus::IssueInitiated,
        };
        let answer = Box::new(move |_: &origo_adapter::core::Identity| {
            origo_adapter::core::Answer::Issued(seen.clone())
        });
        self.perform(identity, lane, answer).await;
        self.advance(Duration::from_secs(2));
        let id = IdentityId(identity.parse().unwrap());
        let event = Observation::Event(Event {
            manager: AcsSystemId(HQ),
            time: self.engine.now(),
            what: Happening::KeyIssued {
                credential,
                container: None,
            },
        });
        self.engine.observe(id, &event, "test").await.unwrap();
    }
}

/// HID's answer to a call.
pub(crate) type Answered =
    Box<dyn Fn(&origo_adapter::core::Identity) -> origo_adapter::core::Answer>;

fn created_user(identity: &origo_adapter::core::Identity) -> origo_adapter::core::Answer {
    origo_adapter::core::Answer::UserCreated(UserSeen {
        id: HidUserId::parse(&format!("u{}", identity.id.0.as_u128() % 1_000_000)).unwrap(),
        external_id: Some(identity.id.to_string()),
        deleting: false,
        invitations: vec![InvitationSeen {
            id: InvitationId::parse("inv-1").unwrap(),
            code: Some(InvitationCode("AAAA-BBBB-CCCC-DDDD".into())),
            status: InvitationStatus::Pending,
            expires_at: Some(Timestamp(NOW + 604_800_000)),
        }],
        containers: vec![],
    })
}

pub(crate) fn iphone() -> Device {
    Device {
        manufacturer: Some("Apple".into()),
        model: Some("iPhone15,2".into()),
        os_version: Some("iOS 17.2".into()),
        application_version: None,
    }
}

pub(crate) fn id_of(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {value}"))
        .to_owned()
}

/// The body of the seeds' second call.
pub(crate) fn seed_credential(acs_user: &str) -> Value {
    json!({
        "acs_user_id": acs_user,
        "is_multi_phone_sync_credential": true,
        "card_format": "rfid48",
        "facility_code": "9",
        "access_method": "mobile_key"
    })
}

pub(crate) fn identity_id(text: &str) -> IdentityId {
    IdentityId(text.parse().unwrap())
}
