//! A simulator of HID Origo: an independent witness of what the adapter does.
//!
//! It is written from `origo-api.md` and `origo-lifecycles.md` alone and shares no code, wire type or rule with the
//! client or the core: it imports nothing of this crate outside this folder. What the documents leave open is a
//! switch in [`Settings`]; what can go wrong is a [`Fault`].
//!
//! The model is pure: [`Hid::handle`] takes the time and a request and returns a [`Reply`]. The same seed and the
//! same requests give the same answers. [`Server`] puts it behind a listener.
//!
//! Where to look:
//! - `hid`: one request from arrival to reply, and where faults strike; `guard`: windows, tokens, headers
//! - `routes`: paths to endpoint classes; `answer`: replies, error bodies, times; `shapes`: records as JSON
//! - `model`: the records; `clockwork`: what happens later by itself; `phone`, `portal`: the hands of others
//! - `users`, `invitations`, `containers`, `credentials`, `part_numbers`, `organization`, `token`, `events`, `feed`: endpoints
//! - `callbacks`: who registered for events, and what is posted to them
//! - `scim`: the search language; `ledger`: the witness's own record and its complaints
//! - `server`, `control`: the HTTP shell and the handle for tests

mod answer;
mod assertion;
mod callbacks;
mod clockwork;
mod containers;
mod control;
mod credentials;
mod events;
mod faults;
mod feed;
mod guard;
mod hid;
mod invitations;
mod ledger;
mod model;
mod organization;
mod part_numbers;
mod phone;
mod portal;
mod rng;
mod routes;
mod scim;
mod server;
mod settings;
mod shapes;
mod token;
mod users;

pub use callbacks::{Delivery, Post};
pub use faults::{Fault, Faults};
pub use hid::{Hid, Reply};
pub use ledger::{
    ActiveContainer, Cause, Effect, Entry, Ledger, LiveCredential, RequestRecord, Violation,
};
pub use model::{ContainerStatus, CredentialStatus, Device, InvitationStatus, Refused, UserStatus};
pub use phone::{PendingInvitation, RedeemError};
pub use portal::PortalError;
pub use routes::{Class, Service};
pub use server::Server;
pub use settings::{
    ApplicationHeaders, CallbackAuthentication, DetailField, DuplicateIssue, EventBounds,
    EventOrder, InvitationIdInEvents, MediaTypes, NumberForm, Organization, PartNumber,
    PhoneRemoval, RevokedVisibility, Settings, Window, WindowKey, WindowKind, Windows,
};
