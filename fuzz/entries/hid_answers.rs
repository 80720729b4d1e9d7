//! Every answer of HID, through the client into the core.
//!
//! The first byte picks a stage, or past them a call that no identity owes. Then come answers, parted by blank
//! lines: a letter for the lane, one for the status, a digit for what else, the body. `1` puts a first line
//! of headers before the body (`Retry-After|Date|X-Request-ID`), `2` answers the login the same.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use origo_adapter::core::effect::{Class, Effect, Lane, NewUser};
use origo_adapter::core::ids::{CredentialId, InvitationId, PartNumber};
use origo_adapter::core::{Answer, Fault};
use origo_adapter::origo::{Client, Error};

use super::hid::{self, Reply, SECRETS};
use super::stages::{STAGES, check_nothing_lost};
use super::{BETWEEN, block_on, pick};
use crate::support::scene::{Scene, check_round_trip};

const STATUSES: [Option<u16>; 24] = {
    let known = [
        200, 201, 204, 202, 206, 304, 400, 401, 403, 404, 408, 409, 410, 412, 415, 422, 429, 500,
        502, 503, 504, 599,
    ];
    let mut all = [None; 24];
    let mut at = 0;
    while at < known.len() {
        all[at] = Some(known[at]);
        at += 1;
    }
    all
};

/// Calls that no identity owes.
const QUERIES: [&str; 7] = [
    "organization",
    "part_numbers",
    "filters",
    "create_filter",
    "events",
    "credential",
    "invitation",
];

/// Longest text that is taken over, in characters.
const LONGEST: usize = 200;

/// Plays `data` to the end.
pub(crate) fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let chosen = usize::from(first.wrapping_sub(b'a')) % (STAGES.len() + QUERIES.len());
    let chunks = split(rest);
    match STAGES.get(chosen) {
        Some(stage) => play(&mut stage(), &chunks),
        None => {
            for (_, reply, login) in &chunks {
                query(QUERIES[chosen - STAGES.len()], reply, login.clone());
            }
        }
    }
}

/// What is picked as a lane, HID's reply, and its reply to the login where that is another than usual.
type Chunk = (u8, Reply, Option<Reply>);

fn split(data: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut rest = data;
    while !rest.is_empty() && chunks.len() < 12 {
        let between = BETWEEN.as_bytes();
        let end = rest.windows(between.len()).position(|two| two == between);
        let (chunk, after) = match end {
            Some(end) => (&rest[..end], &rest[end + between.len()..]),
            None => (rest, &[][..]),
        };
        rest = after;
        if let [lane, status, more, body @ ..] = chunk {
            let reply = reply(*status, *more, body);
            let login = (more & 2 != 0).then(|| reply.clone());
            chunks.push((*lane, reply, login));
        }
    }
    chunks
}

fn reply(status: u8, more: u8, body: &[u8]) -> Reply {
    let Some(code) = *pick(&STATUSES, status) else {
        return if status % 2 == 1 {
            Reply::Unsent
        } else {
            Reply::Unanswered
        };
    };
    let mut headers = vec![("content-type", "application/json".to_owned())];
    let mut body = body;
    if more & 1 != 0 {
        let end = body.iter().position(|byte| *byte == b'\n');
        let (line, after) = body.split_at(end.unwrap_or(body.len()));
        body = after.get(1..).unwrap_or_default();
        let names = ["retry-after", "date", "x-request-id"];
        let line = String::from_utf8_lossy(line).into_owned();
        headers.extend(names.into_iter().zip(line.split('|').map(str::to_owned)));
    }
    Reply::Answer {
        status: code,
        headers,
        body: body.to_vec(),
    }
}

fn play(scene: &mut Scene, chunks: &[Chunk]) {
    for (lane, reply, login) in chunks {
        let calling = scene
            .owed
            .iter()
            .filter(|(_, owed)| owed.class != Class::Timer);
        let lanes: Vec<Lane> = calling.map(|(lane, _)| lane.clone()).collect();
        if lanes.is_empty() {
            return;
        }
        let call = scene.start(pick(&lanes, *lane));
        let result = perform(&call.effect, reply, login.as_ref());
        // What HID says twice is nothing new.
        let replayed = perform(&call.effect, reply, login.as_ref());
        assert_eq!(result, replayed);
        match result {
            Ok(answer) => scene.answer(call, answer),
            Err(error) => scene.fail(call, error.fault),
        }
        let Some(identity) = &scene.identity else {
            return;
        };
        check_round_trip(identity);
        check_nothing_lost(scene);
    }
}

/// One effect, and all that holds of any.
pub(crate) fn perform(
    effect: &Effect,
    reply: &Reply,
    login: Option<&Reply>,
) -> Result<Answer, Error> {
    let (client, script) = hid::client(reply.clone(), login.cloned());
    let asked = AtomicU32::new(0);
    let may_send = || {
        asked.fetch_add(1, Ordering::Relaxed);
        true
    };
    let result = block_on(client.perform(effect, &may_send));
    let (logins, calls) = *script.seen.lock().expect("no panic");
    assert_eq!(
        calls,
        asked.into_inner(),
        "a call that the lease is not asked for"
    );
    let most = if reply.status() == Some(401) { 2 } else { 1 };
    assert!(
        calls <= most && logins <= most,
        "{calls} calls, {logins} logins"
    );
    match &result {
        Ok(answer) => {
            assert!(matches!(reply.status(), Some(200..=299)));
            check_answer(effect, answer);
        }
        Err(error) => {
            check_error(error, personal(effect));
            if login.is_none() {
                check_fault(effect, reply, error);
            } else if calls == 0 {
                assert_eq!(error.fault, Fault::Refused, "nothing was sent: {error:?}");
            }
        }
    }
    result
}

fn query(name: &str, reply: &Reply, login: Option<Reply>) {
    let (client, _) = hid::client(reply.clone(), login);
    let result = block_on(ask(&client, name));
    if let Err(error) = result {
        check_error(&error, &[]);
    }
}

async fn ask(client: &Client, name: &str) -> Result<(), Error> {
    match name {
        "organization" => client.organization().await.map(drop),
        "part_numbers" => client.part_numbers().await.map(|all| {
            assert!(all.len() <= 25);
        }),
        "filters" => client.filters().await.map(drop),
        "create_filter" => client.create_filter(&["USER_CREATED"]).await.map(drop),
        "events" => client.events(hid::NOW - 1, hid::NOW).await.map(drop),
        "credential" => {
            let id = CredentialId::parse("1000").expect("an id");
            let seen = client.get_credential(&id).await?;
            assert_eq!(seen.id, id);
            Ok(())
        }
        _ => {
            let id = InvitationId::parse("800").expect("an id");
            let seen = client.get_invitation(&id).await?;
            assert_eq!(seen.id, id);
            Ok(())
        }
    }
}

/// The answer is to the question, and about the object that was asked for.
fn check_answer(effect: &Effect, answer: &Answer) {
    match (effect, answer) {
        (Effect::ReadUser { user }, Answer::User(seen)) => assert_eq!(seen.id, *user),
        (Effect::ReadPhone { container }, Answer::Phone(seen)) => {
            assert_eq!(seen.id, *container);
            let device = &seen.device;
            let texts = [&device.manufacturer, &device.model, &device.os_version];
            for text in texts.into_iter().flatten() {
                assert!((1..=LONGEST).contains(&text.chars().count()));
            }
        }
        (Effect::Issue { part_number, .. }, Answer::Issued(seen)) => {
            let same = |named: &PartNumber| named.0.eq_ignore_ascii_case(&part_number.0);
            assert!(seen.part_number.as_ref().is_none_or(same));
        }
        (Effect::CreateUser { .. }, Answer::UserCreated(_))
        | (Effect::SearchUser { .. }, Answer::UserFound(_))
        | (Effect::UpdateUser { .. }, Answer::UserUpdated)
        | (Effect::DeleteUser { .. }, Answer::UserDeleted)
        | (Effect::CreateInvitation { .. }, Answer::InvitationCreated(_))
        | (Effect::EmailInvitation { .. }, Answer::InvitationEmailed)
        | (Effect::CancelInvitation { .. }, Answer::InvitationCancelled)
        | (Effect::DeletePhone { .. }, Answer::PhoneDeleted)
        | (Effect::Revoke { .. }, Answer::Revoked) => {}
        (effect, answer) => panic!("{answer:?} to {effect:?}"),
    }
}

/// The classes of failures, written a second time: what may have had an effect is never called harmless
/// (contract.md G1), and what had none is never called unknown.
fn check_fault(effect: &Effect, reply: &Reply, error: &Error) {
    let reads = matches!(
        effect,
        Effect::ReadUser { .. } | Effect::ReadPhone { .. } | Effect::SearchUser { .. }
    );
    let unknown = match reply {
        Reply::Unsent => false,
        Reply::Unanswered => true,
        // A 2xx that is an error was not understood.
        Reply::Answer { status, .. } => matches!(status, 200..=299 | 408 | 500..=599),
    };
    let expected = unknown && !reads;
    assert_eq!(
        error.fault == Fault::Unanswered,
        expected,
        "{effect:?}: {error:?}"
    );
    let refused = matches!(reply.status(), None | Some(401 | 403 | 429)) && !expected;
    assert!(
        !refused || error.fault == Fault::Refused,
        "{effect:?}: {error:?}"
    );
    assert_eq!(error.status, reply.status(), "{error:?}");
}

/// An error can be shown (contract.md G7).
fn check_error(error: &Error, personal: &[&str]) {
    let mut shown = error.clone();
    // HID's own mark of the call, which is not text about anybody.
    shown.request_id = None;
    let all = format!("{shown} {shown:?}");
    assert!(SECRETS.iter().all(|secret| !all.contains(secret)), "{all}");
    let detail = &error.detail;
    assert!(detail.chars().count() <= LONGEST, "{detail}");
    assert!(!detail.contains(char::is_control), "{detail:?}");
    assert!(!detail.contains('@'), "{detail}");
    let is_part = |c: char| !c.is_alphanumeric() && c != '-';
    for word in detail.split(is_part) {
        let blocks: Vec<&str> = word.split('-').collect();
        let is_block =
            |block: &&str| block.len() == 4 && block.chars().all(|c| c.is_ascii_alphanumeric());
        let is_code = blocks.windows(4).any(|four| four.iter().all(is_block));
        assert!(!is_code, "a code in {detail}");
    }
    // The last word may be the beginning of another.
    let whole = detail.chars().count() < LONGEST;
    let words: Vec<&str> = detail.split(|c: char| !c.is_alphanumeric()).collect();
    let words = &words[..words.len() - usize::from(!whole)];
    for word in words.iter().map(|word| word.to_lowercase()) {
        let is_theirs = personal.iter().any(|own| own.to_lowercase() == word);
        assert!(!is_theirs, "{word} in {detail}");
    }
    let asked = error.retry_after.unwrap_or_default();
    assert!(asked <= Duration::from_hours(1), "{asked:?}");
    assert!(shown.request_id.is_none_or(|id| id.len() <= 64));
}

fn personal(effect: &Effect) -> &'static [&'static str] {
    let of = |user: &NewUser| match user.family_name.0.as_str() {
        "Okafor" => &["Ada", "Okafor"][..],
        _ => &["Ada", "Lovelace"][..],
    };
    if let Effect::CreateUser { user, .. } = effect {
        of(user)
    } else if let Effect::UpdateUser { data, .. } = effect {
        of(data)
    } else {
        &[]
    }
}
