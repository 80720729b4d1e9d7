//! `/phones/simulate/create_sandbox_phone`: an app, played for a person of HID's simulator (seam-api.md 3.7).
//!
//! The one route that asks somebody else and waits: until there is a code to redeem, for the simulator, and until
//! the phone is in durable state. Promises: every wait has a bound; the same `custom_sdk_installation_id` of the
//! same person is the same phone, until that is deactivated.

use std::collections::BTreeSet;
use std::time::Duration;

use url::Url;

use super::params::{Param, one_of, text};
use super::problem::Problem;
use super::{Api, Call, Reply, identities, phones, show};
use crate::core::identity::{Enrollment, Identity, Invitation};
use crate::core::ids::{
    AcsSystemId, ContainerId, IdentityId, InvitationCode, InvitationId, PhoneId,
};
use crate::core::observation::{Device, Event, Happening, Observation};
use crate::core::state;
use crate::core::wish::Wish;
use crate::sandbox;

/// How long a code may take, and then the phone; together less than SDKs wait (seam-api.md 1.7).
const PATIENCE: Duration = Duration::from_secs(10);

/// What a phone says of itself. The defaults are Seam's; an iPhone's are ours.
pub(super) const METADATA: &[Param] = &[
    one_of("operating_system", &["android", "ios"]),
    text("os_version"),
    text("device_manufacturer"),
    text("device_model"),
];

/// A phone that is to register.
struct App<'a> {
    api: &'a Api,
    call: &'a Call,
    person: IdentityId,
    manager: AcsSystemId,
    control_url: Url,
    device: Device,
    installation: Option<&'a str>,
}

pub(super) async fn create(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let person = IdentityId(call.params.need_id("user_identity_id")?);
    let known = api.load(person).await?;
    let (manager, control_url) = sandbox(call, identities::present(known.as_ref())?)?;
    let app = App {
        api,
        call,
        person,
        manager,
        control_url,
        device: device(call),
        installation: call.params.text("custom_sdk_installation_id"),
    };
    let registered = tokio::time::timeout(PATIENCE, app.register()).await;
    let container = registered.map_err(|_| {
        Problem::unavailable("there is no invitation to redeem yet; is the simulator there?")
    })??;
    let shown = tokio::time::timeout(PATIENCE, app.shown(&container)).await;
    shown.map_err(|_| {
        Problem::unavailable("the phone has registered, but HID's simulator does not show it yet")
    })?
}

/// The credential manager that a person is enrolled with and that is simulated; of several the first.
fn sandbox(call: &Call, person: &Identity) -> Result<(AcsSystemId, Url), Problem> {
    let url_of = |id| {
        call.systems()
            .manager(id)
            .and_then(|m| m.control_url.clone())
    };
    let enrolled = person.enrollments.iter();
    let enrolled: Vec<_> = enrolled
        .filter(|(_, enrollment)| enrollment.is_running())
        .map(|(manager, _)| *manager)
        .collect();
    let mut simulated = enrolled.iter().filter_map(|id| Some((*id, url_of(*id)?)));
    if let Some(found) = simulated.next() {
        return Ok(found);
    }
    let mut systems = call.systems().all().into_iter();
    if enrolled.is_empty() && systems.any(|system| url_of(system.id).is_some()) {
        return Err(Problem::bad(
            "user_identity_not_enrolled",
            "a phone registers by an enrollment automation; launch one with a simulated credential manager",
        ));
    }
    Err(Problem::bad(
        "workspace_not_sandbox",
        "sandbox phones need a credential manager whose environment is \"simulator\", with a control_url",
    ))
}

fn device(call: &Call) -> Device {
    let given = |name| call.params.field("phone_metadata", name);
    let (system, version, manufacturer, model) = match given("operating_system") {
        Some("ios") => ("iOS", "17.0", "Apple", "iPhone 15"),
        _ => ("Android", "10", "Samsung", "Galaxy S10"),
    };
    let version = given("os_version").unwrap_or(version);
    let or = |name, default: &str| Some(given(name).unwrap_or(default).to_owned());
    Device {
        manufacturer: or("device_manufacturer", manufacturer),
        model: or("device_model", model),
        os_version: Some(format!("{system} {version}")),
        application_version: None,
    }
}

impl App<'_> {
    /// Redeems the open code; where there is none, asks for one and waits.
    async fn register(&self) -> Result<ContainerId, Problem> {
        let mut commits = self.api.engine.commits();
        let mut refused = BTreeSet::new();
        loop {
            commits.mark_unchanged();
            let identity = self.enrolled().await?;
            let enrollment = &identity.enrollments[&self.manager];
            let Some((id, code)) = self.candidate(enrollment, &refused) else {
                self.invite().await?;
                // Ends with the daemon's own end.
                commits.changed().await.unwrap_or_default();
                continue;
            };
            let answer =
                sandbox::redeem(&self.control_url, code, &self.device, self.installation).await;
            match answer {
                Ok(container) => return Ok(container),
                Err(sandbox::Error::Refused) => {
                    refused.insert(id.clone());
                    // What we believe of it is old.
                    self.hint(Happening::UserOther).await?;
                }
                Err(sandbox::Error::Unavailable(_)) => {
                    return Err(Problem::unavailable(
                        "the simulator's control API does not answer at control_url",
                    ));
                }
            }
        }
    }

    /// The identity, while its automation can come to something.
    async fn enrolled(&self) -> Result<Identity, Problem> {
        let identity = self.api.load(self.person).await?;
        let identity = identity.ok_or_else(identities::missing)?;
        identities::present(Some(&identity))?;
        let policy = self.api.engine.policy();
        let state = state::automation(&policy, &identity, self.manager, self.api.engine.now());
        let running = identity.enrollments.get(&self.manager);
        if !running.is_some_and(Enrollment::is_running) {
            return Err(Problem::conflict(
                "enrollment_automation_deleted",
                "the enrollment automation was deleted meanwhile",
            ));
        }
        match state {
            Some(state) if state.name == "held" => Err(Problem::bad(
                "enrollment_automation_held",
                format!(
                    "the enrollment automation is held: {}",
                    state.reason.unwrap_or("no reason is known")
                ),
            )),
            Some(_) | None => Ok(identity),
        }
    }

    /// The open code; or, once, a spent one: by it the simulator finds the phone of this installation.
    fn candidate<'e>(
        &self,
        enrollment: &'e Enrollment,
        refused: &BTreeSet<InvitationId>,
    ) -> Option<(&'e InvitationId, &'e InvitationCode)> {
        let fresh = |(id, _): &(&InvitationId, &Invitation)| !refused.contains(*id);
        let open = enrollment.open_invitation().filter(fresh);
        let spent = enrollment
            .invitations
            .iter()
            .filter(|_| self.installation.is_some() && refused.is_empty())
            .filter(|(_, invitation)| invitation.ours && invitation.code.is_some())
            .max_by_key(|(_, invitation)| invitation.created_at);
        let (id, invitation) = open.or(spent)?;
        Some((id, invitation.code.as_ref()?))
    }

    /// Asks for an invitation, unless one is there or under way.
    async fn invite(&self) -> Result<(), Problem> {
        let decide = |identity: Option<&Identity>| {
            let enrollment = identity.and_then(|known| known.enrollments.get(&self.manager));
            let under_way = enrollment.is_some_and(|enrollment| {
                enrollment.invite.wanted || enrollment.open_invitation().is_some()
            });
            let wish = Wish::Invite {
                manager: self.manager,
                installation: self.installation.map(str::to_owned),
                resend: false,
            };
            Ok((!under_way).then_some(wish).into_iter().collect())
        };
        self.api.wish(self.person, self.call, decide).await?;
        Ok(())
    }

    /// Waits until the phone is there to be listed.
    async fn shown(&self, container: &ContainerId) -> Result<Reply, Problem> {
        let id = PhoneId::of(self.manager, container);
        let mut commits = self.api.engine.commits();
        let mut hinted = false;
        loop {
            commits.mark_unchanged();
            let identity = self.api.load(self.person).await?;
            let identity = identity.ok_or_else(identities::missing)?;
            if let Some((_, phone)) = identity.phone(id).filter(|(_, p)| phones::is_shown(p)) {
                return Ok(Reply::one(show::phone(&self.call.settings, id, phone)));
            }
            if !hinted {
                hinted = true;
                let container = container.clone();
                self.hint(Happening::PhoneOther { container }).await?;
                continue;
            }
            commits.changed().await.unwrap_or_default();
        }
    }

    /// Lets the person be read at HID now, rather than when the feed tells.
    async fn hint(&self, what: Happening) -> Result<(), Problem> {
        let engine = &self.api.engine;
        let seen = Observation::Event(Event {
            manager: self.manager,
            time: engine.now(),
            what,
        });
        engine
            .observe(self.person, &seen, &self.call.caller)
            .await?;
        Ok(())
    }
}
