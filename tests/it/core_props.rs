//! Properties of `step`: total, idempotent, careful with issues; and that everything settles,
//! whatever went wrong before.

use std::time::Duration;

use origo_adapter::core::effect::{Class, Lane};
use origo_adapter::core::identity::InFlight;
use origo_adapter::core::observation::{
    Answer, ContainerStatus, CredentialStatus, Fault, Happening, InvitationStatus, Observation,
    Rejection,
};
use origo_adapter::core::wish::Wish;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

use crate::support::scene::{
    START, Scene, acs_user, ada_as, automation_id, check_round_trip, container, credential,
    hid_user, invitation, invitation_seen, key_seen, manager, parent_id, phone_id, phone_seen,
    secs, wish_acs_user, wish_invite, wish_launch, wish_parent, wish_suspend,
};
use crate::support::world::{Delivery, Fate, World};

/// What a person, an app or chance does to the world.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Wish(Wish),
    Redeem,
    LosePhone,
    InviteByHand,
    /// The feed repeats or invents something.
    Tell(Happening),
    Pass(u64),
}

fn wishes() -> impl Strategy<Value = Wish> {
    let identity = origo_adapter::core::wish::Wish::Identity(crate::support::scene::ada());
    prop_oneof![
        1 => Just(identity),
        1 => select(vec![("Ada Lovelace", "ada@example.com"), ("Ada Okafor", "ada@example.org"), ("", "")])
            .prop_map(|(name, email)| ada_as(name, email)),
        2 => any::<bool>().prop_map(wish_suspend),
        2 => (0..4_usize).prop_map(|n| Wish::DeactivatePhone(phone_id(["1003", "1004", "1005", "901"][n]))),
        2 => (1..4_u8, [prop::option::of(0..4000_u64), prop::option::of(0..4000_u64)]).prop_map(|(n, dates)| {
            let [starts_at, ends_at] = dates.map(|after| after.map(|after| START.plus(secs(after))));
            Wish::SetDates { id: parent_id(n), starts_at, ends_at }
        }),
        1 => (1..4_u8, any::<bool>()).prop_map(|(n, to)| Wish::Assign(parent_id(n), to.then(acs_user))),
        1 => Just(Wish::DeleteAcsUser(acs_user())),
        1 => Just(Wish::ReleaseAcsUser(acs_user())),
        1 => (1..4_u8).prop_map(|n| Wish::ReleaseParent(parent_id(n))),
        1 => Just(wish_acs_user()),
        3 => (1..4_u8).prop_map(wish_launch),
        6 => (1..4_u8, 1..3_u8).prop_map(|(n, part)| wish_parent(n, part)),
        4 => (1..4_u8).prop_map(|n| Wish::DeleteParent(parent_id(n))),
        2 => (1..4_u8, 0..2_usize).prop_map(|(n, phone)| {
            let phone = phone_id(["1003", "1005"][phone]);
            Wish::DeleteChild(origo_adapter::core::ids::ChildId::of(parent_id(n), phone))
        }),
        1 => (1..4_u8).prop_map(|n| Wish::DeleteAutomation(automation_id(n))),
        1 => (101..104_u8).prop_map(|n| Wish::DeleteAutomation(automation_id(n))),
        3 => any::<bool>().prop_map(wish_invite),
        1 => Just(Wish::DeleteIdentity),
    ]
}

fn hints() -> impl Strategy<Value = Happening> {
    let id = || (1001..1012_u32).prop_map(|n| n.to_string());
    prop_oneof![
        id().prop_map(|id| Happening::PhoneOther {
            container: container(&id)
        }),
        id().prop_map(|id| Happening::KeyOther {
            credential: credential(&id),
            container: None
        }),
        Just(Happening::UserOther),
    ]
}

pub(crate) fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => wishes().prop_map(Deed::Wish),
        5 => Just(Deed::Redeem),
        1 => Just(Deed::LosePhone),
        1 => Just(Deed::InviteByHand),
        2 => hints().prop_map(Deed::Tell),
        4 => (0..30_u64).prop_map(Deed::Pass),
        4 => (30..600_u64).prop_map(Deed::Pass),
        1 => (600..30_000_u64).prop_map(Deed::Pass),
    ];
    vec(deed, 0..24)
}

pub(crate) fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        8 => Just(Fate::Fine),
        1 => Just(Fate::Refused),
        1 => Just(Fate::Fails(Fault::Busy)),
        2 => Just(Fate::LostRequest),
        2 => Just(Fate::LostReply),
        2 => (0..=120_u8).prop_map(Fate::LateEffect),
        1 => Just(Fate::LateAnswer),
        2 => Just(Fate::Stale),
    ];
    vec(fate, 0..40)
}

pub(crate) fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
    let delivery = prop_oneof![
        6 => Just(Delivery::Told),
        1 => Just(Delivery::Twice),
        1 => Just(Delivery::Lost),
        1 => (1..20_u8).prop_map(Delivery::Late),
    ];
    vec(delivery, 0..30)
}

pub(crate) fn play(world: &mut World, deeds: &[Deed]) {
    for deed in deeds {
        match deed {
            Deed::Wish(wish) => world.scene.wish(wish.clone()),
            Deed::Redeem => drop(world.redeem()),
            Deed::LosePhone => {
                let phone = world.hid.containers.keys().next().cloned();
                if let Some(phone) = phone {
                    world.hid.lose_phone(&phone, world.scene.now);
                }
            }
            Deed::InviteByHand => drop(world.hid.invite_by_hand(world.scene.now)),
            Deed::Tell(what) => world.scene.event(what.clone()),
            Deed::Pass(seconds) => world.run(secs(*seconds)),
        }
    }
}

/// Four quiet days: the sweep, the invitations' reads and the reads after repeats included.
fn settle(world: &mut World) {
    world.heal();
    world.run(Duration::from_hours(96));
    let phones = world.scene.identity.as_ref().map_or(0, |identity| {
        let of = identity.enrollments.values();
        of.map(|e| e.phones.len()).sum()
    });
    world.expect_settled();
    let most = 100 + 60 * phones;
    assert!(
        world.calls.len() <= most,
        "{} calls: {:#?}",
        world.calls.len(),
        world.calls
    );
}

/// `PROPTEST_CASES` says how many.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/core_props.seeds",
        ))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_perfect_hid_settles(deeds in deeds(), refuses: bool) {
        let mut world = World::new(refuses);
        play(&mut world, &deeds);
        settle(&mut world);
    }

    #[test]
    fn a_faulty_hid_settles_without_a_second_key(
        deeds in deeds(),
        fates in fates(),
        deliveries in deliveries(),
        refuses: bool,
    ) {
        let mut world = World::new(refuses);
        (world.fates, world.deliveries) = (fates, deliveries);
        play(&mut world, &deeds);
        settle(&mut world);
    }

    #[test]
    fn any_observation_in_any_state(steps in vec(anything(), 1..60)) {
        babble(&mut Scene::empty(), &steps);
    }
}

/// Anything that could reach us, with no regard to what makes sense.
#[derive(Clone, Debug)]
pub(crate) enum Anything {
    Wish(Wish),
    Happening(Happening, u16),
    /// Starts the nth lane that owes something.
    Start(usize),
    /// Answers the last call but n.
    Answer(usize, Answer),
    Fail(usize, Fault),
    Pass(u64),
    Suspend(bool),
}

pub(crate) fn babble(scene: &mut Scene, steps: &[Anything]) {
    let mut calls: Vec<InFlight> = vec![];
    let call = |calls: &[InFlight], back: usize| calls.iter().rev().nth(back).cloned();
    for anything in steps {
        match anything {
            Anything::Wish(wish) => scene.wish(wish.clone()),
            Anything::Happening(what, ago) => {
                let time = origo_adapter::core::Timestamp(scene.now.0 - i64::from(*ago) * 1000);
                scene.event_at(time, what.clone());
            }
            Anything::Start(n) => {
                let due = scene
                    .owed
                    .iter()
                    .filter(|(_, owed)| owed.class != Class::Timer);
                let due: Vec<Lane> = due.map(|(lane, _)| lane.clone()).collect();
                if !due.is_empty() {
                    let lane = &due[n % due.len()];
                    scene.now = scene.now.max(scene.owed[lane].not_before);
                    calls.extend(scene.see(&Observation::Started(lane.clone())));
                }
            }
            Anything::Answer(back, answer) => {
                if let Some(call) = call(&calls, *back) {
                    scene.answer(call, answer.clone());
                }
            }
            Anything::Fail(back, fault) => {
                if let Some(call) = call(&calls, *back) {
                    scene.fail(call, *fault);
                }
            }
            Anything::Pass(seconds) => {
                scene.pass(*seconds);
                scene.wake();
            }
            Anything::Suspend(suspended) => {
                if scene.identity.is_some() {
                    scene.change(|identity| {
                        for user in identity.acs_users.values_mut() {
                            user.suspended = *suspended;
                        }
                    });
                }
            }
        }
        match &scene.identity {
            Some(identity) => check_round_trip(identity),
            None => {
                *scene = Scene {
                    changes: scene.changes.clone(),
                    ..Scene::empty()
                }
            }
        }
    }
}

fn credential_status() -> impl Strategy<Value = CredentialStatus> {
    select(vec![
        CredentialStatus::IssueInitiated,
        CredentialStatus::Issuing,
        CredentialStatus::Issued,
        CredentialStatus::IssueFailed,
        CredentialStatus::RevokeInitiated,
        CredentialStatus::Revoking,
        CredentialStatus::Revoked,
        CredentialStatus::Unknown("ODD".into()),
    ])
}

fn invitation_status() -> impl Strategy<Value = InvitationStatus> {
    select(vec![
        InvitationStatus::Pending,
        InvitationStatus::Pending,
        InvitationStatus::Acknowledged,
        InvitationStatus::Expired,
        InvitationStatus::CancelInitiated,
        InvitationStatus::Cancelled,
        InvitationStatus::NotSupported,
        InvitationStatus::NotEligible,
        InvitationStatus::Unknown("ODD".into()),
    ])
}

fn container_status() -> impl Strategy<Value = ContainerStatus> {
    select(vec![
        ContainerStatus::Active,
        ContainerStatus::Active,
        ContainerStatus::Initialized,
        ContainerStatus::Deleting,
        ContainerStatus::Unknown("ODD".into()),
    ])
}

fn faults() -> impl Strategy<Value = Fault> {
    select(vec![
        Fault::Refused,
        Fault::Unanswered,
        Fault::Gone,
        Fault::Conflict,
        Fault::Already,
        Fault::WrongState,
        Fault::OutOfStock,
        Fault::Busy,
        Fault::Rejected(Rejection::UserData),
        Fault::Rejected(Rejection::PhoneFull),
        Fault::Rejected(Rejection::Other),
    ])
}

fn keys_seen() -> impl Strategy<Value = Vec<origo_adapter::core::observation::CredentialSeen>> {
    let key = (1..5_u8, prop::option::of(1..3_u8), credential_status());
    vec(key, 0..3).prop_map(|keys| {
        let seen = |(id, part, status): (u8, Option<u8>, _)| {
            let mut seen = key_seen(&format!("10{id}"), part.unwrap_or(1), status);
            seen.part_number = part.map(crate::support::scene::part);
            seen
        };
        keys.into_iter().map(seen).collect()
    })
}

fn phones_seen() -> impl Strategy<Value = origo_adapter::core::observation::ContainerSeen> {
    (1..4_u8, container_status(), keys_seen()).prop_map(|(id, status, keys)| {
        let mut seen = phone_seen(&format!("90{id}"), keys);
        seen.status = status;
        seen
    })
}

fn users_seen() -> impl Strategy<Value = origo_adapter::core::observation::UserSeen> {
    let invitations = vec((1..4_u8, invitation_status()), 0..3);
    let parts = (
        1..3_u8,
        any::<bool>(),
        0..6_u8,
        invitations,
        vec(phones_seen(), 0..3),
    );
    parts.prop_map(|(id, ours, deleting, invitations, containers)| {
        let scene = Scene::empty();
        let invitations = invitations
            .into_iter()
            .map(|(id, status)| invitation_seen(&format!("80{id}"), status))
            .collect();
        let mut seen = scene.user_seen(invitations, containers);
        seen.id = hid_user(&format!("70{id}"));
        seen.external_id = seen.external_id.filter(|_| ours);
        seen.deleting = deleting == 0;
        seen
    })
}

fn answers() -> impl Strategy<Value = Answer> {
    let found = prop::option::of(1..3_u8)
        .prop_map(|id| Answer::UserFound(id.map(|id| hid_user(&format!("70{id}")))));
    prop_oneof![
        3 => users_seen().prop_map(Answer::UserCreated),
        2 => found,
        4 => users_seen().prop_map(Answer::User),
        1 => Just(Answer::UserDeleted),
        1 => Just(Answer::UserUpdated),
        1 => Just(Answer::PhoneDeleted),
        2 => (1..4_u8, invitation_status())
            .prop_map(|(id, s)| Answer::InvitationCreated(invitation_seen(&format!("80{id}"), s))),
        1 => Just(Answer::InvitationEmailed),
        1 => Just(Answer::InvitationCancelled),
        4 => phones_seen().prop_map(Answer::Phone),
        4 => (1..5_u8, credential_status())
            .prop_map(|(id, s)| Answer::Issued(key_seen(&format!("10{id}"), 1, s))),
        2 => Just(Answer::Revoked),
    ]
}

fn happenings() -> impl Strategy<Value = Happening> {
    let phone = || (1..4_u8).prop_map(|n| container(&format!("90{n}")));
    let key = || (1..5_u8).prop_map(|n| credential(&format!("10{n}")));
    let by = || prop::option::of((1..4_u8).prop_map(|n| invitation(&format!("80{n}"))));
    prop_oneof![
        4 => (phone(), by()).prop_map(|(container, invitation)| Happening::PhoneActive {
            container,
            invitation,
            device: origo_adapter::core::observation::Device::default(),
        }),
        1 => phone().prop_map(|container| Happening::PhoneOther { container }),
        2 => ((1..4_u8), invitation_status()).prop_map(|(n, status)| Happening::Invitation {
            invitation: invitation(&format!("80{n}")),
            status,
        }),
        2 => (key(), prop::option::of(phone())).prop_map(|(credential, container)| {
            Happening::KeyIssued { credential, container }
        }),
        1 => (key(), prop::option::of(phone())).prop_map(|(credential, container)| {
            Happening::KeyBegun { credential, container }
        }),
        1 => (key(), prop::option::of(phone())).prop_map(|(credential, container)| {
            Happening::KeyOther { credential, container }
        }),
        1 => Just(Happening::UserOther),
    ]
}

pub(crate) fn anything() -> impl Strategy<Value = Anything> {
    prop_oneof![
        6 => wishes().prop_map(Anything::Wish),
        6 => (happenings(), any::<u16>()).prop_map(|(what, ago)| Anything::Happening(what, ago)),
        10 => (0..8_usize).prop_map(Anything::Start),
        8 => (0..2_usize, answers()).prop_map(|(back, answer)| Anything::Answer(back, answer)),
        4 => (0..2_usize, faults()).prop_map(|(back, fault)| Anything::Fail(back, fault)),
        3 => (0..200_u64).prop_map(Anything::Pass),
        1 => (200..100_000_u64).prop_map(Anything::Pass),
        1 => any::<bool>().prop_map(Anything::Suspend),
    ]
}

#[test]
fn the_lane_of_a_key_names_its_phone() {
    let lane = crate::support::scene::key_lane("901", 1);
    assert_eq!(lane.to_string(), format!("key/{}/MID-1", phone_id("901")));
    assert_eq!(
        Lane::Read(manager()).to_string(),
        format!("read/{}", manager())
    );
}
