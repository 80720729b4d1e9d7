//! The acts, in their order. Each waits for what it wants to see, within a bound.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::app::{App, Person, Systems};
use super::pace::Pace;
use super::show::Show;
use super::stage::Stage;
use crate::clock::{Clock as _, SystemClock};
use crate::simulator::{Class, CredentialStatus, Device, Effect, Fault, RedeemError};

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);

/// A phone that redeemed a code.
pub(super) struct Phone {
    /// Index of its owner.
    pub(super) person: usize,
    /// HID's id of it.
    pub(super) container: u64,
}

/// Everything that the story brought about.
#[derive(Default)]
pub(super) struct Cast {
    pub(super) people: Vec<Person>,
    pub(super) phones: Vec<Phone>,
    /// Index of the person whose credential was deleted.
    pub(super) withdrawn: Option<usize>,
    /// When the daemon first saw each phone, by its id in the API.
    pub(super) seen: Vec<(String, i64)>,
}

/// The story and all that it is told with.
pub(super) struct Story<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) app: App,
    pub(super) show: &'a Show,
    pub(super) pace: Pace,
    pub(super) cast: Cast,
}

impl Story<'_> {
    /// Plays it to its end.
    pub(super) async fn play(&mut self, identities: u32, phones: u32) -> anyhow::Result<()> {
        let systems = self.app.systems().await?;
        self.enroll(&systems, identities).await?;
        // The last person's first phone comes while nobody looks.
        let early = self.cast.people.len() - 1;
        for person in 0..early {
            self.register(person).await?;
        }
        if early > 0 {
            self.show.tell(&format!(
                "{} redeemed an invitation code",
                count(early, "first phone")
            ))?;
            self.keys_arrive().await?;
        }
        if phones == 1 {
            self.lose_a_reply()?;
        }
        self.register_while_down(early).await?;
        for round in 1..phones {
            if round == 1 {
                self.lose_a_reply()?;
            }
            for person in 0..self.cast.people.len() {
                self.register(person).await?;
            }
            let further = count(self.cast.people.len(), "further phone");
            self.show.tell(&format!(
                "{further} redeemed an invitation code made on demand"
            ))?;
            self.keys_arrive().await?;
        }
        self.reply_was_lost()?;
        for person in &self.cast.people {
            let phones = self.app.phones(person).await?;
            self.cast.seen.extend(phones);
        }
        self.withdraw().await
    }

    async fn enroll(&mut self, systems: &Systems, identities: u32) -> anyhow::Result<()> {
        for number in 1..=identities {
            let person = self.app.enroll(systems, number).await?;
            self.cast.people.push(person);
            let (there, wanted) = (self.cast.people.len(), identities);
            self.show
                .progress("people", there, usize::try_from(wanted)?);
        }
        let text = format!(
            "{}: identity, user of the access system, enrollment automation, multi-phone sync credential",
            count(self.cast.people.len(), "person")
        );
        Ok(self.show.tell(&text)?)
    }

    /// The person's next phone redeems the code that the app fetches for it.
    async fn register(&mut self, person: usize) -> anyhow::Result<()> {
        let (bound, app, stage) = (self.pace.bound(), &self.app, &*self.stage);
        let owner = &self.cast.people[person];
        let what = format!("an invitation code for {}", owner.name);
        let container = until(bound, &what, async || {
            match app.invitation_code(owner).await? {
                Some(code) => redeem(stage, &code),
                None => Ok(None),
            }
        })
        .await?;
        self.cast.phones.push(Phone { person, container });
        Ok(())
    }

    /// Every phone carries its key, and the daemon knows it.
    async fn keys_arrive(&self) -> anyhow::Result<()> {
        let (bound, wanted) = (self.pace.bound(), self.cast.phones.len());
        let mut untold = 0;
        until(bound, "a key on every phone", async || {
            let there = self.on_phones();
            self.show.progress("keys on phones", there, wanted);
            if there < wanted && self.dropped("ENDPOINT_ACTIVE") > untold {
                untold = self.dropped("ENDPOINT_ACTIVE");
                self.show.tell("HID's feed leaves a phone out: the daemon looks for it after two minutes, at any speed")?;
            }
            Ok((there >= wanted).then_some(()))
        })
        .await?;
        let known = until(bound, "the API to show every key as issued", async || {
            let mut known = 0;
            for person in &self.cast.people {
                known += self.app.issued(person).await?;
            }
            self.show.progress("keys in the API", known, wanted);
            // Keys that the feed leaves out are on their phones; the daemon reads so after ten minutes.
            Ok((known + self.dropped("CREDENTIAL_ISSUED") >= wanted).then_some(known))
        })
        .await?;
        let shown = if known == wanted {
            "every child as issued".to_owned()
        } else {
            format!("{known} children as issued; the feed left out the others")
        };
        let phones = count(wanted, "phone");
        Ok(self.show.tell(&format!(
            "{phones}, each with its key; the API shows {shown}"
        ))?)
    }

    /// Keys that reached their phones, by HID's account.
    fn on_phones(&self) -> usize {
        let live = self.stage.hid().live_credentials();
        live.iter()
            .filter(|key| key.status == CredentialStatus::Issued)
            .count()
    }

    /// Events of a kind that HID's feed leaves out for ever.
    fn dropped(&self, kind: &str) -> usize {
        let hid = self.stage.hid();
        let dropped =
            |effect: &Effect| matches!(effect, Effect::EventDropped { status } if status == kind);
        let entries = hid.ledger().entries();
        entries
            .iter()
            .filter(|entry| dropped(&entry.effect))
            .count()
    }

    /// The last person's first phone registers while there is no daemon.
    async fn register_while_down(&mut self, person: usize) -> anyhow::Result<()> {
        let (bound, app) = (self.pace.bound(), &self.app);
        let owner = &self.cast.people[person];
        let code = until(bound, "an invitation code", async || {
            app.invitation_code(owner).await
        });
        let code = code.await?;
        self.stage.stop_daemon().await?;
        self.show.tell("the daemon is stopped")?;
        let container = redeem(self.stage, &code)?.context("the code is not pending any more")?;
        let stage = &*self.stage;
        until(bound, "the phone to be active at HID", async || {
            let active = stage.hid().active_containers();
            Ok(active
                .iter()
                .any(|phone| phone.container == container)
                .then_some(()))
        })
        .await?;
        self.show
            .tell("a phone registered at HID, and nobody looked")?;
        self.cast.phones.push(Phone { person, container });
        let address = self.stage.start_daemon().await?;
        self.app.address = address;
        self.show
            .tell(&format!("the daemon is started again, now on {address}"))?;
        self.keys_arrive().await
    }

    /// From here on, one issue takes effect at HID and its answer is lost.
    fn lose_a_reply(&self) -> std::io::Result<()> {
        self.stage
            .hid()
            .faults_mut()
            .next(Class::Issue, Fault::LostReply);
        self.show
            .tell("the answer to the next issue will be lost, though HID carries it out")
    }

    fn reply_was_lost(&self) -> anyhow::Result<()> {
        let (pending, issues) = {
            let hid = self.stage.hid();
            (hid.faults().pending(), hid.ledger().count(Class::Issue))
        };
        if pending > 0 {
            bail!("no issue call came whose answer could be lost");
        }
        let phones = count(self.cast.phones.len(), "phone");
        Ok(self.show.tell(&format!(
            "the lost answer led to a read, not to a second key: HID saw {issues} issue calls for {phones}"
        ))?)
    }

    /// One person's credential is deleted: the keys of all their phones go.
    async fn withdraw(&mut self) -> anyhow::Result<()> {
        let person = &self.cast.people[0];
        self.app.withdraw(person).await?;
        self.show
            .tell(&format!("the credential of {} is deleted", person.name))?;
        let (identity, stage) = (person.identity.as_str(), &*self.stage);
        until(
            self.pace.bound(),
            "the withdrawn keys to be gone",
            async || {
                let live = stage.hid().live_credentials();
                let left = live
                    .iter()
                    .filter(|key| key.user_external_id == identity)
                    .count();
                self.show.progress("withdrawn keys left", left, 0);
                Ok((left == 0).then_some(()))
            },
        )
        .await?;
        self.cast.withdrawn = Some(0);
        Ok(self
            .show
            .tell("its keys are revoked on every phone; all others stay")?)
    }
}

/// `None` where the code was spent or cancelled meanwhile: the app asks again.
fn redeem(stage: &Stage, code: &str) -> anyhow::Result<Option<u64>> {
    let device = Device {
        manufacturer: "Example".to_owned(),
        model: "Demo Phone".to_owned(),
        os_version: "1".to_owned(),
        application_version: "1".to_owned(),
        refused: None,
    };
    match stage.hid().redeem(SystemClock.now(), code, device) {
        Ok(container) => Ok(Some(container)),
        Err(RedeemError::NotPending(_)) => Ok(None),
        Err(
            error @ (RedeemError::Unknown | RedeemError::UserDeleting | RedeemError::Refused(_)),
        ) => Err(error).context("a phone could not redeem its code"),
    }
}

/// Looks again and again until there is something, within the bound.
async fn until<T>(
    bound: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok::<T, anyhow::Error>(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(bound, looking).await {
        Ok(found) => found.with_context(|| format!("waiting for {what}")),
        Err(_) => bail!("waited {} s for {what}, in vain", bound.as_secs()),
    }
}

/// "1 person", "3 people".
pub(super) fn count(number: usize, what: &str) -> String {
    match (number, what) {
        (1, _) => format!("1 {what}"),
        (_, "person") => format!("{number} people"),
        _ => format!("{number} {what}s"),
    }
}
