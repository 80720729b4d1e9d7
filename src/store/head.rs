//! The store's head, kept beside it: how far which database came, so that an older copy put in its place is noticed
//! (contract.md section 2, State that went back).
//!
//! It is written now and then and not synced: what it tells was on disk in the database before, so it never tells of
//! more than was done, and a store that lost nothing is never held. Should the newest lines be lost with the power, or
//! an older copy be of the very last seconds, it tells of less; `restore` marks its copies by itself.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Head;

/// The file that keeps it.
#[derive(Clone, Debug)]
pub struct HeadFile(PathBuf);

/// What the file told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Which database.
    pub database: Uuid,
    /// How far it had come.
    pub commits: u64,
}

impl Recorded {
    /// The store is another than was seen here, or less was done in it.
    #[must_use]
    pub fn is_ahead_of(self, head: &Head) -> bool {
        self.database != head.database || self.commits > head.commits
    }
}

impl HeadFile {
    /// The file at `path`, which need not exist.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// `None`: there is none, or a crash left nothing of use in it.
    pub fn read(&self) -> io::Result<Option<Recorded>> {
        let text = match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        Ok(understand(&text))
    }

    /// Replaces it as a whole.
    pub fn write(&self, head: &Head) -> io::Result<()> {
        let mut new = self.0.clone().into_os_string();
        new.push(".new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        writeln!(file, "{} {}", head.database, head.commits)?;
        drop(file);
        fs::rename(&new, &self.0)
    }
}

fn understand(text: &str) -> Option<Recorded> {
    // Without its end it may be cut in the middle of the number.
    let (database, commits) = text.strip_suffix('\n')?.split_once(' ')?;
    Some(Recorded {
        database: database.parse().ok()?,
        commits: commits.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(database: u128, commits: u64) -> Head {
        Head {
            database: Uuid::from_u128(database),
            commits,
            regressed_at: None,
        }
    }

    /// A crash leaves either the one or the other.
    #[test]
    fn it_is_replaced_and_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (path, kept) = (folder.path().join("head"), folder.path().join("kept"));
        let file = HeadFile::new(&path);
        file.write(&head(1, 7)).unwrap();
        fs::hard_link(&path, &kept).unwrap();
        file.write(&head(1, 8)).unwrap();
        assert_eq!(HeadFile::new(&kept).read().unwrap().unwrap().commits, 7);
        assert_eq!(file.read().unwrap().unwrap().commits, 8);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(HeadFile::new(folder.path()).read().is_err());
    }

    #[test]
    fn what_was_written_is_read_and_a_cut_line_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = HeadFile::new(&folder.path().join("head"));
        assert_eq!(file.read().unwrap(), None);
        for commits in [7, 1234] {
            file.write(&head(1, commits)).unwrap();
            let read = file.read().unwrap().unwrap();
            assert_eq!((read.database, read.commits), (Uuid::from_u128(1), commits));
        }
        for cut in ["", "x", "00000000-0000-0000-0000-000000000001 12", " 7\n"] {
            assert_eq!(understand(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn an_older_or_another_store_is_behind() {
        let recorded = Recorded {
            database: Uuid::from_u128(1),
            commits: 7,
        };
        for (store, behind) in [
            (head(1, 6), true),
            (head(1, 7), false),
            (head(1, 8), false),
            (head(2, 9), true),
        ] {
            assert_eq!(recorded.is_ahead_of(&store), behind, "{store:?}");
        }
    }
}
