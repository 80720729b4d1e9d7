//! From what strace wrote to what was done to the state directory and sent to others, in its order.
//!
//! Whatever counts against the daemon is placed where it hurts: a write and a request where they begin, a
//! sync where it has returned. Something unknown done to a file of the state is a panic, not a gap.

use std::collections::BTreeMap;
use std::path::Path;

/// What a traced daemon may do to its state, and how it talks.
pub(super) const CALLS: &str = "trace=openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,\
    sendfile,copy_file_range,fsync,fdatasync,sync_file_range,msync,truncate,ftruncate,fallocate,unlink,unlinkat,\
    rename,renameat,renameat2,link,linkat";

/// One thing done. Files are named as they are within the state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Made(String),
    Wrote {
        file: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Cut {
        file: String,
        len: usize,
    },
    Removed(String),
    Synced(String),
    /// The directory itself: which names there are.
    SyncedNames,
    /// First bytes and further ones of a TCP connection, as one call wrote them.
    Sent {
        from: String,
        to: String,
        bytes: Vec<u8>,
    },
}

/// Reads a trace of one process with all its threads.
pub(super) fn read(text: &str, folder: &Path) -> Vec<Done> {
    let mut reader = Reader {
        folder: folder.to_str().unwrap(),
        begun: BTreeMap::new(),
        done: Vec::new(),
    };
    for line in text.lines() {
        reader.line(line);
    }
    reader.done.into_iter().flatten().collect()
}

struct Reader<'a> {
    folder: &'a str,
    /// Of each thread the call that has not returned yet, and where its effect stands.
    begun: BTreeMap<&'a str, (Call<'a>, usize)>,
    done: Vec<Option<Done>>,
}

#[derive(Clone, Copy)]
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) {
        let (thread, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            return;
        }
        if rest.starts_with("<...") {
            let (call, place) = self.begun.remove(thread).unwrap();
            self.returned(call, place, result(rest));
        } else if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            let call = call(begun);
            let place = self.began(call);
            self.begun.insert(thread, (call, place));
        } else {
            let call = call(rest);
            let place = self.began(call);
            self.returned(call, place, result(rest));
        }
    }

    fn began(&mut self, call: Call<'_>) -> usize {
        let done = self.effect(call);
        self.done.push(done);
        self.done.len() - 1
    }

    /// What a call does as soon as it begins.
    fn effect(&self, call: Call<'_>) -> Option<Done> {
        let arguments = call.arguments;
        match call.name {
            "unlink" => self.file(&text(arguments)).map(Done::Removed),
            "pwrite64" => self.file_of(arguments).map(|file| Done::Wrote {
                file,
                at: number(arguments, 0),
                bytes: bytes(arguments),
            }),
            "ftruncate" => self.file_of(arguments).map(|file| Done::Cut {
                file,
                len: number(arguments, 0),
            }),
            "write" | "writev" | "sendto" | "sendmsg" => {
                self.refuse(call);
                let (from, to) = connection(arguments)?;
                Some(Done::Sent {
                    from,
                    to,
                    bytes: bytes(arguments),
                })
            }
            "openat" | "open" | "fsync" | "fdatasync" => None,
            _ => {
                self.refuse(call);
                None
            }
        }
    }

    /// What a call has done once it returned so.
    fn returned(&mut self, call: Call<'_>, place: usize, result: Option<i64>) {
        // Of a call cut off by the end of the process nobody knows; it may have been done.
        let Some(result) = result else { return };
        if result < 0 {
            self.done[place] = None;
        } else if let Some(Done::Wrote { bytes, .. } | Done::Sent { bytes, .. }) =
            &mut self.done[place]
        {
            bytes.truncate(usize::try_from(result).unwrap());
        }
        if result < 0 {
            return;
        }
        let arguments = call.arguments;
        let done = match call.name {
            "fsync" | "fdatasync" if descriptor(arguments).as_deref() == Some(self.folder) => {
                Some(Done::SyncedNames)
            }
            "fsync" | "fdatasync" => self.file_of(arguments).map(Done::Synced),
            "openat" if arguments.contains("O_CREAT") => {
                let made = self.file(&text(arguments));
                assert!(
                    made.is_none() || !arguments.contains("O_TRUNC"),
                    "{arguments}"
                );
                made.map(Done::Made)
            }
            _ => None,
        };
        self.done.push(done);
    }

    fn refuse(&self, call: Call<'_>) {
        let touched =
            self.file_of(call.arguments).is_some() || call.arguments.contains(self.folder);
        assert!(!touched, "{} of the state is not understood", call.name);
    }

    fn file_of(&self, arguments: &str) -> Option<String> {
        self.file(&descriptor(arguments)?)
    }

    /// The name within the state directory, of what must outlive the process.
    fn file(&self, path: &str) -> Option<String> {
        let name = path.strip_prefix(self.folder)?.strip_prefix('/')?;
        let lasts = matches!(name, "state.db" | "state.db-wal" | "state.db-journal");
        let other = name == "state.db-shm" || !name.starts_with("state.db-");
        assert!(lasts || other, "a file of its own: {name}");
        lasts.then(|| name.to_owned())
    }
}

fn call(line: &str) -> Call<'_> {
    let (name, rest) = line.split_once('(').unwrap();
    let arguments = match rest.rfind(" = ") {
        Some(end) => rest[..end].trim_end().trim_end_matches(')'),
        None => rest,
    };
    Call { name, arguments }
}

/// `None`: the process ended in it.
fn result(line: &str) -> Option<i64> {
    let result = &line[line.rfind(" = ")? + 3..];
    let digits = result.split([' ', '<']).next()?;
    digits.parse().ok()
}

/// The path of the first argument, a descriptor of a file.
fn descriptor(arguments: &str) -> Option<String> {
    let path = arguments.split_once('<')?.1;
    let (path, after) = path.split_once('>')?;
    let gone = after.starts_with("(deleted)");
    (path.starts_with("\\x") && !gone).then(|| String::from_utf8_lossy(&unhex(path)).into_owned())
}

/// The two ends of a descriptor that is a TCP connection.
fn connection(arguments: &str) -> Option<(String, String)> {
    let ends = arguments.split_once("<TCP:[")?.1.split_once("]>")?.0;
    let (from, to) = ends.split_once("->")?;
    Some((from.to_owned(), to.to_owned()))
}

/// All that is in quotes.
fn bytes(arguments: &str) -> Vec<u8> {
    arguments
        .split('"')
        .skip(1)
        .step_by(2)
        .flat_map(unhex)
        .collect()
}

fn text(arguments: &str) -> String {
    String::from_utf8_lossy(&bytes(arguments)).into_owned()
}

/// A number among the arguments, counted from the last.
fn number(arguments: &str, from_last: usize) -> usize {
    let argument = arguments.rsplit(", ").nth(from_last).unwrap();
    argument.parse().unwrap_or_else(|_| panic!("{argument}"))
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |d: u8| char::from(d).to_digit(16).unwrap();
    let byte = |b: &[u8]| u8::try_from(digit(b[2]) * 16 + digit(b[3])).unwrap();
    text.as_bytes().chunks_exact(4).map(byte).collect()
}

#[test]
fn a_trace_is_read_in_its_order() {
    let hex = |text: &str| {
        let bytes = text.bytes().map(|b| format!("\\x{b:02x}"));
        bytes.collect::<String>()
    };
    let (wal, folder) = (hex("/s/state.db-wal"), hex("/s"));
    let text = format!(
        "7 openat(AT_FDCWD<{folder}>, \"{wal}\", O_RDWR|O_CREAT|O_NOFOLLOW|O_CLOEXEC, 0600) = 12<{wal}>\n\
         7 pwrite64(12<{wal}>, \"\\x61\\x62\", 2, 4120 <unfinished ...>\n\
         8 writev(9<TCP:[1.2.3.4:5->6.7.8.9:10]>, [{{iov_base=\"\\x47\", iov_len=1}}, {{iov_base=\"\\x48\", iov_len=1}}], 2) = 2\n\
         7 <... pwrite64 resumed>)    = 1\n\
         7 pwrite64(12<{wal}>, \"\\x61\\x62\", 2, 1) = -1 ENOSPC (No space left on device)\n\
         7 fsync(12<{wal}> <unfinished ...>\n\
         8 sendto(9<TCP:[1.2.3.4:5->6.7.8.9:10]>, \"\\x49\", 1, MSG_NOSIGNAL, NULL, 0) = 1\n\
         7 <... fsync resumed>) = 0\n\
         7 fsync(13<{folder}>)    = 0\n\
         7 ftruncate(12<{wal}>, 1) = 0\n\
         7 unlink(\"{wal}\") = 0\n\
         7 +++ exited with 0 +++\n"
    );
    let file = || "state.db-wal".to_owned();
    let sent = |bytes: &[u8]| Done::Sent {
        from: "1.2.3.4:5".to_owned(),
        to: "6.7.8.9:10".to_owned(),
        bytes: bytes.to_vec(),
    };
    let wrote = Done::Wrote {
        file: file(),
        at: 4120,
        bytes: b"a".to_vec(),
    };
    let cut = Done::Cut {
        file: file(),
        len: 1,
    };
    let wanted = [
        Done::Made(file()),
        wrote,
        sent(b"GH"),
        sent(b"I"),
        Done::Synced(file()),
        Done::SyncedNames,
        cut,
        Done::Removed(file()),
    ];
    assert_eq!(read(&text, Path::new("/s")), wanted);
}
