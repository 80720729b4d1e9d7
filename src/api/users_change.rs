//! `/acs/users`: changing, suspending and deleting what is there (seam-api.md 3.4, 5.1).

use super::identities::changed;
use super::problem::Problem;
use super::{Api, Call, Reply, users};
use crate::core::identity::{AcsUser, Identity};
use crate::core::ids::AcsUserId;
use crate::core::wish::Wish;

/// The ACS user as far as something can still be done to it.
fn present(identity: Option<&Identity>, id: AcsUserId) -> Result<(&Identity, &AcsUser), Problem> {
    let identity = identity.ok_or_else(users::missing)?;
    let user = identity.acs_users.get(&id).ok_or_else(users::missing)?;
    Ok((identity, user))
}

/// A credential manager's user is the person itself: its record goes with the automation.
pub(super) fn refuse_in_use(identity: &Identity, user: &AcsUser) -> Result<(), Problem> {
    let enrollment = identity.enrollments.get(&user.acs_system);
    if enrollment.is_some_and(crate::core::Enrollment::is_running) {
        return Err(Problem::conflict(
            "acs_user_in_use",
            "an enrollment automation uses this ACS user; delete the automation first",
        ));
    }
    Ok(())
}

/// Null unsets, absent leaves.
pub(super) async fn update(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let (owner, id) = users::named(api, call).await?;
    let params = &call.params;
    let email = if params.has("email") {
        "email"
    } else {
        "email_address"
    };
    let decide = |identity: Option<&Identity>| {
        let (identity, user) = present(identity, id)?;
        let full_name = changed(params, "full_name", user.full_name.as_ref());
        let email_address = changed(params, email, user.email_address.as_ref());
        let phone_number = changed(params, "phone_number", user.phone_number.as_ref());
        let hid_acs_system_id = if params.is_null("hid_acs_system_id") {
            None
        } else {
            params.id("hid_acs_system_id").or(user.hid_acs_system_id)
        };
        let same_person = full_name == user.full_name
            && email_address == user.email_address
            && phone_number == user.phone_number;
        let of_manager = call.systems().manager(user.acs_system).is_some();
        if of_manager && identity.listed && !same_person {
            return Err(Problem::bad(
                "acs_user_of_credential_manager",
                "a credential manager's user follows its user identity; update that",
            ));
        }
        if same_person && hid_acs_system_id == user.hid_acs_system_id {
            return Ok(Vec::new());
        }
        Ok(vec![Wish::ChangeAcsUser {
            id,
            full_name,
            email_address,
            phone_number,
            hid_acs_system_id,
        }])
    };
    api.wish(owner, call, decide).await?;
    Ok(Reply::void())
}

/// Withdraws all credentials of the user; its record stays, with a warning, until they are gone.
pub(super) async fn delete(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let (owner, id) = users::named(api, call).await?;
    let decide = |identity: Option<&Identity>| {
        let (identity, user) = present(identity, id)?;
        refuse_in_use(identity, user)?;
        let first = user.deleting_since.is_none();
        let wish = first.then_some(Wish::DeleteAcsUser(id));
        Ok(wish.into_iter().collect())
    };
    api.wish(owner, call, decide).await?;
    Ok(Reply::void())
}

pub(super) async fn suspend(api: &Api, call: &Call) -> Result<Reply, Problem> {
    set_suspended(api, call, true).await
}

pub(super) async fn unsuspend(api: &Api, call: &Call) -> Result<Reply, Problem> {
    set_suspended(api, call, false).await
}

async fn set_suspended(api: &Api, call: &Call, suspended: bool) -> Result<Reply, Problem> {
    let (owner, id) = users::named(api, call).await?;
    let decide = |identity: Option<&Identity>| {
        let (_, user) = present(identity, id)?;
        let differs = user.suspended != suspended;
        let wish = differs.then_some(Wish::Suspend { id, suspended });
        Ok(wish.into_iter().collect())
    };
    api.wish(owner, call, decide).await?;
    Ok(Reply::void())
}

/// Which doors open is the access system's business; we know of none.
pub(super) async fn list_accessible_entrances(api: &Api, call: &Call) -> Result<Reply, Problem> {
    users::named(api, call).await?;
    Ok(Reply::list(Vec::new()))
}
