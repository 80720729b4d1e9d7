//! A disk that keeps only what was synced, and of the rest whatever the loss of power leaves.
//!
//! A write reaches the disk in sectors, in any order, each whole or not at all or, where that is asked for,
//! wrong. What lies beside the bytes of a write stays as it was: SQLite counts on that of a disk
//! (`SQLITE_POWERSAFE_OVERWRITE`), and so does every journaling file system.

use std::collections::BTreeMap;

use super::trace::Done;
use crate::support::dice::Dice;

const SECTOR: usize = 512;

/// Names and contents that are found after the loss of power.
pub(super) type Image = BTreeMap<String, Vec<u8>>;

/// The state directory's disk.
#[derive(Clone, Default)]
pub(super) struct Disk {
    /// Contents as synced, by the number of the file.
    files: Vec<Vec<u8>>,
    /// Names as synced.
    names: BTreeMap<String, usize>,
    /// Names as the process sees them.
    seen: BTreeMap<String, usize>,
    /// What was done since, and not synced.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Cut {
        file: usize,
        len: usize,
    },
    Link {
        name: String,
        file: usize,
    },
    Unlink {
        name: String,
    },
}

/// What the loss of power leaves of what was not synced.
#[derive(Clone, Debug)]
pub(super) enum Loss {
    /// So many changes, in their order.
    Cut(usize),
    /// So many, and of the next one so many sectors.
    Torn(usize, usize),
    /// Of each sector and each name, thrown for by this seed: kept, lost, zeroed or spoiled.
    Dice(u64),
}

impl Disk {
    /// Takes in what was done. `true` where it was a sync: more is on the disk than before.
    pub(super) fn take(&mut self, done: &Done) -> bool {
        match done {
            Done::Sent { .. } => false,
            Done::Made(name) => {
                if !self.seen.contains_key(name) {
                    let (name, file) = (name.clone(), self.files.len());
                    self.files.push(Vec::new());
                    self.seen.insert(name.clone(), file);
                    self.pending.push(Change::Link { name, file });
                }
                false
            }
            Done::Removed(name) => {
                self.seen.remove(name);
                let name = name.clone();
                self.pending.push(Change::Unlink { name });
                false
            }
            Done::Wrote { file, at, bytes } => {
                let (file, bytes) = (self.seen[file], bytes.clone());
                self.pending.push(Change::Write {
                    file,
                    at: *at,
                    bytes,
                });
                false
            }
            Done::Cut { file, len } => {
                let file = self.seen[file];
                self.pending.push(Change::Cut { file, len: *len });
                false
            }
            Done::Synced(name) => {
                let file = self.seen[name];
                self.settle(|change| change.file() == Some(file))
            }
            Done::SyncedNames => self.settle(|change| change.file().is_none()),
        }
    }

    fn settle(&mut self, synced: impl Fn(&Change) -> bool) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let (settled, pending) = pending.into_iter().partition(synced);
        self.pending = pending;
        self.apply(settled);
        true
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Write { file, at, bytes } => {
                    let content = &mut self.files[file];
                    let end = at + bytes.len();
                    content.resize(content.len().max(end), 0);
                    content[at..end].copy_from_slice(&bytes);
                }
                Change::Cut { file, len } => self.files[file].resize(len, 0),
                Change::Link { name, file } => {
                    self.names.insert(name, file);
                }
                Change::Unlink { name } => {
                    self.names.remove(&name);
                }
            }
        }
    }

    /// How much was done since the last sync of its kind.
    pub(super) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// Into how many sectors a change would be torn.
    pub(super) fn sectors(&self, change: usize) -> usize {
        self.pending[change].sectors().len()
    }

    /// What is found after the loss of power.
    pub(super) fn lose(&self, loss: &Loss) -> Image {
        let kept = match loss {
            Loss::Cut(changes) => self.pending[..*changes].to_vec(),
            Loss::Torn(changes, sectors) => {
                let mut kept = self.pending[..*changes].to_vec();
                let torn = self.pending[*changes].sectors();
                kept.extend(torn.into_iter().take(*sectors));
                kept
            }
            Loss::Dice(seed) => self.thrown(*seed),
        };
        let mut left = Self {
            files: self.files.clone(),
            names: self.names.clone(),
            ..Self::default()
        };
        left.apply(kept);
        let Self { files, names, .. } = left;
        let file = |(name, file): (String, usize)| (name, files[file].clone());
        names.into_iter().map(file).collect()
    }

    /// A throw decides first how much is kept at all, then for each sector.
    fn thrown(&self, seed: u64) -> Vec<Change> {
        let mut dice = Dice::new(seed);
        let begun = dice.pick(self.pending.len() + 1);
        let (lost, spoiled) = (2 + dice.roll(6), 4 + dice.roll(60));
        let spoils = dice.one_in(2);
        let mut kept = Vec::new();
        for change in &self.pending[..begun] {
            for mut sector in change.sectors() {
                if dice.one_in(lost) {
                    continue;
                }
                if let Change::Write { bytes, .. } = &mut sector
                    && spoils
                    && dice.one_in(spoiled)
                {
                    spoil(bytes, &mut dice);
                }
                kept.push(sector);
            }
        }
        kept
    }
}

fn spoil(bytes: &mut [u8], dice: &mut Dice) {
    if dice.one_in(2) {
        bytes.fill(0);
    } else {
        let at = dice.pick(bytes.len());
        bytes[at] ^= 1 << dice.roll(8);
    }
}

impl Change {
    /// Which file's content it changes.
    fn file(&self) -> Option<usize> {
        match self {
            Self::Write { file, .. } | Self::Cut { file, .. } => Some(*file),
            Self::Link { .. } | Self::Unlink { .. } => None,
        }
    }

    /// What reaches the disk of it one by one.
    fn sectors(&self) -> Vec<Self> {
        let Self::Write { file, at, bytes } = self else {
            return vec![self.clone()];
        };
        let mut sectors = Vec::new();
        let mut begin = 0;
        while begin < bytes.len() {
            let end = (begin + SECTOR - (at + begin) % SECTOR).min(bytes.len());
            sectors.push(Self::Write {
                file: *file,
                at: at + begin,
                bytes: bytes[begin..end].to_vec(),
            });
            begin = end;
        }
        sectors
    }
}

#[test]
fn only_what_was_synced_is_sure_to_be_there() {
    let name = || "state.db".to_owned();
    let wrote = |at, bytes: &[u8]| Done::Wrote {
        file: name(),
        at,
        bytes: bytes.to_vec(),
    };
    let mut disk = Disk::default();
    for done in [Done::Made(name()), wrote(500, &[1; 600])] {
        assert!(!disk.take(&done));
    }
    assert!(disk.take(&Done::Synced(name())));
    assert!(disk.lose(&Loss::Cut(0)).is_empty(), "it has no name");
    assert!(disk.take(&Done::SyncedNames));
    assert_eq!(disk.lose(&Loss::Cut(0))["state.db"].len(), 1100);

    disk.take(&wrote(500, &[2; 1000]));
    disk.take(&Done::Removed(name()));
    assert_eq!((disk.unsynced(), disk.sectors(0)), (2, 3));
    let torn = &disk.lose(&Loss::Torn(0, 2))["state.db"];
    assert_eq!(torn.len(), 1100);
    assert_eq!((torn[499], torn[500], torn[1023], torn[1024]), (0, 2, 2, 1));
    assert_eq!(disk.lose(&Loss::Cut(1))["state.db"].len(), 1500);
    assert!(disk.lose(&Loss::Cut(2)).is_empty());
    let images: Vec<_> = (0..64).map(|seed| disk.lose(&Loss::Dice(seed))).collect();
    assert!(images.iter().any(Image::is_empty));
    assert!(images.iter().any(|image| {
        let file = image.get("state.db");
        file.is_some_and(|file| file.len() == 1500 && file[600] == 1)
    }));
    assert_eq!(disk.lose(&Loss::Dice(7)), images[7], "a seed replays");
}
