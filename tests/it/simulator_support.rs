//! A caller of the simulator who knows the printed shapes of `origo-api.md` and nothing else.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use origo_adapter::simulator::{Device, Hid, Reply, Settings};
use serde_json::{Value, json};

pub(crate) const MI: &str = "/credential-management/customer/7001234";
pub(crate) const EVENTS: &str = "/organization/7001234/events";
pub(crate) const MEDIA: &str = "application/vnd.assaabloy.ma.credential-management-2.2+json";
pub(crate) const ACTION: &str = "urn:hid:scim:api:ma:2.2:UserAction";
pub(crate) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const INVITATION: &str = "urn:hid:scim:api:ma:2.2:UserInvitation";
pub(crate) const CONTAINER: &str = "urn:hid:scim:api:ma:2.2:CredentialContainer";
pub(crate) const CREDENTIAL: &str = "urn:hid:scim:api:ma:2.2:Credential";
pub(crate) const PART: &str = "MID-SUB-EXAMPLE_1";
/// 2026-03-01T10:00:00Z
pub(crate) const START: i64 = 1_772_359_200_000;

pub(crate) struct Caller {
    pub(crate) hid: Hid,
    pub(crate) now: i64,
    pub(crate) token: String,
}

pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl From<Response<Bytes>> for Got {
    fn from(response: Response<Bytes>) -> Self {
        let text = String::from_utf8_lossy(response.body()).into_owned();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }
}

impl Caller {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let mut caller = Self {
            hid: Hid::new(settings, 7),
            now: START,
            token: String::new(),
        };
        caller.log_in();
        caller
    }

    pub(crate) fn log_in(&mut self) -> Got {
        let got = self.ask_for_token("simulator-secret");
        if let Some(token) = got.body["access_token"].as_str() {
            token.clone_into(&mut self.token);
        }
        got
    }

    pub(crate) fn ask_for_token(&mut self, secret: &str) -> Got {
        let form = format!(
            "client_id=7001234-OSRV900001&client_secret={secret}&grant_type=client_credentials"
        );
        let request = Request::post("/authentication/customer/7001234/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(form))
            .unwrap();
        answer(self.hid.handle(self.now, request))
    }

    pub(crate) fn request(&self, verb: &str, path: &str, body: &Value) -> Request<Bytes> {
        let media = if path.starts_with(MI) {
            MEDIA
        } else {
            "application/json"
        };
        let builder = Request::builder()
            .method(verb)
            .uri(path)
            .header("host", "hid.example")
            .header("authorization", format!("Bearer {}", self.token))
            .header("application-id", "HID-EXAMPLE-ADAPTER");
        if body.is_null() {
            builder.body(Bytes::new()).unwrap()
        } else {
            builder
                .header("content-type", media)
                .body(Bytes::from(body.to_string()))
                .unwrap()
        }
    }

    pub(crate) fn send(&mut self, verb: &str, path: &str, body: &Value) -> Reply {
        let request = self.request(verb, path, body);
        self.hid.handle(self.now, request)
    }

    pub(crate) fn call(&mut self, verb: &str, path: &str, body: &Value) -> Got {
        answer(self.send(verb, path, body))
    }

    pub(crate) fn get(&mut self, path: &str) -> Got {
        self.call("GET", &format!("{MI}/{path}"), &Value::Null)
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Got {
        self.call("POST", &format!("{MI}/{path}"), body)
    }

    pub(crate) fn delete(&mut self, path: &str) -> Got {
        self.call("DELETE", &format!("{MI}/{path}"), &Value::Null)
    }

    pub(crate) fn wait(&mut self, ms: i64) {
        self.now += ms;
        self.hid.advance(self.now);
    }

    pub(crate) fn user(&mut self, name: &str) -> u64 {
        let got = self.post("users", &person(name));
        assert_eq!(got.status, 201, "{}", got.text);
        got.body["id"].as_u64().unwrap()
    }

    pub(crate) fn code(&mut self, user: u64) -> (u64, String) {
        let got = self.post(&format!("users/{user}/invitation"), &invite());
        assert_eq!(got.status, 201, "{}", got.text);
        let entry = &got.body[INVITATION][0];
        (
            entry["id"].as_u64().unwrap(),
            entry["invitationCode"].as_str().unwrap().to_owned(),
        )
    }

    /// A user with a phone that is ACTIVE.
    pub(crate) fn phone(&mut self, name: &str) -> (u64, u64) {
        let user = self.user(name);
        let (_, code) = self.code(user);
        let container = self.hid.redeem(self.now, &code, Device::default()).unwrap();
        self.wait(1_000);
        (user, container)
    }

    pub(crate) fn issue(&mut self, container: u64) -> Got {
        self.post(
            &format!("credential-container/{container}/credential"),
            &issue(PART),
        )
    }

    pub(crate) fn statuses(&mut self, user: u64) -> Vec<String> {
        let got = self.get(&format!("users/{user}"));
        let containers = got.body[CONTAINER].as_array().cloned().unwrap_or_default();
        containers
            .iter()
            .flat_map(|item| item[CREDENTIAL].as_array().cloned().unwrap_or_default())
            .map(|item| item["status"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn events(&mut self) -> Vec<Value> {
        let got = self.call("GET", EVENTS, &Value::Null);
        assert_eq!(got.status, 200, "{}", got.text);
        got.body.as_array().cloned().unwrap()
    }

    pub(crate) fn event_statuses(&mut self) -> Vec<String> {
        let status = |event: &Value| event["data"]["status"].as_str().unwrap().to_owned();
        self.events().iter().map(status).collect()
    }
}

pub(crate) fn answer(reply: Reply) -> Got {
    match reply {
        Reply::Answer(response) => response.into(),
        Reply::Reset => panic!("reset"),
        Reply::Hang => panic!("hang"),
    }
}

pub(crate) fn person(name: &str) -> Value {
    json!({
        "schemas": [USER],
        "externalId": format!("ident-{name}"),
        "name": { "familyName": "Okafor", "givenName": name },
        "emails": [{ "value": format!("{name}@tenant.example") }],
        "meta": { "resourceType": "PACSUser" },
    })
}

pub(crate) fn invite() -> Value {
    json!({
        "schemas": [ACTION],
        ACTION: {
            "createInvitationCode": "Y", "sendInvitationEmail": "N",
            "assignCredential": "N", "partNumber": "", "credential": "",
        },
        "meta": { "resourceType": "PACSUser" },
    })
}

pub(crate) fn issue(part_number: &str) -> Value {
    json!({
        "schemas": [ACTION],
        ACTION: { "assignCredential": "Y", "partNumber": part_number, "credential": "" },
    })
}

pub(crate) fn search(filter: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "attributes": ["emails", "name.givenName"],
        "filter": filter, "startIndex": 1, "count": 25,
    })
}
