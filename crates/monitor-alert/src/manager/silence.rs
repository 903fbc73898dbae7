//! Silences: alerts of which nobody is told for a while.

use super::matcher::{MatcherText, all_match};
use crate::Labels;
use monitor_model::Matcher;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Silences kept at once, ended ones included.
pub const MAX_SILENCES: usize = 10_000;

/// Matchers of one silence.
pub const MAX_MATCHERS: usize = 50;

/// Bytes of a comment or an author.
const MAX_TEXT: usize = 8 << 10;

/// How long an ended silence is still listed (Alertmanager: `--data.retention`).
pub const KEPT_MS: u64 = 120 * 3_600 * 1_000;

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceState {
    /// It begins later.
    Pending,
    /// It silences.
    Active,
    /// It has ended.
    Expired,
}

impl SilenceState {
    /// `pending`, `active`, `expired`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }
}

/// One silence. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id; empty in a request for a new one.
    #[serde(default)]
    pub id: String,
    /// All must match.
    pub matchers: Vec<MatcherText>,
    /// When it begins.
    pub starts_at_ms: u64,
    /// When it ends.
    pub ends_at_ms: u64,
    /// When it was changed last.
    pub updated_at_ms: u64,
    /// By whom it was made.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// Where it stands.
    pub fn state(&self, now_ms: u64) -> SilenceState {
        if now_ms >= self.ends_at_ms {
            SilenceState::Expired
        } else if now_ms < self.starts_at_ms {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }

    /// What would be refused, as one sentence.
    fn check(&self, now_ms: u64) -> Result<Vec<Matcher>, String> {
        if self.matchers.is_empty() || self.matchers.len() > MAX_MATCHERS {
            return Err(format!("a silence has 1 to {MAX_MATCHERS} matchers, not {}", self.matchers.len()));
        }
        let mut compiled = Vec::with_capacity(self.matchers.len());
        for matcher in &self.matchers {
            if matcher.name.is_empty() {
                return Err("a matcher without a label's name".to_owned());
            }
            compiled.push(matcher.compile()?);
        }
        if compiled.iter().all(Matcher::matches_empty) {
            return Err("all matchers match the empty value, so that it would silence everything; hint: name a value, `alertname=~\".+\"` for all".to_owned());
        }
        if self.ends_at_ms <= now_ms {
            return Err("its end lies in the past".to_owned());
        }
        if self.starts_at_ms >= self.ends_at_ms {
            return Err("it ends before it begins".to_owned());
        }
        if self.comment.trim().is_empty() || self.created_by.trim().is_empty() {
            return Err("it needs a comment and an author; hint: whoever finds it must know why".to_owned());
        }
        if self.comment.len() > MAX_TEXT || self.created_by.len() > MAX_TEXT {
            return Err(format!("comment or author is longer than {MAX_TEXT} bytes"));
        }
        Ok(compiled)
    }
}

/// All silences. Serialises.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Silence>", into = "Vec<Silence>")]
pub struct Silences(BTreeMap<String, (Silence, Vec<Matcher>)>);

impl PartialEq for Silences {
    fn eq(&self, other: &Self) -> bool {
        self.all().eq(other.all())
    }
}

impl From<Vec<Silence>> for Silences {
    fn from(list: Vec<Silence>) -> Self {
        let compile = |silence: &Silence| {
            silence.matchers.iter().map(MatcherText::compile).collect::<Result<Vec<_>, _>>()
        };
        // One whose matchers this version cannot read would silence what nobody asked for.
        let read = list.into_iter().filter_map(|s| compile(&s).ok().map(|m| (s.id.clone(), (s, m))));
        Self(read.collect())
    }
}

impl From<Silences> for Vec<Silence> {
    fn from(silences: Silences) -> Self {
        silences.0.into_values().map(|(silence, _)| silence).collect()
    }
}

impl Silences {
    /// Adds a silence, or changes the one whose id it has; gives its id, which is
    /// another one where the change would rewrite what was silenced (as in
    /// Alertmanager). `fresh_id` names it where it is new.
    pub fn set(&mut self, mut silence: Silence, fresh_id: &str, now_ms: u64) -> Result<String, String> {
        let known = match silence.id.as_str() {
            "" => None,
            id => Some(
                self.0
                    .get(id)
                    .map(|(known, _)| known.clone())
                    .ok_or_else(|| format!("silence `{id}` not found"))?,
            ),
        };
        silence.starts_at_ms = match &known {
            Some(known) if silence.starts_at_ms == known.starts_at_ms => known.starts_at_ms,
            _ => silence.starts_at_ms.max(now_ms),
        };
        silence.updated_at_ms = now_ms;
        let matchers = silence.check(now_ms)?;
        let same_subject = known.as_ref().is_some_and(|known| {
            let begun_same =
                known.state(now_ms) == SilenceState::Pending || known.starts_at_ms == silence.starts_at_ms;
            known.matchers == silence.matchers && begun_same && known.state(now_ms) != SilenceState::Expired
        });
        if !same_subject {
            if let Some(known) = &known
                && known.state(now_ms) != SilenceState::Expired
            {
                self.expire(&known.id, now_ms)?;
            }
            if self.0.len() >= MAX_SILENCES {
                return Err(format!("there are {MAX_SILENCES} silences already; hint: let some expire"));
            }
            silence.id = fresh_id.to_owned();
        }
        let id = silence.id.clone();
        self.0.insert(id.clone(), (silence, matchers));
        Ok(id)
    }

    /// Ends a silence now.
    pub fn expire(&mut self, id: &str, now_ms: u64) -> Result<(), String> {
        let (silence, _) = self.0.get_mut(id).ok_or_else(|| format!("silence `{id}` not found"))?;
        match silence.state(now_ms) {
            SilenceState::Expired => return Err(format!("silence `{id}` already expired")),
            SilenceState::Pending => silence.starts_at_ms = now_ms,
            SilenceState::Active => {}
        }
        silence.ends_at_ms = now_ms;
        silence.updated_at_ms = now_ms;
        Ok(())
    }

    /// One silence.
    pub fn get(&self, id: &str) -> Option<&Silence> {
        self.0.get(id).map(|(silence, _)| silence)
    }

    /// All of them, by id.
    pub fn all(&self) -> impl Iterator<Item = &Silence> {
        self.0.values().map(|(silence, _)| silence)
    }

    /// The ids of the silences that silence these labels now.
    pub fn of(&self, labels: &Labels, now_ms: u64) -> Vec<&str> {
        let active = self.0.values().filter(|(silence, _)| silence.state(now_ms) == SilenceState::Active);
        active
            .filter(|(_, matchers)| all_match(matchers, labels))
            .map(|(silence, _)| silence.id.as_str())
            .collect()
    }

    /// Forgets what ended long ago.
    pub fn forget(&mut self, now_ms: u64) {
        self.0.retain(|_, (silence, _)| now_ms < silence.ends_at_ms.saturating_add(KEPT_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(matcher: &str, starts_at_ms: u64, ends_at_ms: u64) -> Silence {
        Silence {
            id: String::new(),
            matchers: super::super::matcher::parse(matcher).unwrap(),
            starts_at_ms,
            ends_at_ms,
            updated_at_ms: 0,
            created_by: "me".into(),
            comment: "why".into(),
        }
    }

    fn labels(severity: &str) -> Labels {
        vec![("alertname".into(), "x".into()), ("severity".into(), severity.into())]
    }

    #[test]
    fn from_pending_to_expired() {
        let mut silences = Silences::default();
        let id = silences.set(silence("severity=~\"warn|info\"", 2_000, 5_000), "s1", 1_000).unwrap();
        assert_eq!(id, "s1");
        let of = |silences: &Silences, severity: &str, at| silences.of(&labels(severity), at).len();
        assert_eq!(
            (of(&silences, "warn", 1_999), of(&silences, "warn", 2_000), of(&silences, "page", 2_000)),
            (0, 1, 0)
        );
        assert_eq!(of(&silences, "warn", 5_000), 0);
        // Made longer in place; other matchers make another one.
        let mut longer = silences.get("s1").unwrap().clone();
        longer.ends_at_ms = 9_000;
        assert_eq!(silences.set(longer, "s2", 3_000).unwrap(), "s1");
        assert_eq!(of(&silences, "warn", 8_000), 1);
        let mut other = silences.get("s1").unwrap().clone();
        other.matchers = vec![MatcherText::equal("severity", "page")];
        assert_eq!(silences.set(other, "s2", 4_000).unwrap(), "s2");
        assert_eq!((of(&silences, "warn", 4_000), of(&silences, "page", 4_000)), (0, 1));
        let saved: Silences = serde_json::from_str(&serde_json::to_string(&silences).unwrap()).unwrap();
        assert_eq!(saved, silences);
        silences.expire("s2", 4_500).unwrap();
        assert!(silences.expire("s2", 4_600).unwrap_err().contains("already expired"));
        assert!(silences.expire("s9", 4_600).unwrap_err().contains("not found"));
        silences.forget(4_500 + KEPT_MS);
        assert_eq!(silences.all().count(), 0);
    }

    #[test]
    fn what_is_refused() {
        let mut silences = Silences::default();
        let cases = [
            (silence("", 0, 10), "1 to 50 matchers"),
            (silence("a=~\".*\"", 0, 10), "silence everything"),
            (silence("a=b", 20, 10), "ends before"),
            (silence("a=b", 0, 5), "in the past"),
            (Silence { comment: " ".into(), ..silence("a=b", 0, 10) }, "comment"),
            (Silence { id: "nope".into(), ..silence("a=b", 0, 10) }, "not found"),
        ];
        for (silence, expected) in cases {
            let why = silences.set(silence, "id", 5).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
