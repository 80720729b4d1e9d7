//! A shorter story that breaks the same guarantee: acts and faults are left out for as long as it still does.

use std::sync::Arc;

use origo_adapter::simulator::Fault;

use super::rules::{DRAWN, Rules};
use super::story::{Broken, run};
use crate::support::dice::Dice;

/// So many shorter stories are tried at most.
const TRIES: usize = 150;

/// What was found.
pub(super) struct Shortest {
    pub(super) broken: Broken,
    seed: u64,
    whole: usize,
    with: Vec<Fault>,
}

/// What is the same of two failures: the words, not ids and times.
fn kind(wrong: &str) -> String {
    let words = wrong.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| word.chars().all(|c| c.is_ascii_alphabetic()));
    words.collect::<Vec<_>>().join(" ")
}

struct Search<'a> {
    seed: u64,
    rules: &'a Rules,
    kind: String,
    tries: usize,
}

impl Search<'_> {
    fn rules(&self, only: &[Dice], with: &[Fault]) -> Rules {
        let without = DRAWN.into_iter().filter(|fault| !with.contains(fault));
        Rules {
            only: Some(Arc::new(only.to_vec())),
            without: without.collect(),
            ..self.rules.clone()
        }
    }

    /// Whether the story of these acts with these faults goes wrong in the same way.
    fn breaks(&mut self, only: &[Dice], with: &[Fault]) -> bool {
        self.tries += 1;
        let told = run(self.seed, &self.rules(only, with));
        told.is_err_and(|broken| kind(&broken.wrong) == self.kind)
    }

    /// Leaves out halves, then smaller and smaller parts, for as long as the rest still breaks.
    fn fewest<T: Clone>(
        &mut self,
        mut items: Vec<T>,
        breaks: impl Fn(&mut Self, &[T]) -> bool,
    ) -> Vec<T> {
        let mut part = items.len().div_ceil(2);
        while part > 0 && self.tries < TRIES {
            let before = items.len();
            let mut begin = 0;
            while begin < items.len() && self.tries < TRIES {
                let end = (begin + part).min(items.len());
                let fewer = [&items[..begin], &items[end..]].concat();
                if breaks(self, &fewer) {
                    items = fewer;
                } else {
                    begin = end;
                }
            }
            if items.len() == before || part > 1 {
                part /= 2;
            }
        }
        items
    }
}

/// The shortest story found that ends like this one.
pub(super) fn shortest(seed: u64, rules: &Rules, broken: &Broken) -> Shortest {
    let mut search = Search {
        seed,
        rules,
        kind: kind(&broken.wrong),
        tries: 0,
    };
    let whole = &broken.acts;
    let with = search.fewest(DRAWN.to_vec(), |search, with| search.breaks(whole, with));
    let acts = search.fewest(whole.clone(), |search, acts| search.breaks(acts, &with));
    let traced = Rules {
        trace: true,
        ..search.rules(&acts, &with)
    };
    Shortest {
        broken: run(seed, &traced).expect_err("a story replays exactly"),
        seed,
        whole: whole.len(),
        with,
    }
}

impl Shortest {
    /// How many acts it has.
    pub(super) fn acts(&self) -> usize {
        self.broken.acts.len()
    }

    /// As a log that can be read from its beginning.
    pub(super) fn tell(&self) -> String {
        let (seed, wrong, whole) = (self.seed, &self.broken.wrong, self.whole);
        let acts = self.acts();
        let (with, told) = (&self.with, &self.broken.told);
        format!(
            "seed {seed}: {wrong}\n{acts} of {whole} acts are enough, of the drawn faults {with:?}:\n{told}"
        )
    }
}
