//! Disagreements that are understood: each class is a section of
//! `docs/decisions/waf-differential.md`, which says who is right and why.

use crate::waf::request::Request;

/// Which engine matched a rule that the other did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// libmodsecurity did: we missed it.
    Missed,
    /// We did.
    Extra,
}

impl Side {
    /// As it is printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Extra => "extra",
        }
    }
}

/// One disagreement about one rule.
pub(super) struct Case<'a> {
    /// The rule.
    pub(super) rule: u64,
    /// Who matched it.
    pub(super) side: Side,
    /// On what.
    pub(super) request: &'a Request,
    /// What the engine that matched wrote.
    pub(super) line: &'a str,
    /// Rules that the other engine matched on the same request.
    pub(super) other: &'a [u64],
}

/// A reason for disagreements.
pub(super) struct Class {
    /// As the section in the documentation is called.
    pub(super) name: &'static str,
    /// Whether a disagreement is of this class. As narrow as the reason.
    holds: fn(&Case<'_>) -> bool,
}

static CLASSES: &[Class] = &[];

/// The class of `case`, if it is understood.
pub(super) fn explain(case: &Case<'_>) -> Option<&'static Class> {
    CLASSES.iter().find(|class| (class.holds)(case))
}
