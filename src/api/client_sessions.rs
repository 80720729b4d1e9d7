//! `/client_sessions`: tokens with which an app acts as one person (seam-api.md 3.8).
//!
//! Promises: a token is shown to write keys and to its bearer, and to nobody else; of one
//! `user_identifier_key` one session holds at a time; whom a session acts as is never changed.

use std::time::Duration;

use aws_lc_rs::rand::fill;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::keys::SESSION_TOKEN;
use super::problem::{Faults, Problem};
use super::{Api, Call, Reply, identities, show};
use crate::config::Scope;
use crate::core::ids::IdentityId;
use crate::store::{ClientSession, SessionChange, SessionQuery};

/// How long a session holds where nobody says.
const LIFE: Duration = Duration::from_hours(24);
/// As much randomness as an API key has.
const RANDOM_BYTES: usize = 24;

fn missing() -> Problem {
    Problem::missing("client_session_not_found", "client session")
}

fn conflict() -> Problem {
    Problem::conflict(
        "client_session_conflict",
        "this client session acts as another user identity, or as none; make another session, or \
         grant it access",
    )
}

/// PUT finds the session that has this `user_identifier_key` already, POST is refused.
pub(super) async fn create(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let wanted = asked(api, call).await?;
    let store = api.engine.store();
    let session = store.create_client_session(wanted.clone()).await?;
    if session.id != wanted.id && call.verb == Method::POST {
        return Err(Problem::bad(
            "client_session_token_already_exists",
            "there is a client session with this user_identifier_key; \
             /client_sessions/get_or_create returns it",
        ));
    }
    found(call, &wanted, &session)
}

/// By key; without one, any session of this person that has none either.
pub(super) async fn get_or_create(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let wanted = asked(api, call).await?;
    let store = api.engine.store();
    if wanted.key.is_none() && wanted.user_identity.is_some() {
        let query = SessionQuery {
            user_identity: wanted.user_identity,
            ..SessionQuery::default()
        };
        let mut known = store.client_sessions(query).await?.into_iter();
        if let Some(session) = known.find(|known| known.key.is_none() && known.holds(call.now)) {
            return found(call, &wanted, &session);
        }
    }
    let session = store.create_client_session(wanted.clone()).await?;
    found(call, &wanted, &session)
}

/// Whoever asks for one person's session is not given another's.
fn found(call: &Call, wanted: &ClientSession, session: &ClientSession) -> Result<Reply, Problem> {
    if wanted.user_identity.is_some() && session.user_identity != wanted.user_identity {
        return Err(conflict());
    }
    Ok(Reply::one(show(call, session)))
}

/// The session that a request wants made.
async fn asked(api: &Api, call: &Call) -> Result<ClientSession, Problem> {
    const EXPIRES_AT: &str = "expires_at";
    let expires_at = call.params.instant(EXPIRES_AT);
    if expires_at.is_some_and(|at| at <= call.now) {
        return Err(Problem::param(EXPIRES_AT, "Must be in the future"));
    }
    Ok(ClientSession {
        id: Uuid::new_v4(),
        token: new_token().ok_or_else(|| Problem::ours("no randomness for a token"))?,
        user_identity: person(api, call).await?,
        key: call.params.text("user_identifier_key").map(str::to_owned),
        created_at: call.now,
        expires_at: expires_at.unwrap_or(call.now.plus(LIFE)),
        revoked_at: None,
    })
}

/// `None` where the machine has no randomness.
fn new_token() -> Option<SecretString> {
    let mut bytes = [0; RANDOM_BYTES];
    fill(&mut bytes).ok()?;
    Some(format!("{SESSION_TOKEN}{}", URL_SAFE_NO_PAD.encode(bytes)).into())
}

/// The user identity that a request names in one of the two ways, and that stays.
async fn person(api: &Api, call: &Call) -> Result<Option<IdentityId>, Problem> {
    const IDS: &str = "user_identity_ids";
    let one = call.params.id("user_identity_id");
    let other = match call.params.ids(IDS) {
        None => None,
        Some([id]) => Some(*id),
        Some(_) => return Err(Problem::param(IDS, "Expected exactly one")),
    };
    if one.zip(other).is_some_and(|(one, other)| one != other) {
        return Err(Problem::param(IDS, "Must be the user_identity_id"));
    }
    let Some(id) = one.or(other).map(IdentityId) else {
        return Ok(None);
    };
    let known = api.load(id).await?;
    Ok(Some(identities::present(known.as_ref())?.id))
}

/// The session that an API key names by id or key, or that calls.
pub(super) async fn get(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let session = match call.session {
        Some(own) => by_id(api, own).await?,
        None => named(api, call).await?,
    };
    let params = &call.params;
    let other_id = params
        .id("client_session_id")
        .is_some_and(|id| id != session.id);
    let key = params.text("user_identifier_key");
    if other_id || key.is_some() && key != session.key.as_deref() {
        return Err(missing());
    }
    Ok(Reply::one(show(call, &session)))
}

async fn named(api: &Api, call: &Call) -> Result<ClientSession, Problem> {
    let params = &call.params;
    let query = SessionQuery {
        id: params.id("client_session_id"),
        key: params.text("user_identifier_key").map(str::to_owned),
        ..SessionQuery::default()
    };
    if query.id.is_some() == query.key.is_some() {
        let mut faults = Faults::default();
        faults.add_form("Exactly one of client_session_id and user_identifier_key is required");
        return Err(faults.into_problem());
    }
    // The newest of a key: the one that holds, where one does.
    let found = api.engine.store().client_sessions(query).await?;
    found.into_iter().next().ok_or_else(missing)
}

async fn by_id(api: &Api, id: Uuid) -> Result<ClientSession, Problem> {
    let query = SessionQuery {
        id: Some(id),
        ..SessionQuery::default()
    };
    let found = api.engine.store().client_sessions(query).await?;
    found.into_iter().next().ok_or_else(missing)
}

pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let query = SessionQuery {
        id: params.id("client_session_id"),
        key: params.text("user_identifier_key").map(str::to_owned),
        user_identity: params.id("user_identity_id").map(IdentityId),
        token: None,
    };
    let keyless = params.flag("without_user_identifier_key") == Some(true);
    let fits = |session: &ClientSession| {
        let of_nobody = params.is_null("user_identity_id");
        (!keyless || session.key.is_none())
            && (!of_nobody || session.user_identity.is_none())
            // There are no Connect Webviews here.
            && !params.has("connect_webview_id")
    };
    let found = api.engine.store().client_sessions(query).await?;
    let shown = found.iter().filter(|session| fits(session));
    Ok(Reply::list(
        shown.map(|session| show(call, session)).collect(),
    ))
}

/// Lets a session that acts as nobody act as a person.
pub(super) async fn grant_access(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let session = named(api, call).await?;
    let person = person(api, call).await?;
    let person = person.ok_or_else(|| Problem::param("user_identity_id", "Required"))?;
    let change = SessionChange::Grant(person);
    let store = api.engine.store();
    store.change_client_session(session.id, change).await?;
    let session = by_id(api, session.id).await?;
    if session.user_identity != Some(person) {
        return Err(conflict());
    }
    Ok(Reply::one(show(call, &session)))
}

/// Its bearer is told that it was revoked; again is fine.
pub(super) async fn revoke(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let session = by_id(api, call.params.need_id("client_session_id")?).await?;
    let change = SessionChange::Revoke(call.now);
    let store = api.engine.store();
    store.change_client_session(session.id, change).await?;
    Ok(Reply::void())
}

pub(super) async fn delete(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let session = by_id(api, call.params.need_id("client_session_id")?).await?;
    let store = api.engine.store();
    store.delete_client_session(session.id, call.now).await?;
    Ok(Reply::void())
}

/// A revoked session expired when it was revoked: Seam's resource has no other word for it.
fn show(call: &Call, session: &ClientSession) -> Value {
    let ends_at = session.revoked_at.unwrap_or(session.expires_at);
    let mut shown = json!({
        "client_session_id": session.id,
        "workspace_id": call.systems().workspace(),
        "created_at": show::instant(session.created_at),
        "expires_at": show::instant(ends_at.min(session.expires_at)),
        "user_identifier_key": session.key,
        "user_identity_id": session.user_identity,
        "user_identity_ids": session.user_identity.as_slice(),
        // Locks and their accounts: there are none here.
        "device_count": 0,
        "connected_account_ids": [],
        "connect_webview_ids": [],
    });
    if call.scope >= Some(Scope::Write) || call.session == Some(session.id) {
        shown["token"] = json!(session.token.expose_secret());
    }
    shown
}
