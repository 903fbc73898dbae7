//! Rules, loaded: what all workers share.

use crate::compile::{Shortcuts, compile};
use crate::kept::Collections;
use crate::program::Program;
use crate::settings::{BeyondLimit, Exclusion, Mode, Settings};
use crate::transaction::{Connection, Transaction, Workspace};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use waf_lang::LoadError;
use waf_lang::model::{self, Directives, EngineMode, Note};

/// Compiled rules with their settings. Shared by all workers; nothing in it changes.
#[derive(Debug)]
pub struct Engine {
    pub(crate) program: Program,
    pub(crate) directives: Directives,
    pub(crate) mode: Mode,
    pub(crate) limits: crate::settings::Limits,
    pub(crate) body_limits: waf_body::Limits,
    pub(crate) exclusions: Vec<Exclusion>,
    pub(crate) collections: Arc<Collections>,
    pub(crate) processors_by_content_type: bool,
    pub(crate) raw_body: crate::settings::RawBody,
    /// Tells workspaces whose scratches they hold.
    pub(crate) number: u64,
    pub(crate) scores: Scores,
    pub(crate) used_scalars: Vec<model::Variable>,
    pub(crate) audit_setup: crate::audit::Setup,
    notes: Vec<Note>,
}

/// The slots of `TX` in which the Core Rule Set counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scores {
    pub(crate) inbound: [Option<u32>; 2],
    pub(crate) outbound: [Option<u32>; 2],
}

/// Ids of the engine's own rules: of a range that no rule set has reserved.
pub mod builtin {
    /// The request is beyond its budget: values, work, memory or time.
    pub const TOO_MUCH: u64 = 1_000_010;
    /// The body is not what its Content-Type says, and no rule looks at `REQBODY_ERROR`.
    pub const UNREADABLE_BODY: u64 = 1_000_011;
    /// The body is larger than the limit.
    pub const BODY_TOO_LARGE: u64 = 1_000_012;
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Engine {
    /// Reads and compiles the rules; every mistake is told with its place.
    pub fn load(settings: &Settings) -> Result<Self, Vec<LoadError>> {
        Self::load_with(settings, Shortcuts::Taken)
    }

    /// The same without folding and filtering: every rule looks at every value that it
    /// names. It is many times slower and must come to the same end, which is what it
    /// is for: the oracle of the tests of soundness.
    #[doc(hidden)]
    pub fn load_plain(settings: &Settings) -> Result<Self, Vec<LoadError>> {
        Self::load_with(settings, Shortcuts::LeftOut)
    }

    /// The ids of the rules that are left to run after what is known at load was decided.
    #[doc(hidden)]
    pub fn ids_left(&self) -> impl Iterator<Item = u64> {
        self.program
            .phases
            .iter()
            .flat_map(|phase| &phase.steps)
            .map(|&at| self.program.rules[at as usize].model.id)
    }

    fn load_with(settings: &Settings, shortcuts: Shortcuts) -> Result<Self, Vec<LoadError>> {
        let mut files = waf_lang::Files { roots: Vec::new(), all: BTreeMap::new() };
        for file in &settings.files {
            files.roots.push(file.name.clone());
            files.all.insert(file.name.clone(), bytes_of(&file.text));
        }
        for file in &settings.data {
            files.all.insert(file.name.clone(), bytes_of(&file.text));
        }
        let rules = waf_lang::parse(&files)?;
        own_ids_are_free(&rules)?;
        let directives = rules.directives.clone();
        let (mut program, notes) = compile(rules, settings, shortcuts)?;
        let audit_setup = crate::audit::Setup::new(&directives.audit, &mut program).map_err(|what| {
            let file = settings.files.first().map_or_else(String::new, |file| file.name.clone());
            vec![LoadError { file, line: 0, what, hint: None }]
        })?;
        let slot = |name: &[u8]| program.names.get(name);
        let scores = Scores {
            inbound: [slot(b"blocking_inbound_anomaly_score"), slot(b"anomaly_score")],
            outbound: [slot(b"blocking_outbound_anomaly_score"), slot(b"outbound_anomaly_score")],
        };
        let body_limits = waf_body::Limits {
            depth: directives
                .json_depth_limit
                .map_or(settings.limits.depth, |d| d.min(settings.limits.depth)),
            files: directives.upload_file_limit.unwrap_or(u32::MAX),
            parts: settings.limits.values,
            ..waf_body::Limits::default()
        };
        let used_scalars = scalars(&program);
        Ok(Self {
            collections: Arc::new(Collections::new(directives.collection_timeout_s.unwrap_or(3_600).into())),
            directives,
            mode: settings.mode,
            limits: settings.limits,
            body_limits,
            exclusions: settings.exclude.clone(),
            processors_by_content_type: settings.processors_by_content_type,
            raw_body: settings.raw_body,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            scores,
            used_scalars,
            audit_setup,
            notes,
            program,
        })
    }

    /// The same with collections that outlast it: those of the engine before a reload.
    pub fn with_collections(mut self, collections: Arc<Collections>) -> Self {
        self.collections = collections;
        self
    }

    /// What its rules keep between transactions.
    pub fn collections(&self) -> &Arc<Collections> {
        &self.collections
    }

    /// What was understood and has no effect here, and why.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What the rule files say of audit logs.
    pub fn audit(&self) -> &model::Audit {
        &self.directives.audit
    }

    /// How many rules there are, and how many of them are left to run after what is
    /// known at load was decided.
    pub fn rules(&self) -> (usize, usize) {
        let left = self.program.phases.iter().map(|phase| phase.steps.len()).sum();
        (self.program.rules.len(), left)
    }

    /// Every rule's id, message and place, in order.
    pub fn catalogue(&self) -> impl Iterator<Item = RuleFacts<'_>> {
        self.program.rules.iter().map(|rule| RuleFacts {
            id: rule.model.id,
            phase: rule.model.phase,
            message: crate::report::plain(rule.links.iter().rev().find_map(|link| link.msg.as_ref())),
            at: &rule.model.at,
        })
    }

    /// Begins the inspection of one request.
    pub fn begin(self: &Arc<Self>, workspace: Workspace, connection: Connection<'_>) -> Transaction {
        Transaction::new(Arc::clone(self), workspace, connection)
    }

    pub(crate) fn first_mode(&self) -> EngineMode {
        match self.mode {
            Mode::Block => EngineMode::On,
            Mode::Detect => EngineMode::DetectionOnly,
            Mode::Rules => self.directives.rule_engine.unwrap_or(EngineMode::On),
        }
    }

    pub(crate) fn beyond(&self) -> BeyondLimit {
        match self.directives.request_body_limit_action {
            Some(model::BeyondLimit::ProcessPartial) => BeyondLimit::Pass,
            Some(model::BeyondLimit::Reject) => BeyondLimit::Refuse,
            None => self.limits.beyond,
        }
    }
}

/// What is known of a rule.
#[derive(Clone, Debug)]
pub struct RuleFacts<'e> {
    /// Its id.
    pub id: u64,
    /// 1 to 5.
    pub phase: u8,
    /// Its `msg`, without what is filled in.
    pub message: String,
    /// Where it stands.
    pub at: &'e model::Place,
}

/// Reports and exclusions could not tell such a rule from the engine's.
fn own_ids_are_free(rules: &model::RuleSet) -> Result<(), Vec<LoadError>> {
    let own = [builtin::TOO_MUCH, builtin::UNREADABLE_BODY, builtin::BODY_TOO_LARGE];
    let taken: Vec<LoadError> = rules
        .items
        .iter()
        .filter_map(|item| match item {
            model::Item::Rule(rule) if own.contains(&rule.id) => Some(LoadError {
                file: rule.at.file.to_string(),
                line: rule.at.line,
                what: format!("the id `{}` is one of the engine's own rules", rule.id),
                hint: Some("choose another; 1 to 99,999 are for local rules".to_owned()),
            }),
            _ => None,
        })
        .collect();
    if taken.is_empty() { Ok(()) } else { Err(taken) }
}

/// Rule files as bytes: what was not UTF-8 was read as Latin-1.
fn bytes_of(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// Variables without members that rules look at: they are there, empty, before
/// anything is known of them.
fn scalars(program: &Program) -> Vec<model::Variable> {
    let is_early = |variable: &model::Variable| (*variable as u8) < model::Variable::Duration as u8;
    program.variables.iter().copied().filter(|v| !v.is_collection() && is_early(v)).collect()
}
