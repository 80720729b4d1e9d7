//! From what the wire showed to what the core is told: one function, tested as a table.
//!
//! Its sources are origo-api.md 7, 10.2 and 10.3. HID's internal codes are not on the wire, so
//! fragments of `detail` are the only way to tell one 412 from another; they are matched without
//! regard to case, special ones before general ones.

use crate::core::observation::{Fault, Rejection};

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `POST {token}/authentication/customer/{org}/token`.
    Token,
    /// `GET /customer/{org}`.
    Organization,
    /// `GET /part-number`.
    ListPartNumbers,
    /// `GET /part-number/{id}`.
    ReadPartNumber,
    /// `POST /users`.
    CreateUser,
    /// `POST /users/.search`.
    SearchUser,
    /// `GET /users/{id}`.
    ReadUser,
    /// `PUT /users/{id}`.
    UpdateUser,
    /// `DELETE /users/{id}`.
    DeleteUser,
    /// `POST /users/{id}/invitation`.
    CreateInvitation,
    /// `GET /invitation/{id}`.
    ReadInvitation,
    /// `POST /invitation/{id}/email`.
    EmailInvitation,
    /// `DELETE /invitation/{id}`.
    CancelInvitation,
    /// `GET /credential-container/{id}`.
    ReadPhone,
    /// `DELETE /credential-container/{id}`.
    DeletePhone,
    /// `POST /credential-container/{id}/credential`.
    Issue,
    /// `GET /credential/{id}`.
    ReadCredential,
    /// `DELETE /credential/{id}`.
    Revoke,
    /// `GET {events}/organization/{org}/events`.
    Events,
    /// `GET {events}/organization/{org}/events/filter`.
    ListFilters,
    /// `POST {events}/organization/{org}/events/filter`.
    CreateFilter,
    /// `GET {callback}/organization/{org}/callback`.
    ListCallbacks,
    /// `POST {callback}/organization/{org}/callback`.
    CreateCallback,
    /// `DELETE {callback}/organization/{org}/callback/{id}`.
    DeleteCallback,
}

/// Which of HID's services a call goes to; each has its own window (origo-api.md 10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Logging in.
    Token,
    /// Users, invitations, phones, keys.
    MobileIdentities,
    /// The feed.
    Events,
}

/// What a refusal says of the service as a whole; the worker pauses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No connection; nothing was sent.
    Unreachable,
    /// No whole answer in time.
    TimedOut,
    /// 5xx, or an answer that can't be understood.
    ServerError,
    /// 403 or 429: the window is used up, or a permission is missing; the worker tells them apart.
    Window,
    /// 401 even after logging in again.
    Unauthorized,
    /// The token endpoint refuses the credentials: permanent until the configuration changes.
    Credentials,
    /// The feed answers with more than we take at once. Says nothing of the service.
    Oversized,
    /// The lease ended before the first byte; nothing was sent. Says nothing of the service.
    LeaseOver,
}

/// What became of one call that has no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The lease was over.
    LeaseOver,
    /// Our own share of the window is used up; nothing was sent.
    Spent,
    /// [`TransportError::Unsent`](super::TransportError::Unsent).
    Unsent,
    /// [`TransportError::Unanswered`](super::TransportError::Unanswered).
    Unanswered,
    /// A status other than 2xx.
    Status {
        /// HTTP's.
        code: u16,
        /// HID's `detail` or `message`, unshortened.
        detail: &'a str,
    },
    /// A 2xx whose body can't be understood.
    Unintelligible,
}

/// What a call does, as far as its failure is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Repeatable, without effect.
    Read,
    /// Makes something whose id is in the answer.
    Create,
    /// Changes what is there; the answer has nothing we need.
    Change,
    /// Ends something that may have ended already.
    End,
}

impl Operation {
    /// Where it goes.
    #[must_use]
    pub fn service(self) -> Service {
        match self {
            Self::Token => Service::Token,
            Self::Events
            | Self::ListFilters
            | Self::CreateFilter
            | Self::ListCallbacks
            | Self::CreateCallback
            | Self::DeleteCallback => Service::Events,
            Self::Organization
            | Self::ListPartNumbers
            | Self::ReadPartNumber
            | Self::CreateUser
            | Self::SearchUser
            | Self::ReadUser
            | Self::UpdateUser
            | Self::DeleteUser
            | Self::CreateInvitation
            | Self::ReadInvitation
            | Self::EmailInvitation
            | Self::CancelInvitation
            | Self::ReadPhone
            | Self::DeletePhone
            | Self::Issue
            | Self::ReadCredential
            | Self::Revoke => Service::MobileIdentities,
        }
    }

    /// Stable name, used in error texts and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Organization => "organization",
            Self::ListPartNumbers => "list_part_numbers",
            Self::ReadPartNumber => "read_part_number",
            Self::CreateUser => "create_user",
            Self::SearchUser => "search_user",
            Self::ReadUser => "read_user",
            Self::UpdateUser => "update_user",
            Self::DeleteUser => "delete_user",
            Self::CreateInvitation => "create_invitation",
            Self::ReadInvitation => "read_invitation",
            Self::EmailInvitation => "email_invitation",
            Self::CancelInvitation => "cancel_invitation",
            Self::ReadPhone => "read_phone",
            Self::DeletePhone => "delete_phone",
            Self::Issue => "issue",
            Self::ReadCredential => "read_credential",
            Self::Revoke => "revoke",
            Self::Events => "events",
            Self::ListFilters => "list_filters",
            Self::CreateFilter => "create_filter",
            Self::ListCallbacks => "list_callbacks",
            Self::CreateCallback => "create_callback",
            Self::DeleteCallback => "delete_callback",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Token
            | Self::Organization
            | Self::ListPartNumbers
            | Self::ReadPartNumber
            | Self::SearchUser
            | Self::ReadUser
            | Self::ReadInvitation
            | Self::ReadPhone
            | Self::ReadCredential
            | Self::Events
            | Self::ListFilters
            | Self::ListCallbacks => Kind::Read,
            Self::CreateUser
            | Self::CreateInvitation
            | Self::Issue
            | Self::CreateFilter
            | Self::CreateCallback => Kind::Create,
            Self::UpdateUser | Self::EmailInvitation => Kind::Change,
            Self::DeleteUser
            | Self::CancelInvitation
            | Self::DeletePhone
            | Self::Revoke
            | Self::DeleteCallback => Kind::End,
        }
    }

    /// Whether a 404 can be about an object; else it is about the organization or the address.
    fn names_an_object(self) -> bool {
        match self {
            Self::Token
            | Self::Organization
            | Self::ListPartNumbers
            | Self::CreateUser
            | Self::SearchUser
            | Self::Events
            | Self::ListFilters
            | Self::CreateFilter
            | Self::ListCallbacks => false,
            Self::ReadPartNumber
            | Self::ReadUser
            | Self::UpdateUser
            | Self::DeleteUser
            | Self::CreateInvitation
            | Self::ReadInvitation
            | Self::EmailInvitation
            | Self::CancelInvitation
            | Self::ReadPhone
            | Self::DeletePhone
            | Self::Issue
            | Self::ReadCredential
            | Self::Revoke
            | Self::CreateCallback
            | Self::DeleteCallback => true,
        }
    }

    /// The fault of a call that may have reached HID.
    fn in_doubt(self) -> Fault {
        match self.kind() {
            Kind::Read => Fault::Refused,
            Kind::Create | Kind::Change | Kind::End => Fault::Unanswered,
        }
    }
}

impl Service {
    /// Stable name, used in error texts and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::MobileIdentities => "mobile_identities",
            Self::Events => "events",
        }
    }
}

/// What the core is told of a call without a usable answer, and what the worker learns of the service.
#[must_use]
pub fn of(operation: Operation, outcome: Outcome<'_>) -> (Fault, Option<Trouble>) {
    match outcome {
        Outcome::LeaseOver => (Fault::Refused, Some(Trouble::LeaseOver)),
        Outcome::Spent => (Fault::Refused, Some(Trouble::Window)),
        Outcome::Unsent => (Fault::Refused, Some(Trouble::Unreachable)),
        Outcome::Unanswered => (operation.in_doubt(), Some(Trouble::TimedOut)),
        Outcome::Unintelligible => match operation.kind() {
            Kind::Read => (Fault::Refused, Some(Trouble::ServerError)),
            Kind::Create | Kind::Change | Kind::End => (Fault::Unanswered, None),
        },
        Outcome::Status { code, detail } => match (operation, code) {
            (_, 408 | 500..=599) => (operation.in_doubt(), Some(Trouble::ServerError)),
            (_, 403 | 429) => (Fault::Refused, Some(Trouble::Window)),
            (Operation::Token, 400..=499) => (Fault::Refused, Some(Trouble::Credentials)),
            (Operation::Token, _) => (Fault::Refused, Some(Trouble::ServerError)),
            (_, 401) => (Fault::Refused, Some(Trouble::Unauthorized)),
            (_, 404) if !operation.names_an_object() => {
                (Fault::Refused, Some(Trouble::ServerError))
            }
            (_, 404) => (Fault::Gone, None),
            (_, 409) => (Fault::Conflict, None),
            (_, 400) => (bad_request(operation, &detail.to_lowercase()), None),
            (_, 412) => (wrong_state(operation, &detail.to_lowercase()), None),
            (_, _) => (Fault::Rejected(Rejection::Other), None),
        },
    }
}

/// 400: our data, or a part number asked for with an invitation (origo-api.md 7).
fn bad_request(operation: Operation, detail: &str) -> Fault {
    let about_stock = || {
        let named = detail.contains("part number") || detail.contains("partnumber");
        stock(detail).or_else(|| named.then_some(Fault::Rejected(Rejection::PartNumber)))
    };
    match operation {
        Operation::CreateUser | Operation::UpdateUser => {
            about_stock().unwrap_or(Fault::Rejected(Rejection::UserData))
        }
        Operation::CreateInvitation | Operation::Issue => {
            about_stock().unwrap_or(Fault::Rejected(Rejection::Other))
        }
        Operation::Token
        | Operation::Organization
        | Operation::ListPartNumbers
        | Operation::ReadPartNumber
        | Operation::SearchUser
        | Operation::ReadUser
        | Operation::DeleteUser
        | Operation::ReadInvitation
        | Operation::EmailInvitation
        | Operation::CancelInvitation
        | Operation::ReadPhone
        | Operation::DeletePhone
        | Operation::ReadCredential
        | Operation::Revoke
        | Operation::Events
        | Operation::ListFilters
        | Operation::CreateFilter
        | Operation::ListCallbacks
        | Operation::CreateCallback
        | Operation::DeleteCallback => Fault::Rejected(Rejection::Other),
    }
}

/// 412 (origo-api.md 10.2). An unknown text counts as a wrong state: the core then reads.
fn wrong_state(operation: Operation, detail: &str) -> Fault {
    match operation.kind() {
        Kind::Read => Fault::Rejected(Rejection::Other),
        Kind::End => Fault::Already,
        Kind::Create | Kind::Change => phone(operation, detail)
            .or_else(|| stock(detail))
            .or_else(|| assignment(detail))
            .unwrap_or(Fault::WrongState),
    }
}

/// Words about a phone that is to get a key.
fn phone(operation: Operation, detail: &str) -> Option<Fault> {
    const CAUSES: [(&str, Fault); 3] = [
        ("already delivered", Fault::Already),
        ("maximum", Fault::Rejected(Rejection::PhoneFull)),
        ("not compatible", Fault::Rejected(Rejection::Incompatible)),
    ];
    (operation == Operation::Issue)
        .then(|| first(&CAUSES, detail))
        .flatten()
}

/// Words about part numbers and what is left of them.
fn stock(detail: &str) -> Option<Fault> {
    const CAUSES: [(&str, Fault); 4] = [
        ("does not have any", Fault::OutOfStock),
        ("out of stock", Fault::OutOfStock),
        (
            "not associated to your company",
            Fault::Rejected(Rejection::PartNumber),
        ),
        (
            "default part number",
            Fault::Rejected(Rejection::PartNumber),
        ),
    ];
    first(&CAUSES, detail)
}

/// Words about drawing a key. A named one that is not available is refused for good, but we never name one: where HID says both, it lost a race.
fn assignment(detail: &str) -> Option<Fault> {
    const CAUSES: [(&str, Fault); 2] = [
        ("try again", Fault::Busy),
        ("not available", Fault::Rejected(Rejection::Other)),
    ];
    first(&CAUSES, detail)
}

/// The fault of the first fragment that `detail`, in lower case, contains.
fn first(causes: &[(&str, Fault)], detail: &str) -> Option<Fault> {
    causes
        .iter()
        .find_map(|(fragment, fault)| detail.contains(fragment).then_some(*fault))
}

#[cfg(test)]
mod tests;
