//! The table of faults: one row per (operation, outcome).

use super::Operation::{
    CancelInvitation, CreateCallback, CreateFilter, CreateInvitation, CreateUser, DeleteCallback,
    DeletePhone, DeleteUser, EmailInvitation, Events, Issue, ListCallbacks, ListFilters,
    ListPartNumbers, Organization, ReadCredential, ReadInvitation, ReadPartNumber, ReadPhone,
    ReadUser, Revoke, SearchUser, Token, UpdateUser,
};
use super::Outcome::{LeaseOver, Spent, Unanswered, Unintelligible, Unsent};
use super::Trouble::{Credentials, ServerError, TimedOut, Unauthorized, Unreachable, Window};
use super::*;
use Fault::{Already, Busy, Conflict, Gone, OutOfStock, Refused, Rejected, WrongState};

const READS: [Operation; 11] = [
    Organization,
    ListPartNumbers,
    ReadPartNumber,
    SearchUser,
    ReadUser,
    ReadInvitation,
    ReadPhone,
    ReadCredential,
    Events,
    ListFilters,
    ListCallbacks,
];
const CREATES: [Operation; 5] = [
    CreateUser,
    CreateInvitation,
    Issue,
    CreateFilter,
    CreateCallback,
];
const CHANGES: [Operation; 2] = [UpdateUser, EmailInvitation];
const ENDS: [Operation; 5] = [
    DeleteUser,
    CancelInvitation,
    DeletePhone,
    Revoke,
    DeleteCallback,
];

fn said(code: u16, detail: &str) -> Outcome<'_> {
    Outcome::Status { code, detail }
}

fn status(code: u16) -> Outcome<'static> {
    said(code, "")
}

type Row = (
    &'static [Operation],
    Outcome<'static>,
    Fault,
    Option<Trouble>,
);

fn check(rows: &[Row]) {
    for (operations, outcome, fault, trouble) in rows {
        for operation in *operations {
            assert_eq!(
                of(*operation, *outcome),
                (*fault, *trouble),
                "{operation:?} {outcome:?}"
            );
        }
    }
}

#[test]
fn what_concerns_the_service() {
    let doubt = Fault::Unanswered;
    let writes: &[&'static [Operation]] = &[&CREATES, &CHANGES, &ENDS];
    let mut rows: Vec<Row> = vec![
        (&READS, LeaseOver, Refused, Some(Trouble::LeaseOver)),
        (&READS, Unsent, Refused, Some(Unreachable)),
        (&READS, Unanswered, Refused, Some(TimedOut)),
        (&READS, Unintelligible, Refused, Some(ServerError)),
        (&READS, status(500), Refused, Some(ServerError)),
        (&READS, status(503), Refused, Some(ServerError)),
        (&READS, status(408), Refused, Some(ServerError)),
        (&READS, status(401), Refused, Some(Unauthorized)),
        (&READS, status(403), Refused, Some(Window)),
        (&READS, status(429), Refused, Some(Window)),
    ];
    for set in writes {
        rows.extend([
            (*set, LeaseOver, Refused, Some(Trouble::LeaseOver)),
            (*set, Unsent, Refused, Some(Unreachable)),
            (*set, Unanswered, doubt, Some(TimedOut)),
            (*set, Unintelligible, doubt, None),
            (*set, status(500), doubt, Some(ServerError)),
            (*set, status(502), doubt, Some(ServerError)),
            (*set, status(503), doubt, Some(ServerError)),
            (*set, status(504), doubt, Some(ServerError)),
            (*set, status(408), doubt, Some(ServerError)),
            (*set, status(401), Refused, Some(Unauthorized)),
            (*set, status(403), Refused, Some(Window)),
            (*set, status(429), Refused, Some(Window)),
        ]);
    }
    check(&rows);
}

#[test]
fn what_concerns_the_login() {
    let token: &[Operation] = &[Token];
    check(&[
        (token, Spent, Refused, Some(Window)),
        (token, Unsent, Refused, Some(Unreachable)),
        (token, Unanswered, Refused, Some(TimedOut)),
        (token, Unintelligible, Refused, Some(ServerError)),
        (token, status(400), Refused, Some(Credentials)),
        (token, status(401), Refused, Some(Credentials)),
        (token, status(404), Refused, Some(Credentials)),
        (token, status(403), Refused, Some(Window)),
        (token, status(429), Refused, Some(Window)),
        (token, status(302), Refused, Some(ServerError)),
        (token, status(408), Refused, Some(ServerError)),
        (token, status(500), Refused, Some(ServerError)),
        (token, status(503), Refused, Some(ServerError)),
    ]);
}

#[test]
fn what_concerns_the_object() {
    let other = Rejected(Rejection::Other);
    let user_data = Rejected(Rejection::UserData);
    let part_number = Rejected(Rejection::PartNumber);
    let (create, people): (&[_], &[_]) = (&[CreateUser], &[CreateUser, UpdateUser]);
    let (invite, issue): (&[_], &[_]) = (&[CreateInvitation], &[Issue]);
    let collections: &[_] = &[
        CreateUser,
        SearchUser,
        Organization,
        ListPartNumbers,
        Events,
    ];
    let below: &[_] = &[
        ReadUser,
        UpdateUser,
        CreateInvitation,
        ReadPhone,
        Issue,
        EmailInvitation,
        CreateCallback,
    ];
    check(&[
        (below, status(404), Gone, None),
        (&ENDS, status(404), Gone, None),
        (collections, status(404), Refused, Some(ServerError)),
        (people, status(409), Conflict, None),
        (issue, status(409), Conflict, None),
        (people, status(400), user_data, None),
        (
            people,
            said(400, "Given name is too short"),
            user_data,
            None,
        ),
        (
            create,
            said(400, "Part number X does not have any credentials"),
            OutOfStock,
            None,
        ),
        (create, said(400, "Invalid partNumber"), part_number, None),
        (
            invite,
            said(400, "No DEFAULT part number"),
            part_number,
            None,
        ),
        (invite, said(400, "is out of stock"), OutOfStock, None),
        (invite, status(400), other, None),
        (issue, status(400), other, None),
        (&READS, status(400), other, None),
        (&ENDS, status(400), other, None),
        (&ENDS, status(412), Already, None),
        (&ENDS, said(412, "wrong state"), Already, None),
        (&READS, status(412), other, None),
        (&CHANGES, status(412), WrongState, None),
        (create, said(412, "Try again"), Busy, None),
        (
            invite,
            said(412, "user is in wrong state"),
            WrongState,
            None,
        ),
        (issue, status(412), WrongState, None),
        (issue, status(301), other, None),
        (issue, status(405), other, None),
        (issue, status(406), other, None),
        (issue, status(415), other, None),
        (&READS, status(307), other, None),
        (&READS, status(410), other, None),
    ]);
}

#[test]
fn why_a_phone_does_not_get_its_key() {
    let part_number = Rejected(Rejection::PartNumber);
    for (detail, fault) in [
        ("Part number is ALREADY DELIVERED in this state", Already),
        ("Already delivered, do not try again", Already),
        (
            "Maximum reached in state ACTIVE",
            Rejected(Rejection::PhoneFull),
        ),
        (
            "Types are Not Compatible",
            Rejected(Rejection::Incompatible),
        ),
        ("X is not associated to your company", part_number),
        ("There is no default part number", part_number),
        ("X does not have any credentials", OutOfStock),
        ("Credential is not available", Rejected(Rejection::Other)),
        ("Not available, try again", Busy),
        ("Could not assign, please TRY AGAIN", Busy),
        ("The container is in an invalid state", WrongState),
        ("Something new", WrongState),
        ("", WrongState),
    ] {
        assert_eq!(of(Issue, said(412, detail)), (fault, None), "{detail}");
    }
}
