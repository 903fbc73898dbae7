//! The book of uptime: for each service and day how often it was tried and was well,
//! and its incidents. Ninety days of it are what the status page shows.
//!
//! Kept beside the store, because it must outlive the samples' retention; it holds
//! nothing that the page may not show: names, counts, times.

use crate::state::{State, lock};
use monitor_promql::{Answer, Error, Query};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Days that are kept and shown.
pub(crate) const DAYS: i64 = 90;

/// Services in the book; more are not noted.
const MAX_SERVICES: usize = 500;

/// Incidents of a service that are remembered.
const MAX_INCIDENTS: usize = 100;

/// Failures that follow one another before it is an incident: one may be the probe's.
const FAILURES: u32 = 2;

pub(crate) const DAY_MS: i64 = 86_400_000;

/// The service that stands for the whole: the edge with all its pools.
pub(crate) const SITE: &str = "Website";

/// All services, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Uptime {
    pub(crate) services: BTreeMap<String, Service>,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    /// By day since 1970 (UTC).
    pub(crate) days: BTreeMap<i64, Day>,
    /// The oldest first; the last may still be open.
    pub(crate) incidents: Vec<Incident>,
    /// Failures since the last success, and when the first of them was.
    #[serde(default)]
    pub(crate) failures: u32,
    #[serde(default)]
    pub(crate) failing_since_ms: u64,
    /// When it was tried last.
    #[serde(default)]
    pub(crate) at_ms: u64,
}

/// One day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Day {
    /// How often it was tried.
    pub(crate) tried: u32,
    /// How often it was well.
    pub(crate) well: u32,
}

/// A time in which a service was not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incident {
    /// Unix milliseconds.
    pub(crate) began_ms: u64,
    /// None while it lasts.
    pub(crate) ended_ms: Option<u64>,
}

impl Uptime {
    /// Reads the book. One that is damaged is named, set aside, and begun anew.
    pub(crate) fn load(file: &Path) -> Result<Self, String> {
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(format!("cannot read `{}`: {error}", file.display())),
        };
        serde_json::from_slice(&text).map_err(|error| {
            let aside = file.with_extension("damaged");
            let _ = std::fs::rename(file, &aside);
            format!("`{}` is damaged ({error}); it is set aside as `{}`", file.display(), aside.display())
        })
    }

    pub(crate) fn save(&self, file: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        sys::file::write_atomic(file, &text, 0o600)
    }

    /// Notes one try.
    pub(crate) fn note(&mut self, name: &str, at_ms: u64, well: bool) {
        if !self.services.contains_key(name) && self.services.len() >= MAX_SERVICES {
            return;
        }
        let service = self.services.entry(name.to_owned()).or_default();
        let today = at_ms as i64 / DAY_MS;
        let day = service.days.entry(today).or_default();
        day.tried = day.tried.saturating_add(1);
        day.well = day.well.saturating_add(u32::from(well));
        // A clock that jumped ahead and came back leaves no days behind that are to come.
        service.days.retain(|day, _| (today - DAYS + 1..=today + 1).contains(day));
        service.at_ms = at_ms;
        let open = service.incidents.last_mut().filter(|incident| incident.ended_ms.is_none());
        match (well, open) {
            (true, open) => {
                service.failures = 0;
                if let Some(incident) = open {
                    incident.ended_ms = Some(at_ms.max(incident.began_ms));
                }
            }
            (false, Some(_)) => {}
            (false, None) => {
                service.failures += 1;
                if service.failures == 1 {
                    service.failing_since_ms = at_ms;
                }
                if service.failures >= FAILURES {
                    service.incidents.push(Incident { began_ms: service.failing_since_ms, ended_ms: None });
                }
            }
        }
        let forget = service.incidents.len().saturating_sub(MAX_INCIDENTS);
        service.incidents.drain(..forget);
        let oldest_ms = (today - DAYS) * DAY_MS;
        service.incidents.retain(|incident| incident.ended_ms.is_none_or(|ended| ended as i64 >= oldest_ms));
    }
}

impl Service {
    /// Whether it was well when it was tried last.
    pub(crate) fn is_well(&self) -> bool {
        self.incidents.last().is_none_or(|incident| incident.ended_ms.is_some())
    }

    /// Of all tries in the book, as a fraction; none where there were none.
    pub(crate) fn uptime(&self) -> Option<f64> {
        let (tried, well) = self.days.values().fold((0_u64, 0_u64), |(tried, well), day| {
            (tried + u64::from(day.tried), well + u64::from(day.well))
        });
        (tried > 0).then(|| well as f64 / tried as f64)
    }
}

/// Notes how the site itself is, where this monitor watches an edge: well is that the
/// edge answers and each of its pools has a server.
pub(crate) async fn look_at_site(state: &Arc<State>) {
    let plan = state.plan();
    if !plan.site.targets.iter().any(|target| target.job == "edge") {
        return;
    }
    const WELL: &str = "max(up{job=\"edge\"}) * (min(max by (pool) (bastide_edge_server_up)) or vector(1))";
    let now_ms = sys::clock::now_ms();
    let asked = state.queries.run(Duration::from_secs(10), move |store, options| {
        let outcome = Query::parse(WELL)?.instant(store, now_ms as i64, options)?;
        let Answer::Vector(samples) = outcome.answer else { return Ok(None) };
        Ok::<_, Error>(samples.first().and_then(|sample| sample.float()))
    });
    // Without an answer nothing is known, and nothing is noted.
    if let Ok(Some(value)) = asked.await {
        lock(&state.uptime).note(SITE, now_ms, value >= 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = DAY_MS as u64;

    #[test]
    fn tries_become_days_and_incidents() {
        let mut book = Uptime::default();
        let at = |day: u64, minute: u64| day * DAY + minute * 60_000;
        for minute in 0..10 {
            book.note("shop", at(100, minute), minute != 4);
        }
        let shop = &book.services["shop"];
        assert_eq!(shop.days[&100], Day { tried: 10, well: 9 });
        assert!(shop.incidents.is_empty(), "one failure is none");
        for minute in 10..15 {
            book.note("shop", at(100, minute), false);
        }
        assert!(!book.services["shop"].is_well());
        book.note("shop", at(101, 0), true);
        let shop = &book.services["shop"];
        let incident = Incident { began_ms: at(100, 10), ended_ms: Some(at(101, 0)) };
        assert_eq!((shop.incidents.as_slice(), shop.is_well()), (&[incident][..], true));
        assert_eq!(shop.uptime(), Some(10.0 / 16.0));
        for day in 102..300 {
            book.note("shop", at(day, 0), true);
        }
        let shop = &book.services["shop"];
        assert_eq!((shop.days.len(), shop.incidents.len()), (90, 0));
        // A clock that jumps a year ahead and comes back.
        book.note("shop", at(700, 0), true);
        book.note("shop", at(299, 1), true);
        assert_eq!(book.services["shop"].days.keys().copied().collect::<Vec<_>>(), [299]);
    }

    #[test]
    fn the_book_is_bounded_and_survives() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("uptime.json");
        assert_eq!(Uptime::load(&file), Ok(Uptime::default()));
        let mut book = Uptime::default();
        for n in 0..600 {
            book.note(&format!("service {n}"), 5, true);
        }
        for n in 0..1_000 {
            book.note("service 1", n * 1_000, n % 5 < 2);
        }
        assert_eq!((book.services.len(), book.services["service 1"].incidents.len()), (500, 100));
        book.save(&file).unwrap();
        assert_eq!(Uptime::load(&file), Ok(book));
        std::fs::write(&file, "{").unwrap();
        assert!(Uptime::load(&file).unwrap_err().contains("set aside"));
        assert_eq!(Uptime::load(&file), Ok(Uptime::default()));
    }
}
