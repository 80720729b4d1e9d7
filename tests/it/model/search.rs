//! Breadth first through all states, on all cores, layer by layer; and how long each takes to settle.
//!
//! Of a state that was seen only its fingerprint stays and where it came from; what waits in the queue is packed, as
//! what it has that the start has not. A
//! counterexample is led to again from the start, so it is the shortest there is, and tells itself.
//!
//! Liveness is looked for among the same states: the way that a scheduler takes once nothing goes wrong any more is
//! one of the ways that were explored. So each state has one successor of that kind, and the chain from any state must
//! end in a circle of states that are settled.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use origo_adapter::core::effect::{Class, Effect};

use super::laws;
use super::same::{fingerprint, pack, unpack};
use super::state::{Left, State, World};
use super::story::Teller;
use super::ways::Action;
use crate::support::machine::cores;

/// So many states are expanded before what they lead to is taken in.
const BATCH: usize = 8192;
/// Beyond so many states it is told after each layer how far it came.
const LARGE: usize = 100_000;
const NOWHERE: u32 = u32::MAX;

/// What is kept of a state.
struct Node {
    from: u32,
    /// Place of the way that led here.
    by: u8,
    /// Nothing is left to do but to look now and then, and all is as it is wanted.
    settled: bool,
    /// Steps from there.
    after: u8,
    /// Where the scheduler goes.
    next: u32,
    /// In so many steps.
    within: u8,
    /// What could still go wrong.
    left: Left,
    /// The same state, found before with other budgets.
    twin: u32,
}

/// What was found.
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) ways: usize,
    /// Steps to the farthest state.
    pub(super) depth: u32,
    /// Most steps that the scheduler needs, from any state, until all is settled.
    pub(super) longest: u32,
    pub(super) took: Duration,
    /// The shortest way to something that must not be, told step by step.
    pub(super) wrong: Option<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} ways between them, depth {}, settled within {} steps, {:.1} s, peak {} MiB",
            self.states,
            self.ways,
            self.depth,
            self.longest,
            self.took.as_secs_f64(),
            peak_mib(),
        )
    }
}

/// Of the whole process, as Linux tells it; 0 elsewhere.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0_u64) / 1024
}

/// A state that was not expanded yet.
struct Waiting {
    place: u32,
    size: usize,
    packed: Box<[u8]>,
}

/// What one state leads to.
struct Expanded {
    wrong: Option<String>,
    settled: bool,
    children: Vec<Child>,
}

struct Child {
    by: u8,
    /// How many, with those that there was no choice about.
    steps: u8,
    scheduled: bool,
    /// All between is as it is wanted.
    settled: bool,
    fingerprint: u64,
    left: Left,
    /// Absent where it was seen before.
    packed: Option<(usize, Box<[u8]>)>,
}

#[derive(Default)]
struct Search {
    /// The start, packed.
    like: Vec<u8>,
    seen: HashMap<u64, u32>,
    nodes: Vec<Node>,
    ways: usize,
}

/// Explores all that `start` leads to.
pub(super) fn explore(world: &World, start: &State) -> Found {
    let began = now();
    let mut search = Search {
        like: pack(start),
        ..Search::default()
    };
    let (size, packed) = search.packed(start);
    let mut layer = vec![Waiting {
        place: 0,
        size,
        packed,
    }];
    search.add((fingerprint(world, start), start.left), (NOWHERE, 0, 0));
    let mut found = Found {
        states: 0,
        ways: 0,
        depth: 0,
        longest: 0,
        took: Duration::ZERO,
        wrong: None,
    };
    while !layer.is_empty() && found.wrong.is_none() {
        let mut next = vec![];
        for batch in layer.chunks(BATCH) {
            let expanded = search.expand(world, batch);
            for (waiting, expanded) in batch.iter().zip(expanded) {
                if let Some(wrong) = &expanded.wrong {
                    let told = search.story(world, start, waiting.place);
                    found.wrong.get_or_insert(format!("{told}\n{wrong}"));
                }
                search.take_in(waiting.place, expanded, &mut next);
            }
        }
        layer = next;
        if search.nodes.len() > LARGE {
            let (seen, waiting) = (search.nodes.len(), layer.len());
            println!(
                "{seen} states seen, {waiting} of them wait, {} MiB",
                peak_mib()
            );
        }
    }
    found.depth = search.depth();
    found.states = search.nodes.len();
    found.ways = search.ways;
    if found.wrong.is_none() {
        match search.settles() {
            Ok(longest) => found.longest = longest,
            Err(node) => found.wrong = Some(search.never_settles(world, start, node)),
        }
    }
    found.took = now().duration_since(began);
    found
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a search took is no matter of the product"
    )]
    Instant::now()
}

impl Search {
    /// Where a state is kept, and whether it is new.
    fn add(
        &mut self,
        (fingerprint, left): (u64, Left),
        (from, by, after): (u32, u8, u8),
    ) -> (u32, bool) {
        if let Some(known) = self.covering(fingerprint, left) {
            return (known, false);
        }
        let place = u32::try_from(self.nodes.len()).expect("fewer than 2³² states");
        let twin = self.seen.insert(fingerprint, place).unwrap_or(NOWHERE);
        self.nodes.push(Node {
            from,
            by,
            settled: false,
            after,
            next: NOWHERE,
            within: 0,
            left,
            twin,
        });
        (place, true)
    }

    /// The same state, seen with at least such budgets: whatever can go wrong now could go wrong then.
    fn covering(&self, fingerprint: u64, left: Left) -> Option<u32> {
        let mut known = self.seen.get(&fingerprint).copied()?;
        while known != NOWHERE {
            let node = &self.nodes[known as usize];
            if node.left.covers(left) {
                return Some(known);
            }
            known = node.twin;
        }
        None
    }

    fn packed(&self, state: &State) -> (usize, Box<[u8]>) {
        let packed = pack(state);
        let short = lz4_flex::block::compress_with_dict(&packed, &self.like);
        (packed.len(), short.into())
    }

    fn unpacked(&self, world: &World, waiting: &Waiting) -> State {
        let (packed, size) = (&waiting.packed, waiting.size);
        let packed = lz4_flex::block::decompress_with_dict(packed, size, &self.like);
        unpack(world, &packed.expect("what was packed"))
    }

    fn expand(&self, world: &World, batch: &[Waiting]) -> Vec<Expanded> {
        let threads = cores();
        let share = batch.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let shares = batch.chunks(share).map(|share| {
                let work = move || {
                    let states = share.iter().map(|waiting| self.unpacked(world, waiting));
                    let expanded = states.map(|state| self.expand_one(world, &state));
                    expanded.collect::<Vec<_>>()
                };
                scope.spawn(work)
            });
            let shares: Vec<_> = shares.collect();
            let done = shares
                .into_iter()
                .map(|share| share.join().expect("no panic"));
            done.flatten().collect()
        })
    }

    fn expand_one(&self, world: &World, state: &State) -> Expanded {
        let (actions, scheduled) = state.actions(world);
        let mut expanded = Expanded {
            wrong: laws::always(state).err(),
            settled: is_settled(state, scheduled.map(|n| &actions[n])),
            children: vec![],
        };
        for (n, action) in actions.iter().enumerate() {
            let by = u8::try_from(n).expect("fewer than 256 ways on");
            match take_and_go_on(world, state, action) {
                Err(wrong) => expanded.wrong = Some(format!("{wrong}, at {action:?}")),
                Ok(Way {
                    after,
                    steps,
                    settled,
                }) => {
                    let fingerprint = fingerprint(world, &after);
                    let is_new = self.covering(fingerprint, after.left).is_none();
                    expanded.children.push(Child {
                        by,
                        steps,
                        scheduled: scheduled == Some(n),
                        settled,
                        fingerprint,
                        left: after.left,
                        packed: is_new.then(|| self.packed(&after)),
                    });
                }
            }
        }
        expanded
    }

    fn take_in(&mut self, from: u32, expanded: Expanded, next: &mut Vec<Waiting>) {
        self.ways += expanded.children.len();
        let scheduled = expanded.children.iter().find(|child| child.scheduled);
        let node = &mut self.nodes[from as usize];
        node.settled = expanded.settled && scheduled.is_none_or(|child| child.settled);
        node.next = from;
        for child in expanded.children {
            let way = (from, child.by, child.steps);
            let (place, is_new) = self.add((child.fingerprint, child.left), way);
            if child.scheduled {
                let node = &mut self.nodes[from as usize];
                (node.next, node.within) = (place, child.steps);
            }
            if let Some((size, packed)) = child.packed.filter(|_| is_new) {
                next.push(Waiting {
                    place,
                    size,
                    packed,
                });
            }
        }
    }

    /// Steps to the farthest state, on the way that found it.
    fn depth(&self) -> u32 {
        let mut depths: Vec<u32> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let from = depths.get(node.from as usize).copied().unwrap_or(0);
            depths.push(from + u32::from(node.after));
        }
        depths.into_iter().max().unwrap_or(0)
    }

    /// The longest way to a settled circle; `Err`: a state on a circle that is not.
    fn settles(&self) -> Result<u32, u32> {
        const UNKNOWN: u32 = u32::MAX;
        const UNDER_WAY: u32 = u32::MAX - 1;
        let mut steps = vec![UNKNOWN; self.nodes.len()];
        let next = |place: u32| self.nodes[place as usize].next;
        for place in 0..u32::try_from(self.nodes.len()).expect("as above") {
            let mut way = vec![];
            let mut at = place;
            while steps[at as usize] == UNKNOWN {
                steps[at as usize] = UNDER_WAY;
                way.push(at);
                at = next(at);
            }
            if steps[at as usize] == UNDER_WAY {
                // A circle, new: it begins and ends here.
                while let Some(on_it) = way.pop() {
                    if !self.nodes[on_it as usize].settled {
                        return Err(on_it);
                    }
                    steps[on_it as usize] = 0;
                    if on_it == at {
                        break;
                    }
                }
            }
            let mut far = steps[at as usize];
            for on_it in way.into_iter().rev() {
                far += u32::from(self.nodes[on_it as usize].within);
                steps[on_it as usize] = far;
            }
        }
        Ok(steps.into_iter().max().unwrap_or(0))
    }

    /// The ways that lead to a state.
    fn ways_to(&self, mut place: u32) -> Vec<u8> {
        let mut ways = vec![];
        while self.nodes[place as usize].from != NOWHERE {
            ways.push(self.nodes[place as usize].by);
            place = self.nodes[place as usize].from;
        }
        ways.reverse();
        ways
    }

    fn led_to<'a>(&self, world: &'a World, start: &State, place: u32) -> Teller<'a> {
        let mut teller = Teller::new(world, start);
        for by in self.ways_to(place) {
            let (actions, _) = teller.state.actions(world);
            teller.take(&actions[usize::from(by)]);
            while let Some(only) = only_way(world, &teller.state) {
                teller.take(&only);
            }
        }
        teller
    }

    /// How a state comes about, step by step.
    fn story(&self, world: &World, start: &State, place: u32) -> String {
        self.led_to(world, start, place).end()
    }

    fn never_settles(&self, world: &World, start: &State, place: u32) -> String {
        // The shortest way to a state whose circle is this one.
        let mut circle = vec![place];
        while self.nodes[*circle.last().expect("one") as usize].next != place {
            circle.push(self.nodes[*circle.last().expect("one") as usize].next);
        }
        let first = circle.iter().min().copied().unwrap_or(place);
        let mut teller = self.led_to(world, start, first);
        teller.told.push_str("and then for ever:\n");
        for _ in 0..circle.len() {
            let (actions, scheduled) = teller.state.actions(world);
            let Some(scheduled) = scheduled else { break };
            teller.take(&actions[scheduled]);
        }
        let why = laws::settled(&teller.state).err();
        let why = why.unwrap_or("something is due for ever".to_owned());
        format!("{}\n{why}", teller.end())
    }
}

/// A way on as far as there is no choice.
struct Way {
    after: State,
    steps: u8,
    settled: bool,
}

/// Takes a way and goes on as long as there is only one, and time does not pass: those states are looked at, not kept.
fn take_and_go_on(world: &World, state: &State, action: &Action) -> Result<Way, String> {
    let mut way = Way {
        after: state.clone().takes(world, action)?.0,
        steps: 1,
        settled: true,
    };
    while let Some(action) = only_way(world, &way.after).filter(|_| way.steps < 100) {
        laws::always(&way.after)?;
        way.settled &= is_settled(&way.after, Some(&action));
        way.after = way.after.takes(world, &action)?.0;
        way.steps += 1;
    }
    Ok(way)
}

/// The one thing that can happen next, if it is only one, and not that time passes.
pub(super) fn only_way(world: &World, state: &State) -> Option<Action> {
    let (mut actions, scheduled) = state.actions(world);
    let only = actions.pop().filter(|_| actions.is_empty())?;
    (scheduled.is_some() && !matches!(only, Action::Pass)).then_some(only)
}

/// Whether all is as it is wanted, and what comes next is no call but a sweep or another try at an empty stock.
fn is_settled(state: &State, next: Option<&Action>) -> bool {
    let standing = match next {
        Some(Action::Call(person, lane)) => {
            let owed = &state.owed[*person][lane];
            let waits = state.hid.stock == 0 && matches!(owed.effect, Effect::Issue { .. });
            owed.class == Class::Sweep || waits
        }
        _ => true,
    };
    standing && laws::settled(state).is_ok()
}
