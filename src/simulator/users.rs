//! Users (`origo-api.md` 3).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Outcome, Refusal},
    clockwork::Work,
    hid::Hid,
    invitations::Action,
    ledger::{Cause, Effect},
    model::{ContainerStatus, CredentialStatus, InvitationStatus, User, UserStatus},
    routes::Call,
    scim::{Query, Rules},
    shapes,
};

/// `externalId` and `status` can be filtered by but not asked for (3.5).
const RULES: Rules = Rules {
    filterable: &[
        "externalid",
        "emails",
        "emails.value",
        "name.familyname",
        "name.givenname",
        "status",
        "meta.lastmodified",
    ],
    returnable: &[
        "name.familyname",
        "name.givenname",
        "emails",
        "emails.value",
    ],
    urn: shapes::USER,
};

/// What a caller says of a person.
struct Person {
    external_id: String,
    family_name: String,
    given_name: String,
    emails: Vec<String>,
}

impl Person {
    /// The rules of 3.3.
    fn read(body: &Value, strict: bool) -> Result<Self, Refusal> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let person = Self {
            external_id: text(&body["externalId"]),
            family_name: text(&body["name"]["familyName"]),
            given_name: text(&body["name"]["givenName"]),
            emails: body["emails"]
                .as_array()
                .map(|list| {
                    list.iter()
                        .map(|email| text(&email["value"]))
                        .take(1)
                        .collect()
                })
                .unwrap_or_default(),
        };
        if person.external_id.is_empty() {
            return Err(Refusal::value("externalId is required."));
        }
        for name in [&person.family_name, &person.given_name] {
            if strict && !(2..=100).contains(&name.chars().count()) {
                return Err(Refusal::syntax(
                    "familyName and givenName take 2 to 100 characters.",
                ));
            }
        }
        let valid = person
            .emails
            .first()
            .and_then(|email| email.split_once('@'));
        if valid.is_none_or(|(name, host)| name.is_empty() || host.is_empty()) {
            return Err(Refusal::syntax("A valid email is required."));
        }
        Ok(person)
    }
}

/// The entries of `schemas`.
pub(super) fn schemas(body: &Value) -> Vec<&str> {
    body["schemas"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

impl Hid {
    pub(super) fn create_user(&mut self, call: &Call) -> Outcome {
        let body = call.json()?;
        let named = schemas(&body);
        if self.settings.strict_bodies {
            let known = named
                .iter()
                .all(|urn| [shapes::USER, shapes::ACTION].contains(urn));
            let distinct: BTreeSet<&&str> = named.iter().collect();
            if !(1..=2).contains(&named.len()) || !known || distinct.len() != named.len() {
                return Err(Refusal::value("The schemas are not valid."));
            }
        }
        let action = if named.contains(&shapes::ACTION) {
            Action::read(&body)?
        } else if body.get(shapes::ACTION).is_some() && self.settings.strict_bodies {
            return Err(Refusal::value("UserAction is not among the schemas."));
        } else {
            Action::default()
        };
        let person = Person::read(&body, self.settings.strict_bodies)?;
        self.check_email(call, &person, 0)?;
        let reserved = if action.create {
            self.plan_reservation(call, &action)?
        } else {
            None
        };

        self.ids.user += 1;
        let id = self.ids.user;
        self.remember(call, id);
        self.write_emails(call, id, &person.emails);
        self.world.users.insert(
            id,
            User {
                id,
                organization: call.organization.clone(),
                external_id: person.external_id.clone(),
                family_name: person.family_name,
                given_name: person.given_name,
                emails: person.emails,
                status: UserStatus::Active,
                modified: call.at,
                gone_from: None,
                invitations: Vec::new(),
                containers: Vec::new(),
                credentials: Vec::new(),
            },
        );
        let effect = Effect::UserCreated {
            user: id,
            external_id: person.external_id,
        };
        self.ledger.note(call.at, call.cause(), effect);
        self.user_event(call.at, id, "USER_CREATED");
        if action.create {
            self.invite(call, id, &action, reserved);
        }
        let user = self.find_user(call, id)?;
        let path = format!("users/{id}");
        Ok(
            Answer::new(201, shapes::user(&self.settings, user)).at(shapes::location(
                &self.settings,
                &call.organization,
                &path,
            )),
        )
    }

    pub(super) fn get_user(&mut self, call: &Call) -> Outcome {
        let user = self.find_user(call, call.number())?;
        Ok(Answer::ok(shapes::user(&self.settings, user)))
    }

    /// The most recently changed, `meta` only (3.2).
    pub(super) fn list_users(&mut self, call: &Call) -> Answer {
        let mut users: Vec<&User> = self.users_in(&call.organization).collect();
        users.sort_by_key(|user| std::cmp::Reverse((user.modified, user.id)));
        let total = users.len();
        let rows = users
            .iter()
            .take(self.settings.page_cap)
            .map(|user| json!({ "meta": shapes::user_meta(&self.settings, user) }));
        Answer::ok(shapes::list(total, 1, &rows.collect::<Vec<_>>()))
    }

    pub(super) fn search_users(&mut self, call: &Call) -> Outcome {
        let query = Query::read(&call.json()?, &RULES, self.settings.page_cap)?;
        let (total, page) =
            query.select(
                self.users_in(&call.organization),
                |user, attribute| match attribute {
                    "externalid" => vec![user.external_id.clone()],
                    "emails" | "emails.value" => user.emails.clone(),
                    "name.familyname" => vec![user.family_name.clone()],
                    "name.givenname" => vec![user.given_name.clone()],
                    "status" => vec![shapes::word(user.status)],
                    "meta.lastmodified" => vec![Query::time(user.modified)],
                    _ => vec![format!("{:020}", user.id)],
                },
            );
        let rows = page.into_iter().map(|user| {
            let mut row = Map::new();
            row.insert("meta".to_owned(), shapes::user_meta(&self.settings, user));
            let mut name = Map::new();
            for attribute in &query.attributes {
                match attribute.as_str() {
                    "name.familyname" => {
                        drop(name.insert("familyName".to_owned(), json!(user.family_name)));
                    }
                    "name.givenname" => {
                        drop(name.insert("givenName".to_owned(), json!(user.given_name)));
                    }
                    _ => drop(row.insert("emails".to_owned(), shapes::emails(user))),
                }
            }
            if !name.is_empty() {
                row.insert("name".to_owned(), Value::Object(name));
            }
            Value::Object(row)
        });
        Ok(Answer::ok(shapes::list(
            total,
            query.start,
            &rows.collect::<Vec<_>>(),
        )))
    }

    pub(super) fn update_user(&mut self, call: &Call) -> Outcome {
        let body = call.json()?;
        if self.settings.strict_bodies && schemas(&body) != [shapes::USER] {
            return Err(Refusal::value("The schemas are not valid."));
        }
        let person = Person::read(&body, self.settings.strict_bodies)?;
        let id = call.number();
        if self.find_user(call, id)?.status != UserStatus::Active {
            return Err(Refusal::mutability("The user is being deleted."));
        }
        self.check_email(call, &person, id)?;
        self.remember(call, id);
        self.write_emails(call, id, &person.emails);
        if let Some(user) = self.world.users.get_mut(&id) {
            user.external_id = person.external_id;
            user.family_name = person.family_name;
            user.given_name = person.given_name;
            user.emails = person.emails;
            user.modified = call.at;
        }
        self.ledger
            .note(call.at, call.cause(), Effect::UserUpdated { user: id });
        self.user_event(call.at, id, "USER_UPDATED");
        self.get_user(call)
    }

    pub(super) fn delete_user(&mut self, call: &Call) -> Outcome {
        let id = call.number();
        if self.find_user(call, id)?.status != UserStatus::Active {
            return Err(Refusal::mutability("The user is being deleted."));
        }
        self.remember(call, id);
        self.tear_down_user(call.at, call.cause(), id);
        Ok(Answer::empty(204))
    }

    /// Cancels pending invitations, revokes credentials, deletes containers; at once when there is nothing (3.6).
    pub(super) fn tear_down_user(&mut self, at: i64, cause: Cause, id: u64) {
        let Some(user) = self.world.users.get_mut(&id) else {
            return;
        };
        user.status = UserStatus::DeleteInitiated;
        user.modified = at;
        let pending: Vec<u64> = user
            .invitations
            .iter()
            .filter(|item| item.status == InvitationStatus::Pending)
            .map(|item| item.id)
            .collect();
        let containers: Vec<u64> = user
            .containers
            .iter()
            .filter(|item| {
                matches!(
                    item.status,
                    ContainerStatus::Active | ContainerStatus::Initialized
                )
            })
            .map(|item| item.id)
            .collect();
        let immediate = !is_torn_down_later(user);
        let gone_from = if immediate {
            at
        } else {
            at.saturating_add_unsigned(self.settings.user_delete_ms)
        };
        user.gone_from = Some(gone_from);
        self.ledger
            .note(at, cause, Effect::UserDeleteInitiated { user: id });
        self.user_event(at, id, "USER_DELETE_INITIATED");
        for invitation in pending {
            self.start_cancel(at, cause, invitation);
        }
        for container in containers {
            self.tear_down_container(at, cause, container);
        }
        if immediate {
            self.finish_user(at, id);
        } else {
            self.due.add(gone_from, Work::FinishUser(id));
        }
    }

    /// Removes a user that is being deleted once nothing holds it.
    pub(super) fn finish_user(&mut self, at: i64, id: u64) {
        let Some(user) = self.world.users.get(&id) else {
            return;
        };
        if user.gone_from.is_none_or(|from| at < from) || is_torn_down_later(user) {
            return;
        }
        self.ledger
            .note(at, Cause::Clock, Effect::UserDeleted { user: id });
        self.user_event(at, id, "USER_DELETED");
        if let Some(user) = self.world.users.remove(&id) {
            for email in user.emails {
                self.world
                    .emails
                    .remove(&(user.organization.clone(), email));
            }
            for invitation in user.invitations {
                self.world.codes.remove(&invitation.code);
            }
        }
    }

    pub(super) fn find_user(&self, call: &Call, id: u64) -> Result<&User, Refusal> {
        self.world
            .user_of(&call.organization, id)
            .ok_or_else(|| Refusal::missing("user"))
    }

    pub(super) fn remember(&mut self, call: &Call, user: u64) {
        self.world
            .remember(call.at, self.faults.stale_within_ms, user);
    }

    fn users_in<'a>(&'a self, organization: &'a str) -> impl Iterator<Item = &'a User> {
        self.world
            .users
            .values()
            .filter(move |user| user.organization == organization)
    }

    fn check_email(&self, call: &Call, person: &Person, own: u64) -> Result<(), Refusal> {
        let key = person
            .emails
            .first()
            .map(|email| (call.organization.clone(), email.clone()));
        let holder = key.and_then(|key| self.world.emails.get(&key).copied());
        if self.settings.unique_emails && holder.is_some_and(|holder| holder != own) {
            return Err(Refusal {
                status: 409,
                scim_type: Some("uniqueness"),
                detail: "The email is already enrolled.".to_owned(),
            });
        }
        Ok(())
    }

    fn write_emails(&mut self, call: &Call, id: u64, emails: &[String]) {
        let organization = &call.organization;
        for email in self
            .world
            .users
            .get(&id)
            .map(|user| user.emails.clone())
            .unwrap_or_default()
        {
            self.world.emails.remove(&(organization.clone(), email));
        }
        for email in emails {
            self.world
                .emails
                .insert((organization.clone(), email.clone()), id);
        }
    }
}

/// Whether something of the user is still to be taken down.
fn is_torn_down_later(user: &User) -> bool {
    let invitation = |status| match status {
        InvitationStatus::Pending | InvitationStatus::CancelInitiated => true,
        InvitationStatus::Acknowledged
        | InvitationStatus::Expired
        | InvitationStatus::Cancelled
        | InvitationStatus::NotSupported
        | InvitationStatus::NotEligible => false,
    };
    user.invitations.iter().any(|item| invitation(item.status))
        || user
            .containers
            .iter()
            .any(|item| item.status != ContainerStatus::Deleted)
        || user
            .credentials
            .iter()
            .any(|item| item.container.is_some() && item.status != CredentialStatus::Revoked)
}
