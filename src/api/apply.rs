//! `/adapter/apply` and `/adapter/plan`: rows of a desired-state file, each a person and what they shall carry
//! (contract.md section 5).
//!
//! Promises: a row that says what is so already changes nothing; ids follow from the row, so the same file after a lost
//! database makes the same ids (contract.md G6); a row that is wrong keeps no other back; nothing is withdrawn unless
//! it is asked for, once the whole file is here ([`prune`]).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use axum::http::Method;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::params::{Param, Params, code, email, instant, phone_number, text};
use super::problem::{Faults, Problem};
use super::sight::Sight;
use super::systems::{Role, System};
use super::{Api, Call, Reply, automations, identities, issue, link, prune, users};
use crate::config::Scope;
use crate::core::hold::HoldReason;
use crate::core::identity::{Enrollment, Identity, Parent, Profile};
use crate::core::ids::{
    AcsSystemId, AcsUserId, AutomationId, IdentityId, ParentId, PartNumber, Personal, Timestamp,
};
use crate::core::index::Kind;
use crate::core::policy::Policy;
use crate::core::wish::Wish;
use crate::core::{Effect, Observation, plan, step};
use crate::store::files::Batch;

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

/// What is to become of the rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They are to be true.
    Apply,
    /// It is to be told what that would cost.
    Plan,
}

/// What became of a row, or would.
struct Done {
    /// What it stands for.
    parent: ParentId,
    changed: bool,
    /// The guard keeps it back.
    held: bool,
    costs: Costs,
}

/// What rows cost at HID.
#[derive(Default)]
struct Costs {
    /// For users and invitations, by name.
    calls: BTreeMap<&'static str, u64>,
    /// By part number: for phones that are there, and with each person's first phone that is to come.
    keys: BTreeMap<PartNumber, (u64, u64)>,
}

impl Costs {
    fn add(&mut self, other: Self) {
        for (name, count) in other.calls {
            *self.calls.entry(name).or_default() += count;
        }
        for (part, (least, most)) in other.keys {
            let sum = self.keys.entry(part).or_default();
            sum.0 += least;
            sum.1 += most;
        }
    }
}

impl Api {
    /// As `/adapter/apply`, for files that the daemon reads by itself; `prune`: if it has come in so many
    /// batches, this one among them. The error is in words that may be logged.
    pub async fn apply_rows(
        &self,
        caller: &str,
        rows: impl Iterator<Item = &Map<String, Value>>,
        file: Uuid,
        prune: Option<i64>,
    ) -> Result<Value, String> {
        let api = Self {
            sight: Sight::Everybody,
            ..self.clone()
        };
        let call = Call {
            caller: caller.to_owned(),
            scope: Some(Scope::Write),
            session: None,
            verb: Method::POST,
            params: Params::of_rows("rows", ROW, rows, (file, prune)),
            settings: api.settings(),
            now: api.engine.now(),
            path: String::new(),
        };
        let reply = apply(&api, &call).await;
        reply
            .map(|reply| reply.value)
            .map_err(|problem| problem.message.into_owned())
    }
}

pub(super) async fn apply(api: &Api, call: &Call) -> Result<Reply, Problem> {
    take(api, call, Mode::Apply).await
}

pub(super) async fn dry_run(api: &Api, call: &Call) -> Result<Reply, Problem> {
    take(api, call, Mode::Plan).await
}

async fn take(api: &Api, call: &Call, mode: Mode) -> Result<Reply, Problem> {
    let (mut changed, mut unchanged, mut held) = (0, 0, 0);
    let (mut refused, mut kept, mut costs) = (Vec::new(), Vec::new(), Costs::default());
    let rows = call.params.rows("rows").iter();
    let applied: Vec<_> = rows.map(|row| outcome(api, call, row, mode)).collect();
    let mut applied = stream::iter(applied).buffered(AT_ONCE).enumerate();
    while let Some((number, outcome)) = applied.next().await {
        match outcome {
            Ok(done) => {
                changed += u64::from(done.changed);
                unchanged += u64::from(!done.changed);
                held += u64::from(done.held);
                kept.push(done.parent);
                costs.add(done.costs);
            }
            Err(problem) if problem.status.is_server_error() => return Err(problem),
            Err(problem) => refused.push(json!({ "row": number, "message": problem.message })),
        }
    }
    let mut told = json!({
        "changed": changed,
        "unchanged": unchanged,
        "held": held,
        "refused": refused,
        "pruned": null,
    });
    if mode == Mode::Plan {
        // A subscription counts people with a key: who is new there may get one.
        let new = costs.calls.get("create_user").copied().unwrap_or_default();
        told["calls"] = json!(costs.calls);
        told["licenses"] = json!({ "at_least": 0, "at_most": new });
        let keys = costs.keys.into_iter();
        let keys = keys.map(|(part, (least, most))| {
            json!({ "part_number": part, "at_least": least, "at_most": most })
        });
        told["keys"] = keys.collect();
    }
    if let Some(file) = call.params.id("file") {
        let batch = Batch {
            file,
            kept,
            refused: u32::try_from(refused.len()).unwrap_or(u32::MAX),
            now: api.engine.now(),
        };
        api.engine.store().note_batch(batch).await?;
        if call.params.flag("prune") == Some(true) {
            told["pruned"] = prune::prune(api, call, file, mode == Mode::Plan).await?;
        }
    }
    Ok(Reply::one(told))
}

fn outcome<'a>(
    api: &'a Api,
    call: &'a Call,
    row: &'a Result<Params, String>,
    mode: Mode,
) -> Outcome<'a> {
    Box::pin(async move {
        match row {
            Ok(row) => apply_row(api, call, row, mode).await,
            Err(issues) => Err(Problem::input(issues.clone())),
        }
    })
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<Done, Problem>> + Send + 'a>>;

async fn apply_row(api: &Api, call: &Call, row: &Params, mode: Mode) -> Result<Done, Problem> {
    let order = Order::of(call, row)?;
    let known = api.owner(Kind::IdentityKey, order.key.as_str()).await?;
    let id = match &known {
        Some(identity) => identity.id,
        None => identities::new_id(api, call, Some(&order.key)).await?,
    };
    let wishes = order.decide(id, known.as_ref())?;
    let mut done = Done {
        parent: ParentId(derived(id, &order.row_key)),
        changed: !wishes.is_empty(),
        held: false,
        costs: Costs::default(),
    };
    if !done.changed {
        return Ok(done);
    }
    let (policy, now) = (api.engine.policy(), call.now);
    // Else nobody wants to know.
    if mode == Mode::Plan || call.settings.guard.issues.is_some() {
        done.costs = costs(&policy, (id, known.as_ref()), &wishes, now);
    }
    let issues: u64 = done.costs.keys.values().map(|(least, _)| least).sum();
    if issues > 0 {
        let issues = u32::try_from(issues).unwrap_or(u32::MAX);
        let guard = call.settings.guard;
        let dry = mode == Mode::Plan;
        done.held = !prune::room(api, guard, "issues", guard.issues, issues, dry).await?;
    }
    if mode == Mode::Plan {
        return Ok(done);
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
    let held = done.held;
    let decide = |identity: Option<&Identity>| {
        let mut wishes = order.decide(id, identity)?;
        if held {
            wishes.insert(wishes.len().min(1), Wish::Hold(HoldReason::Guard));
        }
        Ok(wishes)
    };
    api.wish(id, call, decide).await?;
    Ok(done)
}

/// What follows from the wishes at once, and with each person's first phone.
fn costs(
    policy: &Policy,
    (id, known): (IdentityId, Option<&Identity>),
    wishes: &[Wish],
    now: Timestamp,
) -> Costs {
    let mut person = known.cloned().unwrap_or_else(|| Identity::new(id, now));
    let before = plan::owed(policy, &person, now);
    for wish in wishes {
        let seen = Observation::Wish(wish.clone());
        match step(policy, &person, &seen, now).identity {
            Some(next) => person = next,
            None => break,
        }
    }
    let mut costs = Costs::default();
    let after = plan::owed(policy, &person, now).into_iter();
    let fresh = after.filter(|(lane, owed)| {
        before
            .get(lane)
            .is_none_or(|known| known.effect != owed.effect)
    });
    for (_, owed) in fresh {
        match owed.effect {
            Effect::Issue { part_number, .. } => {
                let keys = costs.keys.entry(part_number).or_default();
                (keys.0, keys.1) = (keys.0 + 1, keys.1 + 1);
            }
            Effect::CreateUser { .. }
            | Effect::UpdateUser { .. }
            | Effect::CreateInvitation { .. }
            | Effect::EmailInvitation { .. } => {
                *costs.calls.entry(owed.effect.name()).or_default() += 1;
            }
            Effect::SearchUser { .. }
            | Effect::ReadUser { .. }
            | Effect::DeleteUser { .. }
            | Effect::CancelInvitation { .. }
            | Effect::ReadPhone { .. }
            | Effect::DeletePhone { .. }
            | Effect::Revoke { .. }
            | Effect::Wake => {}
        }
    }
    for wish in wishes {
        let Wish::Parent {
            manager,
            part_number,
            ..
        } = wish
        else {
            continue;
        };
        let enrollment = person.enrollments.get(manager);
        if !enrollment.is_some_and(Enrollment::has_phone) {
            costs.keys.entry(part_number.clone()).or_default().1 += 1;
        }
    }
    costs
}

/// A parent that some row stands for, or stood.
pub(super) fn made_by_a_row(
    call: &Call,
    identity: IdentityId,
    id: ParentId,
    parent: &Parent,
) -> bool {
    let systems = call.systems();
    let (Some(access), Some(manager)) =
        (systems.get(parent.acs_system), systems.get(parent.manager))
    else {
        return false;
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (format, code) = (text(&parent.card_format), text(&parent.facility_code));
    id.0 == derived(identity, &row_key_of(access, manager, &format, &code))
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
            prune_held_since: None,
            children: std::collections::BTreeMap::new(),
        };
        issue::refuse_conflict(person, Some(id), &wanted, self.call.now)?;
        Ok(match known {
            Some(parent)
                if (parent.starts_at, parent.ends_at) == (starts_at, ends_at)
                    && parent.prune_held_since.is_none() =>
            {
                None
            }
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
    row_key_of(access, manager, format, code)
}

fn row_key_of(access: &System, manager: &System, format: &str, code: &str) -> String {
    format!("{}/{}/{format}/{code}", access.name, manager.name)
}
