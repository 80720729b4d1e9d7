//! What the loss of power leaves, byte by byte (contract.md section 2, G5): the daemon's own writes and syncs as
//! the system saw them, replayed onto a disk that keeps only what was synced.
//!
//! More images: `POWER_IMAGES=100000 cargo test power`.

mod disk;
mod image;
mod recording;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex};

use origo_adapter::core::effect::Effect;
use origo_adapter::core::ids::{CallNo, IdentityId};

use self::disk::{Disk, Image, Loss};
use self::image::{Bench, Held};
use self::recording::{Recording, record};
use self::trace::Done;
use crate::support::dice::Dice;
use crate::support::machine::{asked, cores, not_run, tell, untraceable};

/// In CI; more by environment.
const IMAGES: u64 = 800;
/// What begins every path of HID's Mobile Identities API.
const ROOT: &str = "/credential-management/customer/7001234";

static STORY: LazyLock<Result<Story, String>> = LazyLock::new(|| match untraceable() {
    Some(why) => Err(why),
    None => Ok(Story::of(record())),
});

fn story(test: &str) -> Option<&'static Story> {
    let story = STORY.as_ref();
    story.map_err(|why| not_run(test, why)).ok()
}

/// A recording, cut at its syncs.
struct Story {
    recording: Recording,
    /// What is durable: before the first sync, and after each.
    moments: Vec<Held>,
    /// What is not synced just before each sync, and at the end.
    unsynced: Vec<usize>,
    issues: Vec<Issue>,
}

/// A call that left for HID, and which moment was the last before it.
struct Issue {
    moment: usize,
    identity: IdentityId,
    call: CallNo,
    revision: u64,
}

/// Walks through a recording. Each step is told with the number of syncs before it.
fn walk(recording: &Recording, mut step: impl FnMut(usize, &Disk, &Done)) {
    let mut disk = Disk::default();
    let mut syncs = 0;
    for done in &recording.done {
        step(syncs, &disk, done);
        syncs += usize::from(disk.take(done));
    }
    step(syncs, &disk, &Done::SyncedNames);
}

fn is_sync(done: &Done) -> bool {
    matches!(done, Done::Synced(_) | Done::SyncedNames)
}

impl Story {
    fn of(recording: Recording) -> Self {
        let bench = Bench::new();
        let (mut moments, mut unsynced) = (Vec::new(), Vec::new());
        walk(&recording, |moment, disk, done| {
            if moments.len() == moment {
                let held = bench.open(&disk.lose(&Loss::Cut(0)));
                moments.push(held.unwrap_or_else(|wrong| panic!("sync {moment}: {wrong}")));
            }
            if is_sync(done) {
                unsynced.push(disk.unsynced());
            }
        });
        let mut story = Self {
            recording,
            moments,
            unsynced,
            issues: Vec::new(),
        };
        story.issues = story.issues();
        story
    }

    /// Every issue call with the mark that was durable when it left.
    fn issues(&self) -> Vec<Issue> {
        let mut issues = Vec::new();
        walk(&self.recording, |moment, _, done| {
            let Some(request) = self.request(done).filter(|it| it.ends_with("/credential")) else {
                return;
            };
            issues.push(self.mark(moment, &request));
        });
        issues
    }

    /// The mark of a request in what was durable by then.
    fn mark(&self, moment: usize, request: &str) -> Issue {
        let identities = self.moments[moment].identities.values();
        let marked = identities.filter_map(|loaded| {
            let call = loaded.identity.in_flight.as_ref()?;
            (line(&call.effect) == request).then_some(Issue {
                moment,
                identity: loaded.identity.id,
                call: call.call,
                revision: loaded.revision,
            })
        });
        let marked: Vec<Issue> = marked.collect();
        let [mark] = <[Issue; 1]>::try_from(marked)
            .unwrap_or_else(|found| panic!("{} durable marks of {request}", found.len()));
        mark
    }

    /// Verb and path of a request to HID that changes something there.
    fn request(&self, done: &Done) -> Option<String> {
        let Done::Sent { to, bytes, .. } = done else {
            return None;
        };
        let text = String::from_utf8_lossy(bytes);
        let (verb, rest) = text.split_once(' ')?;
        let path = rest.split(' ').next()?.strip_prefix(ROOT)?;
        let changes = matches!(verb, "POST" | "PUT" | "DELETE") && path != "/users/.search";
        (*to == self.recording.hid && changes).then(|| format!("{verb} {path}"))
    }
}

/// The request line that an effect is sent as.
fn line(effect: &Effect) -> String {
    match effect {
        Effect::CreateUser { .. } => "POST /users".to_owned(),
        Effect::SearchUser { .. } => "POST /users/.search".to_owned(),
        Effect::ReadUser { user } => format!("GET /users/{}", user.as_str()),
        Effect::UpdateUser { user, .. } => format!("PUT /users/{}", user.as_str()),
        Effect::DeleteUser { user } => format!("DELETE /users/{}", user.as_str()),
        Effect::CreateInvitation { user, .. } => {
            format!("POST /users/{}/invitation", user.as_str())
        }
        Effect::EmailInvitation { invitation } => {
            format!("POST /invitation/{}/email", invitation.as_str())
        }
        Effect::CancelInvitation { invitation } => {
            format!("DELETE /invitation/{}", invitation.as_str())
        }
        Effect::ReadPhone { container } => {
            format!("GET /credential-container/{}", container.as_str())
        }
        Effect::DeletePhone { container } => {
            format!("DELETE /credential-container/{}", container.as_str())
        }
        Effect::Issue { container, .. } => {
            format!(
                "POST /credential-container/{}/credential",
                container.as_str()
            )
        }
        Effect::Revoke { credential } => format!("DELETE /credential/{}", credential.as_str()),
        Effect::Wake => String::new(),
    }
}

/// Only what was synced is opened, so it is not enough that a sync came between: it must have held the mark.
#[test]
fn no_call_leaves_before_its_mark_is_synced() {
    let Some(story) = story("sync before send") else {
        return;
    };
    let mut counts = BTreeMap::new();
    walk(&story.recording, |moment, _, done| {
        if let Some(request) = story.request(done) {
            story.mark(moment, &request);
            let kind = request
                .trim_matches(|c: char| c.is_ascii_digit())
                .to_owned();
            *counts.entry(kind).or_insert(0) += 1;
        }
    });
    // The log was begun anew once more than the daemon found none.
    let begun =
        |done: &&Done| matches!(done, Done::Wrote { file, at: 0, .. } if file.ends_with("-wal"));
    assert!(story.recording.done.iter().filter(begun).count() >= 3);
    // Two phones of Ada, two of Bob; Bob's first hung and was found to have taken effect.
    assert_eq!(story.issues.len(), 4, "{counts:?}");
    assert_eq!(counts["DELETE /credential/"], 2, "{counts:?}");
    assert!(counts["POST /users"] >= 2, "{counts:?}");
}

/// An id in an answer of the API is one that was on the disk before.
#[test]
fn no_answer_shows_what_power_loss_would_take_back() {
    let Some(story) = story("sync before answer") else {
        return;
    };
    let mut synced = BTreeSet::new();
    let (mut looked, mut shown) = (0, BTreeSet::new());
    walk(&story.recording, |moment, _, done| {
        while looked <= moment {
            synced.extend(ids(&story.moments[looked].rows));
            looked += 1;
        }
        let Done::Sent { from, bytes, .. } = done else {
            return;
        };
        if story.recording.api.contains(from) {
            for id in answered(&String::from_utf8_lossy(bytes)) {
                assert!(synced.contains(&id), "{id} was shown and not synced");
                shown.insert(id);
            }
        }
    });
    // Everybody's identity, and Ada's and Bob's users, automations and credentials.
    assert!(shown.len() > 80, "{}", shown.len());
}

fn ids(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    let words = words.filter(|word| word.len() == 36);
    words.map(str::to_owned).collect()
}

/// Ids of what the site made, not of what it is configured with.
fn answered(body: &str) -> BTreeSet<String> {
    let names = [
        "user_identity_id",
        "acs_user_id",
        "acs_credential_id",
        "enrollment_automation_id",
    ];
    let keys = names.map(|name| format!("{name}\":\""));
    let after = keys
        .iter()
        .flat_map(|name| body.split(name.as_str()).skip(1));
    after
        .filter_map(|rest| rest.get(..36))
        .map(str::to_owned)
        .collect()
}

/// Which images: each third of them cut between two writes, torn within one, and thrown for.
fn plan(story: &Story, images: u64) -> Vec<(usize, Loss)> {
    let third = usize::try_from(images.div_ceil(3)).unwrap();
    let moments = 0..story.unsynced.len();
    let boundaries: Vec<(usize, usize)> = moments
        .flat_map(|moment| (1..=story.unsynced[moment]).map(move |cut| (moment, cut)))
        .collect();
    let step = boundaries.len().div_ceil(third);
    let cuts = boundaries.iter().step_by(step);
    let mut plan: Vec<_> = cuts
        .map(|(moment, cut)| (*moment, Loss::Cut(*cut)))
        .collect();
    let mut dice = Dice::new(0);
    for seed in 0..2 * third {
        let (moment, cut) = boundaries[dice.pick(boundaries.len())];
        let loss = if seed % 2 == 0 {
            Loss::Torn(cut - 1, 1 + dice.pick(8))
        } else {
            Loss::Dice(u64::try_from(seed).unwrap())
        };
        plan.push((moment, loss));
    }
    plan
}

/// The history up to a point not before the last sync: just that, or with the one commit that was under way.
fn check(story: &Story, bench: &Bench, moment: usize, image: &Image) -> Result<(), String> {
    let held = bench.open(image)?;
    let mut history = story.moments.iter().skip(moment).take(2);
    if !history.any(|point| point.rows == held.rows) {
        return Err("it is no point of the history, or one before the last sync".to_owned());
    }
    for issue in story.issues.iter().filter(|issue| issue.moment <= moment) {
        let loaded = held.identities.get(&issue.identity);
        let known = loaded.is_some_and(|loaded| {
            let under_way = loaded.identity.in_flight.as_ref();
            under_way.is_some_and(|call| call.call == issue.call)
                || loaded.revision > issue.revision
        });
        if !known {
            return Err(format!(
                "call {:?} of {} is forgotten",
                issue.call, issue.identity
            ));
        }
    }
    bench.recover(&held, &story.recording.policy)
}

#[test]
fn power_loss_leaves_the_history_up_to_the_last_sync() {
    let Some(story) = story("power loss") else {
        return;
    };
    let images = asked("POWER_IMAGES").unwrap_or(IMAGES);
    let plan = plan(story, images);
    let threads = cores();
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (plan, wrong) = (&plan, &wrong);
            scope.spawn(move || {
                let bench = Bench::new();
                let mine: Vec<_> = plan.iter().skip(thread).step_by(threads).collect();
                walk(&story.recording, |moment, disk, done| {
                    if !is_sync(done) {
                        return;
                    }
                    for (_, loss) in mine.iter().filter(|(at, _)| *at == moment) {
                        let image = disk.lose(loss);
                        if let Err(error) = check(story, &bench, moment, &image) {
                            let said = format!("after sync {moment}, {loss:?}: {error}");
                            wrong.lock().unwrap().push((said, image));
                        }
                    }
                });
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let told = wrong.iter().take(5).map(|(said, image)| {
        let folder = image::keep(image);
        format!("{said}; kept in {}\n", folder.display())
    });
    let told: String = told.collect();
    let (bad, all, moments) = (wrong.len(), plan.len(), story.moments.len());
    assert!(wrong.is_empty(), "{bad} of {all} images are bad\n{told}");
    tell(&format!(
        "power loss: {} images, {moments} of them right after a sync",
        all + moments
    ));
}
