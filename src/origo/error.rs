//! One failed call: the fault for the core, and what an operator wants to read.

use std::fmt;
use std::time::Duration;

use super::fault::{self, Operation, Outcome, Service, Trouble};
use super::transport::TransportError;
use crate::core::observation::Fault;

/// Everything about a failed call: the [`Fault`] for the core, plus what operator logs want. Holds no secret and nothing personal (contract.md G7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What the core is told.
    pub fault: Fault,
    /// Who failed.
    pub service: Service,
    /// The call, or the login it needed.
    pub operation: Operation,
    /// What it says of the service as a whole; `None` where only the object is concerned.
    pub trouble: Option<Trouble>,
    /// HTTP's, where there was an answer.
    pub status: Option<u16>,
    /// HID's mark of the call, where the answer had one.
    pub request_id: Option<String>,
    /// HID's words, or the transport's: at most 200 characters, without addresses, codes, names and anything quoted.
    pub detail: String,
    /// When to ask the service again, where it or the token's own schedule says so.
    pub retry_after: Option<Duration>,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.operation.name(), self.service.name())?;
        match self.status {
            Some(status) => write!(f, " was answered with {status}")?,
            None => f.write_str(" has no answer")?,
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl Error {
    /// The error of `operation` that ended as `outcome`; every fault is made by [`fault::of`].
    pub(super) fn new(operation: Operation, outcome: Outcome<'_>, detail: &str) -> Self {
        let (fault, trouble) = fault::of(operation, outcome);
        let status = match outcome {
            Outcome::Status { code, .. } => Some(code),
            Outcome::LeaseOver
            | Outcome::Spent
            | Outcome::Unsent
            | Outcome::Unanswered
            | Outcome::Unintelligible => None,
        };
        Self {
            fault,
            service: operation.service(),
            operation,
            trouble,
            status,
            request_id: None,
            detail: scrub(detail, &[]),
            retry_after: None,
        }
    }

    pub(super) fn transport(operation: Operation, error: &TransportError) -> Self {
        match error {
            TransportError::Unsent(text) => Self::new(operation, Outcome::Unsent, text),
            TransportError::Unanswered(text) => Self::new(operation, Outcome::Unanswered, text),
            TransportError::Oversized(text) => {
                let error = Self::new(operation, Outcome::Unanswered, text);
                // Of the feed, less may be asked for; of an object there is no smaller part.
                let is_feed = operation.service() == Service::Events;
                let trouble = if is_feed {
                    Some(Trouble::Oversized)
                } else {
                    error.trouble
                };
                Self { trouble, ..error }
            }
        }
    }

    pub(super) fn lease_over(operation: Operation) -> Self {
        Self::new(
            operation,
            Outcome::LeaseOver,
            "the lease ended before the first byte",
        )
    }
}

/// Longest `detail`, in characters.
const LONGEST: usize = 200;

/// HID's words without what may be personal or secret: anything quoted, e-mail addresses, invitation codes, long opaque words, and the words of `personal`.
pub(super) fn scrub(text: &str, personal: &[&str]) -> String {
    let unquoted = without_quoted(text);
    let mut kept = String::new();
    for word in unquoted.split_whitespace() {
        if !kept.is_empty() {
            kept.push(' ');
        }
        if is_telling(word) {
            kept.push('…');
        } else {
            push_without(&mut kept, word, personal);
        }
    }
    kept.chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect()
}

/// Replaces what stands in quotation marks; an apostrophe within a word is none.
fn without_quoted(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        let close = match c {
            '"' | '`' => c,
            '“' | '„' => '”',
            '‘' => '’',
            '«' => '»',
            '\'' if !before.is_alphanumeric() => c,
            _ => {
                kept.push(c);
                before = c;
                continue;
            }
        };
        kept.push('…');
        while let Some(inner) = rest.next() {
            let inside = inner == '\'' && rest.peek().is_some_and(|next| next.is_alphanumeric());
            if inner == close && !inside {
                break;
            }
        }
        before = close;
    }
    kept
}

/// An address, a code, or something long enough to be a token.
fn is_telling(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    let is_opaque =
        bare.len() >= 24 && bare.chars().any(|c| c.is_ascii_digit()) && !bare.starts_with("urn:");
    word.contains('@') || word.contains("%40") || has_code(word) || is_opaque
}

/// Four blocks of four, whatever stands before or after them.
fn has_code(word: &str) -> bool {
    let mut parts = word.split(|c: char| !c.is_alphanumeric() && c != '-');
    parts.any(|part| {
        let blocks: Vec<&str> = part.split('-').collect();
        let is_block =
            |block: &&str| block.len() == 4 && block.chars().all(|c| c.is_ascii_alphanumeric());
        blocks.windows(4).any(|four| four.iter().all(is_block))
    })
}

fn push_without(kept: &mut String, word: &str, personal: &[&str]) {
    let is_personal = |part: &str| {
        personal
            .iter()
            .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
            .any(|own| !own.is_empty() && own.to_lowercase() == part.to_lowercase())
    };
    for piece in word.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let part = piece.trim_end_matches(|c: char| !c.is_alphanumeric());
        if is_personal(part) {
            kept.push('…');
            kept.push_str(&piece[part.len()..]);
        } else {
            kept.push_str(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrubbing_keeps_the_reason_and_drops_the_person() {
        let personal = ["Ada", "O'Kafor", "ada.okafor@tenant.example"];
        for (said, kept) in [
            ("Email already enrolled", "Email already enrolled"),
            ("User ada@tenant.example is enrolled", "User … is enrolled"),
            ("Email \"ada@tenant.example\" is taken", "Email … is taken"),
            ("name 'Ada O'Kafor' isn't valid", "name … isn't valid"),
            ("Ada's name, and ADA: Kafor", "…'s name, and …: …"),
            ("code AAAA-BBBB-CCCC-DDDD.", "code …"),
            ("code=AAAA-BBBB-CCCC-DDDD, for-AAAA-BBBB-CCCC-DDDD", "… …"),
            ("token opaqueAbc123opaqueAbc123+/=", "token …"),
            ("an \"open quote", "an …"),
            ("two\nlines\u{7}", "two lines"),
            ("", ""),
        ] {
            assert_eq!(scrub(said, &personal), kept, "{said}");
        }
        assert_eq!(scrub(&"é ".repeat(300), &[]).chars().count(), LONGEST);
    }
}
