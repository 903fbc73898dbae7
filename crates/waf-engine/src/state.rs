//! What one transaction knows, in memory that a worker uses again and again.

use crate::expression::Scratch;
use crate::kept::Keys;
use crate::program::{Known, ListId, NOT_LOOKED_UP, Program, UNKNOWN, VARIABLES, Value};
use crate::texts::{TextId, Texts};
use regex_automata::Span;
use rustc_hash::FxHashMap;
use waf_body::xml;
use waf_lang::model::{AuditMode, EngineMode, Processor, Variable};

/// A name and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: TextId,
    pub(crate) value: TextId,
    /// Its name's number, where its list has such.
    pub(crate) known: Known,
}

impl Entry {
    pub(crate) fn new(name: TextId, value: TextId) -> Self {
        Self { name, value, known: NOT_LOOKED_UP }
    }
}

/// A value that an operator matched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    /// Which link of the chain.
    pub(crate) link: u32,
    pub(crate) variable: Variable,
    /// The list that it is from, or [`crate::program::NO_LIST`].
    pub(crate) list: ListId,
    /// How many there are was asked.
    pub(crate) count: bool,
    pub(crate) name: TextId,
    pub(crate) value: TextId,
    pub(crate) seen: TextId,
    /// What was found; up to [`usize::MAX`] where that was not asked for.
    pub(crate) span: Span,
}

/// What each text frame of a WebSocket begins with: what the head left, since the
/// rules look at each as at a request's body.
#[derive(Debug, Default)]
pub(crate) struct AfterHead {
    kept: bool,
    tx: Tx,
    switches: Switches,
    removed: Vec<u64>,
    removed_targets: Vec<u32>,
    /// How many texts there were when the first frame came; 0 before it.
    texts: usize,
}

/// `TX`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tx {
    /// By slot.
    pub(crate) slots: Vec<Value>,
    /// Names that rules put together, in lower case, in the order they came.
    pub(crate) extra: Vec<(TextId, Value)>,
    pub(crate) places: FxHashMap<TextId, u32>,
}

/// The most names that rules may put together in one transaction.
pub(crate) const EXTRA_NAMES: usize = 8_192;

/// The texts of values that are asked for as such.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matched {
    pub(crate) variable: Variable,
    pub(crate) count: bool,
    pub(crate) name: TextId,
    pub(crate) value: TextId,
}

/// Everything of one transaction that is not the caller's.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) texts: Texts,
    /// By [`ListId`].
    pub(crate) lists: Vec<Vec<Entry>>,
    pub(crate) tx: Tx,
    /// By expression; made when first needed.
    pub(crate) scratches: Vec<Option<Scratch>>,
    /// Whose scratches they are.
    pub(crate) engine: u64,
    pub(crate) matched: Option<Matched>,
    pub(crate) matched_vars: Vec<Matched>,
    /// Rules that do not run any more, and removals of targets that hold.
    pub(crate) removed: Vec<u64>,
    pub(crate) removed_targets: Vec<u32>,
    /// The filter's answers: by text, then the steps that run, then pairs.
    pub(crate) bits: Vec<u64>,
    pub(crate) active: Vec<u64>,
    /// As they are found, and in the order of steps.
    pub(crate) found: Vec<Candidate>,
    pub(crate) candidates: Vec<Candidate>,
    /// By step, where its candidates end.
    pub(crate) ends: Vec<u32>,
    pub(crate) groups: Vec<Option<Span>>,
    pub(crate) hits: Vec<Hit>,
    /// Texts that the running link has looked at in vain.
    pub(crate) in_vain: Vec<TextId>,
    pub(crate) live: Vec<Entry>,
    pub(crate) live_too: Vec<Entry>,
    pub(crate) buffers: Vec<Vec<u8>>,
    pub(crate) body: waf_body::Scratch,
    pub(crate) xml: xml::Document,
    pub(crate) keys: Keys,
    pub(crate) env: Vec<Entry>,
    /// Expressions that were put together while running, the newest last.
    pub(crate) made: Vec<Made>,
    pub(crate) switches: Switches,
    pub(crate) work: Work,
    after_head: AfterHead,
}

/// An expression that was put together while running; none where it does not compile.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) pattern: Box<[u8]>,
    pub(crate) compiled: Option<(crate::expression::Expression, Scratch)>,
}

/// A value that a filtered step may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) step: u32,
    /// Which of the filter's watched lists.
    pub(crate) watched: u32,
    pub(crate) entry: u32,
}

/// What `ctl` may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switches {
    pub(crate) engine: EngineMode,
    pub(crate) audit: AuditMode,
    pub(crate) request_body_access: bool,
    pub(crate) response_body_access: bool,
    pub(crate) request_body_limit: usize,
    pub(crate) response_body_limit: usize,
    pub(crate) force_request_body: bool,
    pub(crate) request_processor: Option<Processor>,
    pub(crate) xml_into_args: waf_lang::model::XmlIntoArgs,
    pub(crate) highest_severity: u8,
    /// `allow`: no rules until this phase.
    pub(crate) allowed_until: u8,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            engine: EngineMode::On,
            audit: AuditMode::Off,
            request_body_access: true,
            response_body_access: false,
            request_body_limit: usize::MAX,
            response_body_limit: usize::MAX,
            force_request_body: false,
            request_processor: None,
            xml_into_args: waf_lang::model::XmlIntoArgs::Off,
            highest_severity: 255,
            allowed_until: 0,
        }
    }
}

/// What was done so far, and how much may be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// Bytes operators looked at; transformations count in [`Texts::inspected`].
    pub(crate) inspected: u64,
    pub(crate) inspected_max: u64,
    /// Names and values kept.
    pub(crate) values: u32,
    pub(crate) values_max: u32,
    /// Some were not kept. Rules run nevertheless, on what was.
    pub(crate) too_many: bool,
    pub(crate) until_us: u64,
    /// Operators run since the clock was looked at.
    pub(crate) unclocked: u32,
    pub(crate) exceeded: Option<Exceeded>,
}

/// Which part of the budget a request has used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Names and values.
    Values,
    /// Bytes that operators and transformations look at.
    Inspected,
    /// Memory for values and what transformations make of them.
    Memory,
    /// Time.
    Time,
}

impl Exceeded {
    /// As a metric's label has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Inspected => "inspected",
            Self::Memory => "memory",
            Self::Time => "time",
        }
    }
}

impl State {
    /// Forgets everything but the memory, for a new transaction of an engine.
    pub(crate) fn clear(&mut self, program: &Program, engine: u64, memory_max: usize) {
        self.texts.clear(memory_max);
        let lists = VARIABLES + program.xpaths.len();
        self.lists.iter_mut().for_each(Vec::clear);
        self.lists.resize_with(lists, Vec::new);
        self.tx.slots.clear();
        self.tx.slots.extend_from_slice(&program.tx);
        self.tx.extra.clear();
        self.tx.places.clear();
        if self.engine != engine {
            self.engine = engine;
            self.scratches.clear();
        }
        self.scratches.resize_with(program.expressions.len(), || None);
        self.matched = None;
        self.matched_vars.clear();
        self.removed.clear();
        self.removed.resize(program.rules.len().div_ceil(64), 0);
        self.removed_targets.clear();
        self.hits.clear();
        self.keys = Keys::default();
        self.env.clear();
        self.switches = Switches::default();
        self.work = Work::default();
        self.after_head.kept = false;
        self.after_head.texts = 0;
    }

    /// Keeps what the head left, for the frames that may come.
    pub(crate) fn keep_after_head(&mut self) {
        let kept = &mut self.after_head;
        kept.kept = true;
        kept.tx.clone_from(&self.tx);
        kept.switches = self.switches;
        kept.removed.clone_from(&self.removed);
        kept.removed_targets.clone_from(&self.removed_targets);
    }

    /// Begins a frame: what the rules made of the one before is forgotten, its memory
    /// used again.
    pub(crate) fn begin_frame(&mut self) {
        if !self.after_head.kept {
            self.keep_after_head();
        }
        if self.after_head.texts == 0 {
            self.after_head.texts = self.texts.mark();
        }
        self.lists[Variable::ArgsPost as usize].clear();
        self.lists[Variable::ArgsGet as usize].clear();
        let mark = self.after_head.texts;
        let is_there = |text: TextId| (text.0 as usize) < mark;
        self.env.retain(|entry| is_there(entry.name) && is_there(entry.value));
        self.matched = None;
        self.matched_vars.clear();
        self.hits.clear();
        self.texts.back_to(mark);
        let Self { after_head: kept, tx, removed, removed_targets, .. } = self;
        tx.clone_from(&kept.tx);
        removed.clone_from(&kept.removed);
        removed_targets.clone_from(&kept.removed_targets);
        self.switches = kept.switches;
        let Work { inspected_max, values_max, .. } = self.work;
        self.work = Work { inspected_max, values_max, ..Work::default() };
    }

    /// Keeps a value in a list; false where the budget of values is used up.
    pub(crate) fn keep(&mut self, list: ListId, name: TextId, value: TextId) -> bool {
        if self.work.values >= self.work.values_max {
            self.work.too_many = true;
            return false;
        }
        self.work.values += 1;
        self.lists[list as usize].push(Entry::new(name, value));
        true
    }

    /// Keeps a named value of a variable.
    pub(crate) fn add(&mut self, variable: Variable, name: &[u8], value: &[u8]) -> bool {
        let name = self.texts.intern(name);
        let value = self.texts.intern(value);
        self.keep(variable as ListId, name, value)
    }

    /// Gives the entries of lists whose members rules name the numbers of their names.
    pub(crate) fn know_names(&mut self, program: &Program) {
        let mut lower = self.buffer();
        for (list, _) in program.named_lists.iter().enumerate().filter(|(_, named)| **named) {
            for entry in self.lists[list].iter_mut().filter(|entry| entry.known == NOT_LOOKED_UP) {
                entry.known = UNKNOWN;
                let name = self.texts.get(entry.name);
                if name.len() > program.known.longest {
                    continue;
                }
                lower.clear();
                lower.extend(name.iter().map(u8::to_ascii_lowercase));
                entry.known = program.known.get(&lower).map_or(UNKNOWN, |known| known as Known);
            }
        }
        self.give_back(lower);
    }

    /// The one value of a variable without members.
    pub(crate) fn set(&mut self, variable: Variable, value: &[u8]) {
        let value = self.texts.intern(value);
        self.set_text(variable, value);
    }

    pub(crate) fn set_text(&mut self, variable: Variable, value: TextId) {
        let list = &mut self.lists[variable as usize];
        list.clear();
        list.push(Entry::new(TextId::EMPTY, value));
    }

    pub(crate) fn set_number(&mut self, variable: Variable, number: i64) {
        let mut buffer = self.buffer();
        crate::number::write(number, &mut buffer);
        self.set(variable, &buffer);
        self.give_back(buffer);
    }

    /// The one value of a variable without members.
    pub(crate) fn scalar(&self, variable: Variable) -> &[u8] {
        self.lists[variable as usize].first().map_or(b"", |entry| self.texts.get(entry.value))
    }

    /// An empty buffer, to be given back.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() <= 64 << 10 {
            self.buffers.push(buffer);
        }
    }
}
