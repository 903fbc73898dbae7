//! Alertmanager inside: who is told of which alerts, when, and when not.
//!
//! Alerts come from our rules ([`Manager::sync`]) or are pushed
//! ([`Manager::push`]); [`Manager::due`] gives the messages that are due, and
//! what became of each is said with [`Manager::delivered`] and
//! [`Manager::failed`]. A message that was not taken is tried again with what is
//! true then: there is never more than one in flight for a group and receiver,
//! and no queue that could grow.
//!
//! As Alertmanager's: routing, grouping, waiting, inhibition, silences,
//! repeating. Differences, on purpose: a receiver hears "resolved" only of what
//! it was told, and however long ago; an alert that was told and is then
//! silenced counts as told.
//!
//! Source: Alertmanager's documentation, "Configuration" and "Alerting overview".

pub mod config;
pub mod file;
pub mod inhibit;
pub mod interval;
pub mod matcher;
mod route;
pub mod silence;
mod state;

pub use config::{Config, Integration, Kind, Receiver};
pub use matcher::MatcherText;
pub use silence::{Silence, SilenceState, Silences};
pub use state::{
    Alert, Failure, Group, MAX_ALERTS, MAX_ALERTS_PER_MESSAGE, Manager, Message, Origin, Pushed, Status, Told,
};
