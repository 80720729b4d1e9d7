//! The scripted app: it knows our HTTP API and a key, and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde_json::{Value, json};

use super::stage::POOL;
use crate::origo::{HttpTransport, Options, Transport as _};

/// Our API answers from its own disk; anything slower is broken.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The app.
pub(super) struct App {
    transport: HttpTransport,
    /// Where the API is at present.
    pub(super) address: SocketAddr,
    key: String,
}

/// The two systems that the app works with.
pub(super) struct Systems {
    manager: String,
    access: String,
}

/// One person, by the ids that the API gave.
pub(super) struct Person {
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) acs_user: String,
    pub(super) automation: String,
    pub(super) parent: String,
}

impl App {
    /// An app that calls the API at `address` with `key`.
    pub(super) fn new(address: SocketAddr, key: &str) -> anyhow::Result<Self> {
        let transport = HttpTransport::new(&Options {
            request_timeout: TIMEOUT,
            proxy: None,
            ca_certificates: None,
        })
        .context("preparing the app's HTTP client")?;
        Ok(Self {
            transport,
            address,
            key: key.to_owned(),
        })
    }

    /// Finds the systems that keys are launched with and issued in.
    pub(super) async fn systems(&self) -> anyhow::Result<Systems> {
        let answer = self.call("/acs/systems/list", &json!({})).await?;
        let systems = answer["acs_systems"].as_array().cloned();
        let systems = systems.unwrap_or_default();
        let find = |is_manager: bool| {
            systems
                .iter()
                .find(|system| system["is_credential_manager"] == is_manager)
                .context("the API names no such system")
                .and_then(|system| id(system, "acs_system_id"))
        };
        Ok(Systems {
            manager: find(true)?,
            access: find(false)?,
        })
    }

    /// Makes a person known and asks for what every phone of theirs shall carry: the calls of Seam's own guide.
    pub(super) async fn enroll(&self, systems: &Systems, number: u32) -> anyhow::Result<Person> {
        let name = name(number);
        let email = format!("person-{number}@tenant.example");
        let asked = json!({
            "user_identity_key": format!("person-{number}"),
            "full_name": name,
            "email_address": email,
        });
        let path = "/user_identities/create";
        let made = self.create(path, "user_identity", &asked).await?;
        let identity = id(&made, "user_identity_id")?;
        let asked = json!({
            "acs_system_id": systems.access,
            "full_name": name,
            "user_identity_id": identity,
        });
        let made = self.create("/acs/users/create", "acs_user", &asked).await?;
        let acs_user = id(&made, "acs_user_id")?;
        let asked = json!({
            "user_identity_id": identity,
            "credential_manager_acs_system_id": systems.manager,
            "acs_credential_pool_id": POOL,
            "create_credential_manager_user": true,
        });
        let path = "/user_identities/enrollment_automations/launch";
        let made = self.create(path, "enrollment_automation", &asked).await?;
        let automation = id(&made, "enrollment_automation_id")?;
        let asked = json!({
            "acs_user_id": acs_user,
            "is_multi_phone_sync_credential": true,
            "card_format": "rfid48",
            "facility_code": "9",
            "access_method": "mobile_key",
        });
        let path = "/acs/credentials/create";
        let made = self.create(path, "acs_credential", &asked).await?;
        let parent = id(&made, "acs_credential_id")?;
        Ok(Person {
            name,
            identity,
            acs_user,
            automation,
            parent,
        })
    }

    /// The code that the person's next phone can redeem, once HID has made one.
    pub(super) async fn invitation_code(&self, person: &Person) -> anyhow::Result<Option<String>> {
        let path = "/enrollment_automations/invitations/get_or_create";
        let asked = json!({ "enrollment_automation_id": person.automation });
        let invitation = self.create(path, "invitation", &asked).await?;
        Ok(invitation["invitation_code"].as_str().map(str::to_owned))
    }

    /// How many of the person's phones carry what was asked for, as far as the daemon knows.
    pub(super) async fn issued(&self, person: &Person) -> anyhow::Result<usize> {
        let asked =
            json!({ "acs_user_id": person.acs_user, "is_multi_phone_sync_credential": false });
        let answer = self.call("/acs/credentials/list", &asked).await?;
        let children = answer["acs_credentials"].as_array().cloned();
        let of_parent = |child: &&Value| {
            child["parent_acs_credential_id"] == person.parent.as_str()
                && child["is_issued"] == true
        };
        Ok(children
            .unwrap_or_default()
            .iter()
            .filter(of_parent)
            .count())
    }

    /// The person's phones: id, and when the daemon first saw each.
    pub(super) async fn phones(&self, person: &Person) -> anyhow::Result<Vec<(String, i64)>> {
        let asked = json!({ "owner_user_identity_id": person.identity });
        let answer = self.call("/phones/list", &asked).await?;
        let phones = answer["phones"].as_array().cloned().unwrap_or_default();
        phones
            .iter()
            .map(|phone| {
                let seen = phone["created_at"].as_str();
                let seen = seen.and_then(crate::clock::parse_rfc3339);
                Ok((
                    id(phone, "device_id")?,
                    seen.context("a phone without created_at")?,
                ))
            })
            .collect()
    }

    /// Withdraws what all of the person's phones carry.
    pub(super) async fn withdraw(&self, person: &Person) -> anyhow::Result<()> {
        let asked = json!({ "acs_credential_id": person.parent });
        self.call("/acs/credentials/delete", &asked).await?;
        Ok(())
    }

    async fn create(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<Value> {
        let mut answer = self.call(path, body).await?;
        Ok(answer[key].take())
    }

    async fn call(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = http::Request::post(format!("http://{}{path}", self.address))
            .header(http::header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()))?;
        let answer = self
            .transport
            .send(request)
            .await
            .with_context(|| format!("calling {path}"))?;
        let status = answer.status();
        let said: Value = serde_json::from_slice(answer.body())
            .with_context(|| format!("{path} answered {status} without JSON"))?;
        if !status.is_success() {
            bail!("{path} answered {status}: {}", said["error"]);
        }
        Ok(said)
    }
}

fn id(of: &Value, field: &str) -> anyhow::Result<String> {
    let id = of[field].as_str();
    id.map(str::to_owned)
        .with_context(|| format!("an answer without {field}"))
}

/// Nobody's.
fn name(number: u32) -> String {
    const GIVEN: [&str; 8] = [
        "Ada", "Bruno", "Chiyo", "Dario", "Efua", "Farid", "Greta", "Hugo",
    ];
    let given = usize::try_from(number)
        .ok()
        .and_then(|number| GIVEN.get(number.checked_sub(1)?));
    match given {
        Some(given) => format!("{given} Example"),
        None => format!("Person-{number} Example"),
    }
}
