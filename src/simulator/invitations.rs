//! Invitation codes (`origo-api.md` 4).

use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Outcome, Refusal},
    clockwork::Work,
    hid::Hid,
    ledger::{Cause, Effect},
    model::{Credential, CredentialStatus, Invitation, InvitationStatus, UserStatus},
    part_numbers::Drawn,
    routes::Call,
    scim::{Query, Rules},
    shapes,
    users::schemas,
};

const RULES: Rules = Rules {
    filterable: &["id", "invitationcode", "status", "meta.lastmodified"],
    returnable: &["invitationcode", "status"],
    urn: shapes::INVITATION,
};

const CODE_LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// The write-only action block (4.2).
#[derive(Debug, Default)]
pub(super) struct Action {
    pub(super) create: bool,
    pub(super) mail: bool,
    pub(super) assign: bool,
    pub(super) part_number: String,
    /// A named credential, or empty.
    pub(super) credential: String,
}

impl Action {
    /// Flags are texts: `Y` or `N` without case, empty means N (4.2).
    pub(super) fn read(body: &Value) -> Result<Self, Refusal> {
        let block = &body[shapes::ACTION];
        let flag = |name: &str| match &block[name] {
            Value::Null => Ok(false),
            Value::String(text) if text.eq_ignore_ascii_case("y") => Ok(true),
            Value::String(text) if text.is_empty() || text.eq_ignore_ascii_case("n") => Ok(false),
            Value::String(_)
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Err(Refusal::value(format!("{name} takes Y or N."))),
        };
        let credential = match &block["credential"] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
        };
        Ok(Self {
            create: flag("createInvitationCode")?,
            mail: flag("sendInvitationEmail")?,
            assign: flag("assignCredential")?,
            part_number: block["partNumber"].as_str().unwrap_or_default().to_owned(),
            credential,
        })
    }
}

impl Hid {
    pub(super) fn create_invitation(&mut self, call: &Call) -> Outcome {
        let body = call.json()?;
        if self.settings.strict_bodies && schemas(&body) != [shapes::ACTION] {
            return Err(Refusal::value("The schemas are not valid."));
        }
        let action = Action::read(&body)?;
        if !action.create {
            return Err(Refusal::value("createInvitationCode must be Y."));
        }
        let user = self.find_user(call, call.number())?;
        if user.status != UserStatus::Active {
            return Err(Refusal::mutability("The user is being deleted."));
        }
        let reserved = self.plan_reservation(call, &action)?;
        self.remember(call, call.number());
        let (id, credential) = self.invite(call, call.number(), &action, reserved);

        let (user, invitation) = self
            .world
            .user_with_invitation(&call.organization, id)
            .ok_or_else(|| Refusal::missing("invitation"))?;
        let meta = shapes::invitation_meta(&self.settings, &call.organization, invitation);
        let location = meta["location"].as_str().unwrap_or_default().to_owned();
        let entry = shapes::with_meta(shapes::invitation(invitation), meta);
        let mut answer = json!({ "schemas": [shapes::INVITATION], shapes::INVITATION: [entry] });
        if let Some(credential) = credential.and_then(|id| user.credential(id)) {
            answer["schemas"] = json!([shapes::INVITATION, shapes::CREDENTIAL]);
            answer[shapes::CREDENTIAL] = json!([shapes::credential(&self.settings, credential)]);
        }
        Ok(Answer::new(201, answer).at(location))
    }

    /// What `assignCredential` would draw. At this place every problem is a 400 (7).
    pub(super) fn plan_reservation(
        &self,
        call: &Call,
        action: &Action,
    ) -> Result<Option<String>, Refusal> {
        if !action.assign {
            return Ok(None);
        }
        self.choose_part_number(&call.organization, &action.part_number, &action.credential)
            .map(Some)
            .map_err(|problem| Refusal::value(problem.text()))
    }

    /// Makes a code, and reserves a credential of `part_number` with it.
    pub(super) fn invite(
        &mut self,
        call: &Call,
        user: u64,
        action: &Action,
        part_number: Option<String>,
    ) -> (u64, Option<u64>) {
        self.ids.invitation += 1;
        let id = self.ids.invitation;
        let blocks: Vec<String> = (0..4).map(|_| self.names.text(CODE_LETTERS, 4)).collect();
        let code = blocks.join("-");
        let expires = call
            .at
            .saturating_add_unsigned(self.settings.invitation_lifetime_ms);
        self.world.owner_of_invitation.insert(id, user);
        self.world.codes.insert(code.clone(), id);
        if let Some(user) = self.world.users.get_mut(&user) {
            user.invitations.push(Invitation {
                id,
                code,
                status: InvitationStatus::Pending,
                created: call.at,
                expires,
                modified: call.at,
                mailed: action.mail,
            });
        }
        self.due.add(expires, Work::ExpireInvitation(id));
        self.ledger.note(
            call.at,
            call.cause(),
            Effect::InvitationCreated {
                invitation: id,
                user,
            },
        );
        if action.mail {
            self.ledger.note(
                call.at,
                call.cause(),
                Effect::InvitationMailed { invitation: id },
            );
        }
        self.invitation_event(call.at, id, "INVITATION_PENDING");
        let credential = part_number.map(|part_number| self.reserve(call, user, id, &part_number));
        (id, credential)
    }

    fn reserve(&mut self, call: &Call, user: u64, invitation: u64, part_number: &str) -> u64 {
        let Drawn {
            card_number,
            friendly_name,
        } = self.draw_card(&call.organization, part_number, call.at);
        self.ids.credential += 1;
        let id = self.ids.credential;
        self.world.owner_of_credential.insert(id, user);
        if let Some(user) = self.world.users.get_mut(&user) {
            user.credentials.push(Credential {
                id,
                container: None,
                invitation: Some(invitation),
                part_number: part_number.to_owned(),
                friendly_name,
                card_number,
                status: CredentialStatus::IssueInitiated,
                modified: call.at,
                cause: call.cause(),
            });
        }
        let effect = Effect::CredentialReserved {
            credential: id,
            invitation,
            part_number: part_number.to_owned(),
        };
        self.ledger.note(call.at, call.cause(), effect);
        id
    }

    pub(super) fn list_invitations(&mut self, call: &Call) -> Outcome {
        let user = self.find_user(call, call.number())?;
        let mut list: Vec<&Invitation> = user.invitations.iter().collect();
        list.sort_by_key(|invitation| std::cmp::Reverse(invitation.id));
        let rows = list.iter().take(self.settings.page_cap).map(|invitation| {
            json!({ "meta": shapes::invitation_meta(&self.settings, &call.organization, invitation) })
        });
        Ok(Answer::ok(shapes::list(
            list.len(),
            1,
            &rows.collect::<Vec<_>>(),
        )))
    }

    pub(super) fn search_invitations(&mut self, call: &Call) -> Outcome {
        let query = Query::read(&call.json()?, &RULES, self.settings.page_cap)?;
        let user = self.find_user(call, call.number())?;
        let (total, page) =
            query.select(
                user.invitations.iter(),
                |invitation, attribute| match attribute {
                    "id" => vec![invitation.id.to_string()],
                    "invitationcode" => vec![invitation.code.clone()],
                    "status" => vec![shapes::word(invitation.status)],
                    "meta.lastmodified" => vec![Query::time(invitation.modified)],
                    _ => vec![format!("{:020}", invitation.id)],
                },
            );
        let rows = page.into_iter().map(|invitation| {
            let mut row = Map::new();
            let meta = shapes::invitation_meta(&self.settings, &call.organization, invitation);
            row.insert("meta".to_owned(), meta);
            for attribute in &query.attributes {
                match attribute.as_str() {
                    "status" => drop(row.insert("status".to_owned(), json!(invitation.status))),
                    _ => drop(row.insert("invitationCode".to_owned(), json!(invitation.code))),
                }
            }
            Value::Object(row)
        });
        Ok(Answer::ok(shapes::list(
            total,
            query.start,
            &rows.collect::<Vec<_>>(),
        )))
    }

    /// The nested GET answers a bare object (quirk 5).
    pub(super) fn get_invitation_of_user(&mut self, call: &Call) -> Outcome {
        let user = self.find_user(call, call.number())?;
        let id = call.sub.parse().unwrap_or(0);
        let invitation = user
            .invitation(id)
            .ok_or_else(|| Refusal::missing("invitation"))?;
        let meta = shapes::invitation_meta(&self.settings, &call.organization, invitation);
        let mut entry = shapes::with_meta(shapes::invitation(invitation), meta);
        entry["schemas"] = json!([shapes::INVITATION]);
        Ok(Answer::ok(entry))
    }

    pub(super) fn get_invitation(&mut self, call: &Call) -> Outcome {
        let invitation = self.find_invitation(call)?;
        let meta = shapes::invitation_meta(&self.settings, &call.organization, invitation);
        let entry = shapes::with_meta(shapes::invitation(invitation), meta);
        Ok(Answer::ok(shapes::under_urn(shapes::INVITATION, &entry)))
    }

    pub(super) fn mail_invitation(&mut self, call: &Call) -> Outcome {
        if self.find_invitation(call)?.status != InvitationStatus::Pending {
            return Err(Refusal::mutability("The invitation is not pending."));
        }
        if let Some(invitation) = self.world.invitation_mut(call.number()) {
            invitation.mailed = true;
        }
        let effect = Effect::InvitationMailed {
            invitation: call.number(),
        };
        self.ledger.note(call.at, call.cause(), effect);
        Ok(Answer::empty(200))
    }

    pub(super) fn cancel_invitation(&mut self, call: &Call) -> Outcome {
        if self.find_invitation(call)?.status != InvitationStatus::Pending {
            return Err(Refusal::mutability("The invitation is not pending."));
        }
        if let Some(user) = self.world.owner_of_invitation.get(&call.number()).copied() {
            self.remember(call, user);
        }
        self.start_cancel(call.at, call.cause(), call.number());
        Ok(Answer::empty(204))
    }

    pub(super) fn start_cancel(&mut self, at: i64, cause: Cause, id: u64) {
        if self.move_invitation(
            at,
            id,
            InvitationStatus::Pending,
            InvitationStatus::CancelInitiated,
        ) {
            self.ledger.note(
                at,
                cause,
                Effect::InvitationCancelInitiated { invitation: id },
            );
            self.invitation_event(at, id, "INVITATION_CANCEL_INITIATED");
            self.due.add(
                at.saturating_add_unsigned(self.settings.cancel_delay_ms),
                Work::FinishCancel(id),
            );
        }
    }

    /// What becomes of a credential whose code can no longer be used: released, or left where it is (4.3).
    pub(super) fn release_reserved(&mut self, at: i64, invitation: u64) {
        if !self.settings.reserved_released_on_expiry {
            return;
        }
        let Some(owner) = self.world.owner_of_invitation.get(&invitation).copied() else {
            return;
        };
        let Some(user) = self.world.users.get_mut(&owner) else {
            return;
        };
        let organization = user.organization.clone();
        let is_reserved =
            |item: &Credential| item.container.is_none() && item.invitation == Some(invitation);
        let released: Vec<Credential> = user
            .credentials
            .iter()
            .filter(|item| is_reserved(item))
            .cloned()
            .collect();
        user.credentials.retain(|item| !is_reserved(item));
        for credential in released {
            self.return_card(&organization, &credential.part_number, at);
            self.world.owner_of_credential.remove(&credential.id);
            self.ledger.note(
                at,
                Cause::Clock,
                Effect::CredentialReleased {
                    credential: credential.id,
                },
            );
        }
    }

    fn find_invitation(&self, call: &Call) -> Result<&Invitation, Refusal> {
        self.world
            .user_with_invitation(&call.organization, call.number())
            .map(|(_, invitation)| invitation)
            .ok_or_else(|| Refusal::missing("invitation"))
    }
}
