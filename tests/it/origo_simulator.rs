//! Our client against our simulator, in process: both read the same facts, so they must agree.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use origo_adapter::core::effect::{Delivery, NewUser, SearchBy};
use origo_adapter::core::ids::{IdentityId, PartNumber, Personal};
use origo_adapter::core::observation::{ContainerStatus, CredentialStatus, Happening, Rejection};
use origo_adapter::core::{Answer, Effect, Fault};
use origo_adapter::origo::{self, Client, RawEvent, Sending, Transport, TransportError};
use origo_adapter::simulator::{Device, Hid, Reply, Settings};
use uuid::Uuid;

use crate::origo_stub::{START, settings};

pub(crate) struct InProcess {
    pub(crate) hid: Mutex<Hid>,
    pub(crate) now: Arc<AtomicI64>,
}

impl Transport for InProcess {
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_> {
        let now = self.now.load(Ordering::SeqCst);
        let reply = self.hid.lock().expect("no panic").handle(now, request);
        Box::pin(async move {
            match reply {
                Reply::Answer(answer) => Ok(answer),
                Reply::Reset | Reply::Hang => Err(TransportError::Unanswered("reset".into())),
            }
        })
    }
}

struct World {
    transport: Arc<InProcess>,
    client: Client,
}

impl World {
    fn new() -> Self {
        let now = Arc::new(AtomicI64::new(START));
        let transport = Arc::new(InProcess {
            hid: Mutex::new(Hid::new(Settings::default(), 7)),
            now: Arc::clone(&now),
        });
        let base = settings("https://hid.example");
        let settings = origo::Settings {
            token_url: "https://hid.example".parse().expect("an address"),
            login: origo_adapter::origo::Login::Secret("simulator-secret".to_owned().into()),
            ..base
        };
        let clock = Arc::new(move || now.load(Ordering::SeqCst));
        let client = Client::new(
            settings,
            Arc::<InProcess>::clone(&transport),
            Arc::new(origo::Unlimited),
            clock,
        );
        Self { transport, client }
    }

    async fn go(&self, effect: Effect) -> Result<Answer, Fault> {
        let answer = self.client.perform(&effect, &|| true).await;
        answer.map_err(|error| error.fault)
    }

    fn now(&self) -> i64 {
        self.transport.now.load(Ordering::SeqCst)
    }

    fn wait(&self, seconds: i64) {
        self.transport
            .now
            .fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    fn hid(&self) -> std::sync::MutexGuard<'_, Hid> {
        self.transport.hid.lock().expect("no panic")
    }
}

fn ada() -> NewUser {
    NewUser {
        external_id: IdentityId(Uuid::from_u128(0x42)),
        given_name: Personal("Ada".into()),
        family_name: Personal("Okafor".into()),
        email: Personal("Ada@tenant.example".into()),
    }
}

#[tokio::test]
async fn a_key_from_the_first_call_to_the_last() {
    let world = World::new();
    let create = || Effect::CreateUser {
        user: ada(),
        invite: Some(Delivery::Api),
    };
    let Ok(Answer::UserCreated(user)) = world.go(create()).await else {
        panic!("no user");
    };
    assert_eq!(world.go(create()).await, Err(Fault::Conflict));
    for by in [
        SearchBy::Email(ada().email),
        SearchBy::ExternalId(ada().external_id),
    ] {
        let found = world.go(Effect::SearchUser { by }).await;
        assert_eq!(found, Ok(Answer::UserFound(Some(user.id.clone()))));
    }
    let code = user.invitations[0].code.clone().unwrap().0;
    let device = Device::default();
    let now = world.now();
    world.hid().redeem(now, &code, device).unwrap();
    world.wait(60);
    let read = || Effect::ReadUser {
        user: user.id.clone(),
    };
    let Ok(Answer::User(seen)) = world.go(read()).await else {
        panic!("not read");
    };
    let phone = &seen.containers[0];
    assert_eq!(phone.status, ContainerStatus::Active);
    let issue = |part_number: &str| Effect::Issue {
        container: phone.id.clone(),
        part_number: PartNumber(part_number.into()),
    };
    let Ok(Answer::Issued(key)) = world.go(issue("MID-SUB-EXAMPLE_1")).await else {
        panic!("not issued");
    };
    let again = world.go(issue("MID-SUB-EXAMPLE_1")).await;
    assert_eq!(again, Err(Fault::Already));
    let foreign = world.go(issue("FOREIGN")).await;
    assert_eq!(foreign, Err(Fault::Rejected(Rejection::PartNumber)));
    world.wait(120);
    let read_phone = Effect::ReadPhone {
        container: phone.id.clone(),
    };
    let Ok(Answer::Phone(phone)) = world.go(read_phone).await else {
        panic!("no phone");
    };
    assert_eq!(phone.credentials[0].id, key.id);
    assert_eq!(phone.credentials[0].status, CredentialStatus::Issued);
    let events = world.client.events(START, world.now() + 1).await.unwrap();
    let happenings: Vec<Happening> = events.iter().filter_map(RawEvent::happening).collect();
    assert!(happenings.contains(&Happening::KeyIssued {
        credential: key.id.clone(),
        container: Some(phone.id.clone()),
    }));
    let is_phone = |seen: &Happening| matches!(seen, Happening::PhoneActive { container, .. } if *container == phone.id);
    assert!(happenings.iter().any(is_phone));
    let revoke = || Effect::Revoke {
        credential: key.id.clone(),
    };
    assert_eq!(world.go(revoke()).await, Ok(Answer::Revoked));
    assert_eq!(world.go(revoke()).await, Err(Fault::Already));
    let delete = Effect::DeleteUser {
        user: user.id.clone(),
    };
    assert_eq!(world.go(delete).await, Ok(Answer::UserDeleted));
    world.wait(600);
    assert_eq!(world.go(read()).await, Err(Fault::Gone));
    assert_eq!(world.client.skipped(), 0);
    assert_eq!(world.hid().violations(), vec![]);
}

#[tokio::test]
async fn invitations_and_the_organization() {
    let world = World::new();
    let create = Effect::CreateUser {
        user: ada(),
        invite: None,
    };
    let Ok(Answer::UserCreated(user)) = world.go(create).await else {
        panic!("no user");
    };
    assert!(user.invitations.is_empty());
    let invite = Effect::CreateInvitation {
        user: user.id.clone(),
        delivery: Delivery::Email,
    };
    let Ok(Answer::InvitationCreated(invitation)) = world.go(invite).await else {
        panic!("no invitation");
    };
    let email = Effect::EmailInvitation {
        invitation: invitation.id.clone(),
    };
    assert_eq!(world.go(email).await, Ok(Answer::InvitationEmailed));
    let cancel = || Effect::CancelInvitation {
        invitation: invitation.id.clone(),
    };
    assert_eq!(world.go(cancel()).await, Ok(Answer::InvitationCancelled));
    assert_eq!(world.go(cancel()).await, Err(Fault::Already));
    let seen = world.client.get_invitation(&invitation.id).await.unwrap();
    assert_eq!(seen.id, invitation.id);
    let organization = world.client.organization().await.unwrap();
    assert_eq!(organization.id.as_deref(), Some("7001234"));
    let part_numbers = world.client.part_numbers().await.unwrap();
    assert!(
        part_numbers
            .iter()
            .any(|seen| seen.part_number.0 == "MID-SUB-EXAMPLE_1")
    );
    let made = world.client.create_filter(&["USER_CREATED"]).await.unwrap();
    let filters = world.client.filters().await.unwrap();
    assert!(filters.iter().any(|filter| filter.id == made.id));
    let moved = NewUser {
        email: Personal("ada2@tenant.example".into()),
        ..ada()
    };
    world
        .client
        .update_user(&user.id, &moved, &|| true)
        .await
        .unwrap();
    let by = SearchBy::Email(moved.email);
    let found = world.go(Effect::SearchUser { by }).await;
    assert_eq!(found, Ok(Answer::UserFound(Some(user.id))));
    assert_eq!(world.hid().violations(), vec![]);
}
