//! Scenarios as text, in `tests/golden/*.txt`: what is done and seen, line by line, and below each
//! line what changed and what is owed. `UPDATE_GOLDEN=1` rewrites them; review the difference.
//!
//! `launch`, `parent 1 1`, `delete_parent 1`, `delete_identity`, `invite`, `resend` are wishes;
//! `pass 30` and `wake` are time; `user_created 800`, `issued 1000`, `revoked`, `emailed`,
//! `cancelled`, `invited 801`, `found 700`, `not_found`, `read_phone 900 1000:ISSUED` and
//! `read_user 700 801:PENDING` start the earliest call that fits and answer it; `fails issue BUSY`
//! starts it and has it fail; `late 1000` answers the last failed issue; `active 900 800`,
//! `acknowledged 800`, `expired 800`, `key_issued 1000` are events.

use std::env;
use std::fmt::Write as _;
use std::path::Path;

use origo_adapter::core::effect::{Class, Lane};
use origo_adapter::core::identity::InFlight;
use origo_adapter::core::observation::{
    Answer, CredentialSeen, CredentialStatus, Fault, Happening, InvitationSeen, InvitationStatus,
};
use origo_adapter::core::wish::Wish;

use crate::support::scene::{
    START, Scene, container, credential, hid_user, invitation_seen, key_seen, parent_id,
    phone_seen, wish_invite, wish_launch, wish_parent,
};

struct Stage {
    scene: Scene,
    failed: Option<InFlight>,
    calls: usize,
    shown: usize,
}

impl Stage {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| words[n].parse::<u8>().expect("a small number");
        match words[0] {
            "launch" => self.scene.wish(wish_launch(1)),
            "parent" => self.scene.wish(wish_parent(number(1), number(2))),
            "delete_parent" => self.scene.wish(Wish::DeleteParent(parent_id(number(1)))),
            "delete_identity" => self.scene.wish(Wish::DeleteIdentity),
            "invite" => self.scene.wish(wish_invite(false)),
            "resend" => self.scene.wish(wish_invite(true)),
            "pass" => self.scene.pass(words[1].parse().expect("seconds")),
            "wake" => self.scene.wake(),
            "active" => self.scene.phone_active(words[1], words[2]),
            "acknowledged" => {
                self.scene
                    .invitation_event(words[1], InvitationStatus::Acknowledged);
            }
            "expired" => {
                self.scene
                    .invitation_event(words[1], InvitationStatus::Expired);
            }
            "key_issued" => self.scene.event(Happening::KeyIssued {
                credential: credential(words[1]),
                container: Some(container("900")),
            }),
            "fails" => {
                let call = self.start(words[1]);
                self.failed = Some(call.clone());
                self.scene.fail(call, fault(words[2]));
            }
            "late" => {
                let call = self.failed.clone().expect("a failed call");
                let seen = key_seen(words[1], 1, CredentialStatus::IssueInitiated);
                self.scene.answer(call, Answer::Issued(seen));
            }
            _ => self.answered(&words),
        }
    }

    fn answered(&mut self, words: &[&str]) {
        let invitations = |words: &[&str]| words.iter().map(|word| invitation(word)).collect();
        let keys = |words: &[&str]| words.iter().map(|word| key(word)).collect();
        let (effect, answer) = match words[0] {
            "user_created" => {
                let seen = self.scene.user_seen(invitations(&words[1..]), vec![]);
                ("create_user", Answer::UserCreated(seen))
            }
            "found" => ("search_user", Answer::UserFound(Some(hid_user(words[1])))),
            "not_found" => ("search_user", Answer::UserFound(None)),
            "read_user" => {
                let seen = self.scene.user_seen(invitations(&words[1..]), vec![]);
                ("read_user", Answer::User(seen))
            }
            "read_foreign_user" => {
                let mut seen = self.scene.user_seen(vec![], vec![]);
                seen.external_id = None;
                ("read_user", Answer::User(seen))
            }
            "user_deleted" => ("delete_user", Answer::UserDeleted),
            "invited" => (
                "create_invitation",
                Answer::InvitationCreated(invitation(words[1])),
            ),
            "emailed" => ("email_invitation", Answer::InvitationEmailed),
            "cancelled" => ("cancel_invitation", Answer::InvitationCancelled),
            "read_phone" => (
                "read_phone",
                Answer::Phone(phone_seen(words[1], keys(&words[2..]))),
            ),
            "issued" => {
                let seen = key_seen(words[1], 1, CredentialStatus::IssueInitiated);
                ("issue", Answer::Issued(seen))
            }
            "revoked" => ("revoke", Answer::Revoked),
            other => panic!("what is «{other}»?"),
        };
        let call = self.start(effect);
        self.scene.answer(call, answer);
    }

    /// Waits for the earliest call of that name and starts it.
    fn start(&mut self, effect: &str) -> InFlight {
        let fits = self.scene.owed.iter().filter(|(_, owed)| {
            owed.effect.name() == effect && !matches!(owed.class, Class::Sweep | Class::Wait)
        });
        let first = fits.min_by_key(|(_, owed)| owed.not_before);
        let Some((lane, _)) = first else {
            panic!("no {effect} is owed, but {:#?}", self.scene.owed)
        };
        let lane: Lane = lane.clone();
        self.calls += 1;
        self.scene.start(&lane)
    }

    /// What changed since the last time, and what is owed now, standing reads aside.
    fn show(&mut self) -> String {
        let mut shown = String::new();
        for (_, change) in &self.scene.changes[self.shown..] {
            let from = change.from.as_deref().unwrap_or("·");
            let to = change.to.as_deref().unwrap_or("·");
            let entity = short(&change.entity);
            writeln!(shown, "    {entity}: {from} → {to}").expect("memory");
        }
        self.shown = self.scene.changes.len();
        for owed in self.scene.owed.values() {
            if matches!(owed.class, Class::Sweep | Class::Wait) {
                continue;
            }
            let wait = owed.not_before.since(self.scene.now).as_secs();
            let (class, effect) = (owed.class.name(), owed.effect.name());
            writeln!(shown, "    owes {effect} in {wait} s ({class})").expect("memory");
        }
        shown
    }
}

/// `key/…/MID-1` → `key`: stories have names enough.
fn short(entity: &str) -> &str {
    entity.split('/').next().unwrap_or(entity)
}

/// `800` or `800:EXPIRED`.
fn invitation(word: &str) -> InvitationSeen {
    let (id, status) = word.split_once(':').unwrap_or((word, "PENDING"));
    let status = match status {
        "PENDING" => InvitationStatus::Pending,
        "ACKNOWLEDGED" => InvitationStatus::Acknowledged,
        "EXPIRED" => InvitationStatus::Expired,
        "CANCELLED" => InvitationStatus::Cancelled,
        other => panic!("what is «{other}»?"),
    };
    invitation_seen(id, status)
}

/// `1000:ISSUED`.
fn key(word: &str) -> CredentialSeen {
    let (id, status) = word.split_once(':').unwrap_or((word, "ISSUED"));
    let status = match status {
        "ISSUE_INITIATED" => CredentialStatus::IssueInitiated,
        "ISSUED" => CredentialStatus::Issued,
        "REVOKING" => CredentialStatus::Revoking,
        other => panic!("what is «{other}»?"),
    };
    key_seen(id, 1, status)
}

fn fault(word: &str) -> Fault {
    match word {
        "REFUSED" => Fault::Refused,
        "UNANSWERED" => Fault::Unanswered,
        "GONE" => Fault::Gone,
        "CONFLICT" => Fault::Conflict,
        "ALREADY" => Fault::Already,
        "BUSY" => Fault::Busy,
        other => panic!("what is «{other}»?"),
    }
}

/// The script's own lines, each followed by what it brought about.
fn played(text: &str) -> String {
    let mut stage = Stage {
        scene: Scene::new(),
        failed: None,
        calls: 0,
        shown: 0,
    };
    stage.shown = stage.scene.changes.len();
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("    ")) {
        if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").expect("memory");
            continue;
        }
        let said = line.split_once(" @").map_or(line, |(said, _)| said);
        if said.starts_with("calls ") || said.starts_with("over") {
            let over = if stage.scene.identity.is_none() {
                "over"
            } else {
                "calls"
            };
            writeln!(out, "{over} {}", stage.calls).expect("memory");
            continue;
        }
        stage.line(said);
        let at = stage.scene.now.since(START).as_secs();
        writeln!(out, "{said} @{at}s").expect("memory");
        out.push_str(&stage.show());
    }
    out
}

#[test]
fn stories_are_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut stories = 0;
    for entry in std::fs::read_dir(folder).expect("the stories") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a story");
        let played = played(&text);
        if update {
            std::fs::write(&path, &played).expect("the story rewritten");
        }
        assert!(
            update || played == text,
            "{}: not as written; UPDATE_GOLDEN=1 rewrites it\n{played}",
            path.display()
        );
        stories += 1;
    }
    assert!(stories >= 8, "{stories} stories");
}
