//! `/adapter/{retry,resync,adopt_user}`: what an operator asks for by hand, answered with how it stands then.

use super::about::{self, Subject};
use super::problem::Problem;
use super::{Api, Call, Reply, why};
use crate::core::identity::{CmUserState, Identity};
use crate::core::wish::{Target, Wish};

/// Everything that failed or waits for its own schedule is tried at once.
pub(super) async fn retry(api: &Api, call: &Call) -> Result<Reply, Problem> {
    ask(api, call, |_, target| Ok(Wish::Retry(target))).await
}

/// What HID holds is read now.
pub(super) async fn resync(api: &Api, call: &Call) -> Result<Reply, Problem> {
    ask(api, call, |_, target| Ok(Wish::Resync(target))).await
}

/// The user whose e-mail address is in the way is taken over.
pub(super) async fn adopt_user(api: &Api, call: &Call) -> Result<Reply, Problem> {
    ask(api, call, |identity, target| {
        if is_in_conflict(identity, &target) {
            Ok(Wish::AdoptUser(target))
        } else {
            Err(Problem::bad(
                "no_user_conflict",
                "there is nothing to adopt: no user of HID's is in this person's way",
            ))
        }
    })
    .await
}

fn is_in_conflict(identity: &Identity, target: &Target) -> bool {
    let enrollments = identity.enrollments.iter();
    let mut asked = enrollments.filter(|(manager, _)| target.has_manager(**manager));
    asked.any(|(_, enrollment)| matches!(enrollment.user.state, CmUserState::Conflict { .. }))
}

async fn ask(
    api: &Api,
    call: &Call,
    wish: impl Fn(&Identity, Target) -> Result<Wish, Problem> + Send + Sync,
) -> Result<Reply, Problem> {
    let subject = Subject::of(api, call).await?;
    let decide = |identity: Option<&Identity>| {
        let identity = identity.ok_or_else(about::missing)?;
        Ok(vec![wish(identity, subject.target(identity))?])
    };
    api.wish(subject.owner, call, decide).await?;
    why::tell(api, call, &subject).await
}
