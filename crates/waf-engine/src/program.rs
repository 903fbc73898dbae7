//! Rules, compiled: what all workers share and no request changes.

use crate::chains::{ChainId, Chains};
use crate::expression::Expression;
use crate::filter::Filter;
use aho_corasick::AhoCorasick;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use waf_body::xml;
use waf_lang::model::{self, AllowScope, Control, Variable};
use waf_text::{ByteSet, IpSet, Nid};

/// Everything an engine runs.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) rules: Vec<Rule>,
    /// Phases 1 to 5.
    pub(crate) phases: [Phase; 5],
    pub(crate) chains: Chains,
    pub(crate) expressions: Vec<Arc<Expression>>,
    /// `TX` names that rules spell out, in lower case.
    pub(crate) names: Names,
    /// Names of members that rules spell out; the first stands for none.
    pub(crate) known: Names,
    /// By [`Variable`] as a number: entries of the list get the numbers of their names.
    pub(crate) named_lists: [bool; VARIABLES],
    pub(crate) constants: Vec<Box<[u8]>>,
    /// `TX` when a transaction begins.
    pub(crate) tx: Vec<Value>,
    /// The XPaths that rules ask for; their results are the lists after the variables'.
    pub(crate) xpaths: Vec<xml::Selector>,
    /// As they are written.
    pub(crate) xpath_texts: Vec<Box<str>>,
    /// `ctl:ruleRemove…` and the engine's own exclusions.
    pub(crate) removals: Vec<Removal>,
    /// Variables that some rule or macro looks at, by [`Variable`] as a number.
    pub(crate) used: [bool; VARIABLES],
    /// The same as a list.
    pub(crate) variables: Vec<Variable>,
}

/// More than the variables' numbers.
pub(crate) const VARIABLES: usize = Variable::WebserverErrorLog as usize + 1;

/// The rules of one phase that can run, in order.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    /// Indices of [`Program::rules`].
    pub(crate) steps: Vec<u32>,
    pub(crate) filter: Filter,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) model: Box<model::Rule>,
    pub(crate) links: Vec<Link>,
    pub(crate) disruptive: Disruptive,
    /// The step after this one, if not the next; counted within the phase.
    pub(crate) skip_to: Option<u32>,
    pub(crate) tags: Vec<Macro>,
}

#[derive(Debug)]
pub(crate) enum Disruptive {
    Pass,
    Deny,
    Drop,
    Redirect(Macro),
    Allow(AllowScope),
}

/// One link of a chain.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) test: Option<Test>,
    pub(crate) chain: ChainId,
    pub(crate) multi_match: bool,
    pub(crate) capture: bool,
    pub(crate) msg: Option<Macro>,
    pub(crate) logdata: Option<Macro>,
    pub(crate) effects: Vec<Effect>,
}

#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) targets: Vec<Target>,
    pub(crate) excluded: Vec<Target>,
    pub(crate) negated: bool,
    pub(crate) operator: Operator,
    pub(crate) written: String,
    /// What a value needs after the transformations, where the operator is not negated.
    pub(crate) needs: crate::requirement::Requirement,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) variable: Variable,
    pub(crate) source: Source,
    pub(crate) select: Select,
    pub(crate) count: bool,
    /// Some exclusion of the rule means this target.
    pub(crate) narrowed: bool,
}

/// A list of entries: a variable's number, or one beyond for an XPath's results.
pub(crate) type ListId = u16;

/// Where a target's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In lists that do not change while a phase runs: their values, or their names.
    Lists([ListId; 2], Part),
    /// In `TX`.
    Tx,
    /// Found out when asked.
    Live,
}

/// An unused second list.
pub(crate) const NO_LIST: ListId = ListId::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Value,
    Name,
}

/// A name of a member that some rule spells out.
pub(crate) type Known = u16;

/// No such name.
pub(crate) const UNKNOWN: Known = 0;

/// An entry whose name was not looked up yet.
pub(crate) const NOT_LOOKED_UP: Known = Known::MAX;

#[derive(Clone, Debug)]
pub(crate) enum Select {
    All,
    /// In lower case, and its number among [`Program::known`] where entries of the
    /// target's lists have such numbers.
    Name(Box<[u8]>, Known),
    /// An expression's index.
    Regex(u32),
    /// A static name of `TX`.
    Slot(u32),
    /// Of `TX`: the static names that the expression finds, and the expression for
    /// the names that rules put together.
    Slots(Box<[u32]>, u32),
}

#[derive(Debug)]
pub(crate) enum Operator {
    Rx(u32),
    RxGlobal(u32),
    RxMacro(Macro),
    Pm(Box<AhoCorasick>),
    Text(TextTest, Macro),
    Number(Comparison, Macro),
    IpMatch(IpSet),
    DetectSqli,
    DetectXss,
    ByteRange(ByteSet),
    UrlEncoding,
    Utf8Encoding,
    /// An expression's index, and what its finds must pass.
    Verify(u32, Verify),
    /// What is not as this JSON schema says.
    Schema(Arc<waf_text::schema::Schema>),
    Unconditional,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextTest {
    Contains,
    ContainsWord,
    StrMatch,
    Equal,
    Within,
    BeginsWith,
    EndsWith,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    Card,
    Ssn,
    Cpf,
    Svnr,
    Nid(Nid),
}

/// A text with pieces that are filled in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Macro(pub(crate) Vec<Piece>);

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(Box<[u8]>),
    /// A static name of `TX`.
    Tx(u32),
    /// Another variable; the name in lower case.
    Variable(Variable, Option<Box<[u8]>>),
    /// The first member whose name an expression finds.
    Find(Variable, u32),
}

impl Macro {
    /// The text, if nothing is to be filled in.
    pub(crate) fn constant(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// What is done for each match.
#[derive(Debug)]
pub(crate) enum Effect {
    SetTx(Name, Set),
    SetKept(Variable, Macro, Set),
    Expire(Variable, Macro, Macro),
    Init(Variable, Macro),
    SetUser(Macro),
    SetSession(Macro),
    SetResource(Macro),
    SetEnv(Macro, Macro),
    Control(Control),
    /// An index of [`Program::removals`].
    Remove(u32),
    Sanitise(Variable, Option<Box<[u8]>>),
}

#[derive(Clone, Debug)]
pub(crate) enum Name {
    Slot(u32),
    Macro(Macro),
}

#[derive(Clone, Debug)]
pub(crate) enum Set {
    To(Macro),
    /// A number known at load.
    ToNumber(i64),
    Add(Macro),
    Subtract(Macro),
    Unset,
}

/// Rules that do not run, or targets that they do not look at, once said.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    /// A bit for each of [`Program::rules`].
    pub(crate) rules: Box<[u64]>,
    /// None: the whole rule.
    pub(crate) target: Option<Target>,
    /// Names are compared as they are written.
    pub(crate) exact_case: bool,
}

/// The value of a `TX` variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Absent,
    Number(i64),
    /// An index of [`Program::constants`].
    Constant(u32),
    Text(crate::texts::TextId),
}

/// Names with numbers.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) all: Vec<Box<[u8]>>,
    by_name: FxHashMap<Box<[u8]>, u32>,
    /// The length of the longest.
    pub(crate) longest: usize,
}

impl Names {
    /// The number of a name, in any case; a new one if need be.
    pub(crate) fn add(&mut self, name: &[u8]) -> u32 {
        let name = name.to_ascii_lowercase().into_boxed_slice();
        if let Some(&slot) = self.by_name.get(&name) {
            return slot;
        }
        let slot = self.all.len() as u32;
        self.longest = self.longest.max(name.len());
        self.all.push(name.clone());
        self.by_name.insert(name, slot);
        slot
    }

    /// The number of a name given in lower case.
    pub(crate) fn get(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(name).copied()
    }
}

/// Whether a bit is set.
#[inline]
pub(crate) fn bit(bits: &[u64], at: usize) -> bool {
    bits.get(at >> 6).is_some_and(|word| word >> (at & 63) & 1 == 1)
}

/// The lists of a variable that does not change within a phase, and which part of them.
pub(crate) fn lists(variable: Variable) -> Option<([ListId; 2], Part)> {
    use Variable as V;
    let one = |list: Variable| [list as ListId, NO_LIST];
    Some(match variable {
        V::Args => ([V::ArgsGet as ListId, V::ArgsPost as ListId], Part::Value),
        V::ArgsNames => ([V::ArgsGet as ListId, V::ArgsPost as ListId], Part::Name),
        V::ArgsGetNames => (one(V::ArgsGet), Part::Name),
        V::ArgsPostNames => (one(V::ArgsPost), Part::Name),
        V::RequestCookiesNames => (one(V::RequestCookies), Part::Name),
        V::RequestHeadersNames => (one(V::RequestHeaders), Part::Name),
        V::ResponseHeadersNames => (one(V::ResponseHeaders), Part::Name),
        other if (other as u8) < Variable::Duration as u8 => (one(other), Part::Value),
        _ => return None,
    })
}
