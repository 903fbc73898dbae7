//! Operators: whether a value is what a rule looks for.

use crate::compile::compare;
use crate::expression::{Expression, Scratch};
use crate::number;
use crate::program::{Operator, TextTest, Verify};
use regex_automata::Span;
use std::net::IpAddr;
use waf_text::operator as text;

/// The whole of a value.
pub(crate) fn whole(value: &[u8]) -> Span {
    Span { start: 0, end: value.len() }
}

/// What a match of an operator leaves in `TX:0` where it is not a part of the value.
pub(crate) enum Found {
    /// A part of the value; further groups are in the caller's list.
    Part(Span),
    /// Somewhere in the value; where is found out if someone wants to know.
    Somewhere,
    /// This text, about the whole value: a fingerprint.
    Said(waf_injection::Fingerprint),
}

/// Operators that need only the value and a text that is filled in already.
pub(crate) fn on_text(test: TextTest, value: &[u8], argument: &[u8]) -> Option<Span> {
    let found = match test {
        TextTest::Contains | TextTest::StrMatch => {
            let at = memchr::memmem::find(value, argument)?;
            return Some(Span { start: at, end: at + argument.len() });
        }
        TextTest::ContainsWord => text::contains_word(value, argument),
        TextTest::Equal => value == argument,
        TextTest::Within => memchr::memmem::find(argument, value).is_some(),
        TextTest::BeginsWith => value.starts_with(argument),
        TextTest::EndsWith => value.ends_with(argument),
    };
    found.then(|| whole(value))
}

/// The operators whose argument is known when rules are loaded, but for expressions.
pub(crate) fn fixed(operator: &Operator, value: &[u8]) -> Option<Found> {
    let part = |found: bool| found.then(|| Found::Part(whole(value)));
    match operator {
        Operator::Pm(automaton) => {
            let found = automaton.find(value)?;
            Some(Found::Part(Span { start: found.start(), end: found.end() }))
        }
        Operator::IpMatch(set) => {
            let address: IpAddr = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
            part(set.contains(address))
        }
        Operator::DetectSqli => waf_injection::sqli(value).map(Found::Said),
        Operator::DetectXss => part(waf_injection::xss(value)),
        Operator::ByteRange(allowed) => {
            let at = value.iter().position(|&byte| !allowed.contains(byte))?;
            Some(Found::Part(Span { start: at, end: at + 1 }))
        }
        Operator::UrlEncoding => part(text::invalid_url_encoding(value).is_some()),
        Operator::Utf8Encoding => part(text::invalid_utf8(value).is_some()),
        Operator::Schema(schema) => part(schema.check(value).is_some()),
        Operator::Unconditional => part(true),
        Operator::Never => None,
        _ => None,
    }
}

/// A number beside another.
pub(crate) fn on_number(comparison: crate::program::Comparison, value: &[u8], argument: &[u8]) -> bool {
    compare(comparison, number::parse(value), number::parse(argument))
}

/// Finds of an expression that pass a check: card numbers and the like.
pub(crate) fn verified(
    expression: &Expression,
    scratch: &mut Scratch,
    verify: Verify,
    value: &[u8],
) -> Option<Span> {
    let mut from = 0;
    while from <= value.len() {
        let found = expression.find_at(scratch, value, from)?;
        let part = &value[found.start..found.end];
        let passes = match verify {
            Verify::Card => text::is_card(part),
            Verify::Ssn => text::is_ssn(part),
            Verify::Cpf => text::is_cpf(part),
            Verify::Svnr => text::is_svnr(part),
            Verify::Nid(nid) => nid.check(part),
        };
        if passes {
            return Some(found);
        }
        // The next beginning, but never back over what was looked at: linear.
        from = found.end.max(found.start + 1);
    }
    None
}
