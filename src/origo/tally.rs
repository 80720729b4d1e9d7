//! How often HID was called, and how that went: exact, for as long as the process lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::fault::Operation;
use super::transport::{Sending, Transport, TransportError};

/// Counts of requests, by what they asked for and how they ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<BTreeMap<(Operation, Ended), u64>>>);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Status(u16),
    Unsent,
    Unanswered,
    Oversized,
}

/// So many requests of one sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// What they asked for.
    pub operation: Operation,
    /// HTTP's status; `unsent`, `unanswered` or `oversized` where there was no answer of use.
    pub outcome: String,
    /// How many.
    pub count: u64,
}

impl Tally {
    /// The same way to HID, with each request counted.
    pub(super) fn over(&self, transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
        Arc::new(Counted {
            transport,
            tally: self.clone(),
        })
    }

    /// In the order of operations.
    pub(super) fn requests(&self) -> Vec<Requests> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = counts.iter().map(|((operation, ended), count)| Requests {
            operation: *operation,
            outcome: ended.name(),
            count: *count,
        });
        requests.collect()
    }

    fn note(&self, operation: Operation, answer: &Result<http::Response<Bytes>, TransportError>) {
        let ended = match answer {
            Ok(answer) => Ended::Status(answer.status().as_u16()),
            Err(TransportError::Unsent(_)) => Ended::Unsent,
            Err(TransportError::Unanswered(_)) => Ended::Unanswered,
            Err(TransportError::Oversized(_)) => Ended::Oversized,
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((operation, ended)).or_default() += 1;
    }
}

impl Ended {
    fn name(self) -> String {
        match self {
            Self::Status(code) => code.to_string(),
            Self::Unsent => "unsent".to_owned(),
            Self::Unanswered => "unanswered".to_owned(),
            Self::Oversized => "oversized".to_owned(),
        }
    }
}

struct Counted {
    transport: Arc<dyn Transport>,
    tally: Tally,
}

impl Transport for Counted {
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_> {
        // A login is made by a crate that knows no operations.
        let operation = request.extensions().get().copied();
        let operation = operation.unwrap_or(Operation::Token);
        Box::pin(async move {
            let answer = self.transport.send(request).await;
            self.tally.note(operation, &answer);
            answer
        })
    }
}
