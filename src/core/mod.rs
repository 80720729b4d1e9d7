//! What is decided, and nothing of how it is carried out: std, serde and uuid only.
//!
//! The aggregate is one [`Identity`] with its ACS users, parents, children and, for each credential
//! manager, an [`Enrollment`]: automation, CM user, invitations, phones and keys. Whatever reaches us
//! is an [`Observation`] of one identity; [`step()`] turns it into the next identity and into *all* that
//! is now owed to the outside, at most one [`Effect`] a [`Lane`]. No clock, no randomness, no I/O.
//!
//! Reading order: [`ids`], [`identity`], [`observation`], [`effect`], [`hold`], [`policy`], [`step`](mod@step),
//! [`wish`], [`answer`], [`event`], [`phones`], [`drift`], [`plan`], [`record`], [`state`], [`change`], [`announce`], [`orphans`], [`index`], [`backoff`], [`window`], [`forecast`], [`stock`].

pub mod announce;
pub mod answer;
pub mod backoff;
pub mod change;
pub mod drift;
pub mod effect;
pub mod event;
pub mod forecast;
pub mod hold;
pub mod identity;
pub mod ids;
pub mod index;
pub mod observation;
pub mod orphans;
pub mod phones;
pub mod plan;
pub mod policy;
pub mod record;
pub mod seen;
pub mod state;
pub mod step;
pub mod stock;
pub mod window;
pub mod wish;

pub use effect::{Class, Effect, Lane, Owed};
pub use identity::{Enrollment, Identity};
pub use ids::Timestamp;
pub use observation::{Answer, Fault, Observation};
pub use policy::Policy;
pub use step::{Step, step};
