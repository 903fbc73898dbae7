//! Rules, compiled and shared by all workers.

use crate::action::Phase;
use crate::body::Kind;
use crate::error::LoadError;
use crate::rule::{Excluded, Rules};
use crate::settings::{BeyondLimit, Mode, Settings};
use crate::transaction::Transaction;
use crate::variable::{OF_BODY, RAW_BODY};
use edge_http::RequestHead;
use std::net::IpAddr;

/// All rules of the settings, compiled. Share it in an `Arc`.
#[derive(Debug)]
pub struct Engine {
    pub(crate) rules: Rules,
    pub(crate) mode: Mode,
    pub(crate) beyond_limit: BeyondLimit,
    /// Bytes of a body that are inspected.
    pub(crate) body_limit: usize,
    /// Places of the body that rules look at.
    of_body: u16,
}

impl Engine {
    /// Compiles the rules; all errors at once, in the order of files and lines.
    pub fn load(settings: &Settings) -> Result<Self, Vec<LoadError>> {
        let rules = Rules::load(&settings.files, &settings.exclude)?;
        let looked_at = rules.rules.iter().filter(|rule| rule.phase == Phase::Body);
        let targets = looked_at.flat_map(|rule| &rule.links).flat_map(|link| &link.targets.wanted);
        let of_body = targets.fold(0, |mask, target| mask | target.places()) & OF_BODY;
        let body_limit = usize::try_from(settings.body_limit.0).unwrap_or(usize::MAX);
        Ok(Self { mode: settings.mode, beyond_limit: settings.beyond_limit, body_limit, of_body, rules })
    }

    /// How many rules there are.
    pub fn rule_count(&self) -> usize {
        self.rules.rules.len()
    }

    /// How many bytes of a body [`Transaction::request_body`] looks at.
    pub fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// Whether any rule looks at the body that this head announces: if not, there
    /// is no need to hold it back.
    pub fn wants_body(&self, head: &RequestHead<'_>) -> bool {
        if Kind::of(head).gives_arguments() { self.of_body != 0 } else { self.of_body & RAW_BODY != 0 }
    }

    /// Begins the inspection of one request. `client` is the real client.
    pub fn begin(&self, client: IpAddr) -> Transaction<'_> {
        Transaction::new(self, client)
    }

    /// Whether one of the engine's own rules is let pass on this path.
    pub(crate) fn builtin_excluded(&self, rule: u64, path: &[u8]) -> bool {
        let exclusions = self.rules.builtin_exclusions.get(&rule);
        // An exclusion of one argument does not lift a limit on all of them.
        let lifts = |excluded: &Excluded| excluded.arg.is_none() && excluded.applies(path);
        exclusions.is_some_and(|all| all.iter().any(lifts))
    }
}
