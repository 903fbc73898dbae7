//! The WAF's audit log, where the rules (`SecAudit…`) or the site's file ask for one.

use crate::compiled::Waf;
use crate::line_log::{LineLog, Settings};
use arc_swap::ArcSwapOption;
use role::Counter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waf_engine::AuditRecord;

/// The log is renamed to `.1` when it grows beyond this; five are kept.
const ROTATE_AT: u64 = 64 << 20;
const KEEP: u32 = 5;

/// Where audit records go.
pub(crate) struct AuditLog {
    log: LineLog,
    /// Paths that are not absolute begin here.
    state_dir: PathBuf,
    /// The folder of a log of one file each (`SecAuditLogType Concurrent`).
    folder: ArcSwapOption<PathBuf>,
}

impl AuditLog {
    pub(crate) fn start(waf: Option<&Waf>, state_dir: &Path, dropped: Arc<Counter>) -> std::io::Result<Self> {
        let log = LineLog::start("waf-audit", settings(waf, state_dir), dropped)?;
        let folder = ArcSwapOption::new(folder(waf, state_dir).map(Arc::new));
        Ok(Self { log, state_dir: state_dir.to_owned(), folder })
    }

    /// A revision's rules may say otherwise.
    pub(crate) fn change(&self, before: Option<&Waf>, now: Option<&Waf>) {
        let wanted = settings(now, &self.state_dir);
        if wanted != settings(before, &self.state_dir) {
            self.log.change(wanted);
        }
        self.folder.store(folder(now, &self.state_dir).map(Arc::new));
    }

    /// Queues a record. In a log of one file each, `SecAuditLog` names their index.
    pub(crate) fn write(&self, record: AuditRecord) {
        let Some(folder) = &*self.folder.load() else {
            return self.log.write_text(record.text.into_bytes());
        };
        let now_ms = sys::clock::now_ms();
        let path = folder.join(name(&record.id, now_ms));
        let line = serde_json::json!({ "at_ms": now_ms, "id": record.id, "file": path });
        self.log.write_file(path, record.text.into_bytes());
        if self.log.is_on() {
            self.log.write(&line);
        }
    }

    pub(crate) fn finish(&self) {
        self.log.finish();
    }
}

fn settings(waf: Option<&Waf>, state_dir: &Path) -> Option<Settings> {
    let path = waf?.engine()?.audit().path.as_ref()?;
    Some(Settings { path: state_dir.join(path), rotate_at: ROTATE_AT, keep: KEEP, mode: 0o600 })
}

fn folder(waf: Option<&Waf>, state_dir: &Path) -> Option<PathBuf> {
    let audit = waf?.engine()?.audit();
    let folder = audit.storage_dir.as_ref().filter(|_| audit.concurrent == Some(true))?;
    Some(state_dir.join(folder))
}

/// `20261123/20261123-1004-ID`: a folder a day, so that none grows without a bound.
fn name(id: &str, now_ms: u64) -> PathBuf {
    let (days, minute) = (now_ms / 86_400_000, now_ms / 60_000 % 1_440);
    let (year, month, day) = civil(days);
    let date = format!("{year:04}{month:02}{day:02}");
    // The id may be a proxy's: letters, digits and a few signs, but it begins no path.
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let id: String = id.chars().map(plain).take(128).collect();
    PathBuf::from(&date).join(format!("{date}-{:02}{:02}-{id}", minute / 60, minute % 60))
}

/// The Gregorian date of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_records() {
        let cases = [
            ("06H0ERDX5D74DVRSFFEZ", 1_795_428_243_000, "20261123/20261123-1004-06H0ERDX5D74DVRSFFEZ"),
            ("../../x", 951_782_400_000, "20000229/20000229-0000-______x"),
            ("a", 0, "19700101/19700101-0000-a"),
        ];
        for (id, now_ms, expected) in cases {
            assert_eq!(name(id, now_ms), PathBuf::from(expected));
        }
    }
}
