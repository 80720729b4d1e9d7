//! `/adapter/apply`: rows of a desired-state file, each a person and what they shall carry (contract.md section 5).
//!
//! Promises: a row that says what is so already changes nothing; ids follow from the row, so the same file after a lost
//! database makes the same ids (contract.md G6); a row that is wrong keeps no other back; nothing is deleted.

use std::future::Future;
use std::pin::Pin;

use futures_util::stream::{self, StreamExt as _};
use serde_json::json;
use uuid::Uuid;

use super::params::{Param, Params, code, email, instant, phone_number, text};
use super::problem::{Faults, Problem};
use super::systems::{Role, System};
use super::{Api, Call, Reply, automations, identities, issue, link, users};
use crate::core::identity::{Identity, Parent, Profile};
use crate::core::ids::{AcsSystemId, AcsUserId, AutomationId, IdentityId, ParentId, Personal};
use crate::core::index::Kind;
use crate::core::wish::Wish;

/// Rows that are worked on at once: what they write shares a transaction.
const AT_ONCE: usize = 64;

/// The columns of a row.
pub(super) const ROW: &[Param] = &[
    text("user_identity_key").required(),
    text("full_name"),
    email("email_address"),
    phone_number("phone_number"),
    text("access_system").required(),
    text("credential_manager"),
    code("card_format"),
    code("facility_code"),
    instant("starts_at"),
    instant("ends_at"),
];

pub(super) async fn apply(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let (mut changed, mut unchanged) = (0, 0);
    let mut refused = Vec::new();
    let rows = call.params.rows("rows").iter();
    let applied: Vec<_> = rows.map(|row| outcome(api, call, row)).collect();
    let mut applied = stream::iter(applied).buffered(AT_ONCE).enumerate();
    while let Some((number, outcome)) = applied.next().await {
        match outcome {
            Ok(true) => changed += 1,
            Ok(false) => unchanged += 1,
            Err(problem) if problem.status.is_server_error() => return Err(problem),
            Err(problem) => refused.push(json!({ "row": number, "message": problem.message })),
        }
    }
    Ok(Reply::one(json!({
        "changed": changed,
        "unchanged": unchanged,
        "refused": refused,
    })))
}

/// `true` where something was wished.
fn outcome<'a>(api: &'a Api, call: &'a Call, row: &'a Result<Params, String>) -> Outcome<'a> {
    Box::pin(async move {
        match row {
            Ok(row) => apply_row(api, call, row).await,
            Err(issues) => Err(Problem::input(issues.clone())),
        }
    })
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<bool, Problem>> + Send + 'a>>;

async fn apply_row(api: &Api, call: &Call, row: &Params) -> Result<bool, Problem> {
    let order = Order::of(call, row)?;
    let known = api.owner(Kind::IdentityKey, order.key.as_str()).await?;
    let id = match &known {
        Some(identity) => identity.id,
        None => identities::new_id(api, call, Some(&order.key)).await?,
    };
    let wishes = order.decide(id, known.as_ref())?;
    if wishes.is_empty() {
        return Ok(false);
    }
    let profile = order.profile(known.as_ref());
    for system in [order.access, order.manager] {
        if link::home_of_twin(api, &profile, system).await?.is_some() {
            // Whoever is to be linked must be there first.
            let person = |identity: Option<&Identity>| order.person(identity);
            let person = api.wish(id, call, person).await?;
            if let Some(person) = person {
                link::adopt_twin(api, call, &person, system).await?;
            }
        }
    }
    api.wish(id, call, |identity| order.decide(id, identity))
        .await?;
    Ok(true)
}

/// A row, its names resolved.
struct Order<'a> {
    call: &'a Call,
    row: &'a Params,
    key: String,
    access: AcsSystemId,
    manager: AcsSystemId,
    /// Stands for the row within its identity.
    row_key: String,
}

impl<'a> Order<'a> {
    fn of(call: &'a Call, row: &'a Params) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        issue::check_dates(row, call.now, &mut faults);
        let named = |name: &'static str| {
            let text = row.text(name)?;
            Some(
                call.systems()
                    .all()
                    .into_iter()
                    .find(|system| system.name == text),
            )
        };
        let access = named("access_system").flatten();
        let default = access.and_then(|system| match system.role {
            Role::Access { manager } => Some(manager),
            Role::Manager(_) => None,
        });
        if default.is_none() {
            faults.add(
                "access_system",
                "No access system is configured by this name",
            );
        }
        let manager = match named("credential_manager") {
            None => default.and_then(|id| call.systems().get(id)),
            Some(found) => found.filter(|system| system.is_manager()),
        };
        if manager.is_none() && default.is_some() {
            faults.add(
                "credential_manager",
                "No credential manager is configured by this name",
            );
        }
        let (Some(access), Some(manager), true) = (access, manager, faults.is_empty()) else {
            return Err(faults.into_problem());
        };
        Ok(Self {
            call,
            row,
            key: row.text("user_identity_key").unwrap_or_default().to_owned(),
            access: access.id,
            manager: manager.id,
            row_key: row_key(access, manager, row),
        })
    }

    /// The person's data: what the row leaves open stays as it is.
    fn profile(&self, known: Option<&Identity>) -> Profile {
        let known = known.map(|identity| identity.profile.clone());
        let known = known.unwrap_or_default();
        let given = |name| self.row.text(name).map(|text| Personal(text.to_owned()));
        Profile {
            key: Some(self.key.clone()),
            full_name: given("full_name").or(known.full_name),
            email_address: given("email_address").or(known.email_address),
            phone_number: given("phone_number").or(known.phone_number),
        }
    }

    fn person(&self, known: Option<&Identity>) -> Result<Vec<Wish>, Problem> {
        if let Some(identity) = known {
            identities::not_leaving(identity)?;
        }
        let profile = self.profile(known);
        let same = known.is_some_and(|identity| identity.listed && identity.profile == profile);
        Ok((!same)
            .then_some(Wish::Identity(profile))
            .into_iter()
            .collect())
    }

    /// All that is wished for the row to be true.
    fn decide(&self, id: IdentityId, known: Option<&Identity>) -> Result<Vec<Wish>, Problem> {
        let mut wishes = self.person(known)?;
        let mut person = match known {
            Some(identity) => identity.clone(),
            None => Identity::new(id, self.call.now),
        };
        person.listed = true;
        person.profile = self.profile(known);
        let holder = match person.acs_user_in(self.access) {
            Some((user, _)) => user,
            None => {
                let user = AcsUserId(derived(id, &format!("acs_user/{}", self.access)));
                wishes.push(users::wish_of(&person.profile, user, self.access));
                user
            }
        };
        let cm_user = AcsUserId(derived(id, &format!("acs_user/{}", self.manager)));
        wishes.extend(users::wish_of_cm_user(&person, cm_user, self.manager));
        wishes.extend(self.parent(&person, holder)?);
        Ok(wishes)
    }

    fn parent(&self, person: &Identity, holder: AcsUserId) -> Result<Option<Wish>, Problem> {
        let settings = self.call.systems().manager(self.manager);
        let settings = settings.ok_or_else(automations::not_a_manager)?;
        let id = ParentId(derived(person.id, &self.row_key));
        let known = person.parents.get(&id);
        if known.is_some_and(|parent| parent.deleting_since.is_some()) {
            return Err(Problem::conflict(
                "acs_credential_being_deleted",
                "this row's credential is being deleted; apply it again when that is done",
            ));
        }
        let enrollment = person.enrollments.get(&self.manager);
        let launched = enrollment.and_then(|enrollment| enrollment.automation.as_ref());
        let launched = launched.and_then(|automation| automation.part_number.as_ref());
        let (starts_at, ends_at) = (self.row.instant("starts_at"), self.row.instant("ends_at"));
        let wanted = Parent {
            acs_user: holder,
            unassigned: false,
            acs_system: self.access,
            manager: self.manager,
            part_number: match known {
                Some(parent) => parent.part_number.clone(),
                None => issue::part_number(self.row, settings, launched)?,
            },
            card_format: self.row.text("card_format").map(str::to_owned),
            facility_code: self.row.text("facility_code").map(str::to_owned),
            allowed_acs_entrance_ids: Vec::new(),
            starts_at,
            ends_at,
            created_at: self.call.now,
            deleting_since: None,
            children: std::collections::BTreeMap::new(),
        };
        issue::refuse_conflict(person, Some(id), &wanted, self.call.now)?;
        Ok(match known {
            Some(parent) if (parent.starts_at, parent.ends_at) == (starts_at, ends_at) => None,
            Some(_) => Some(Wish::SetDates {
                id,
                starts_at,
                ends_at,
            }),
            None => Some(Wish::Parent {
                id,
                acs_user: holder,
                manager: self.manager,
                automation: AutomationId(derived(
                    person.id,
                    &format!("automation/{}", self.manager),
                )),
                part_number: wanted.part_number,
                card_format: wanted.card_format,
                facility_code: wanted.facility_code,
                allowed_acs_entrance_ids: Vec::new(),
                starts_at,
                ends_at,
            }),
        })
    }
}

fn derived(identity: IdentityId, name: &str) -> Uuid {
    Uuid::new_v5(&identity.0, name.as_bytes())
}

/// Dates may change; another card is another row.
fn row_key(access: &System, manager: &System, row: &Params) -> String {
    let text = |name| row.text(name).unwrap_or_default();
    let (format, code) = (text("card_format"), text("facility_code"));
    format!("{}/{}/{format}/{code}", access.name, manager.name)
}
