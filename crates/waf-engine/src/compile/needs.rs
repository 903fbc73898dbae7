//! What each rule needs of a value, for the filter.

use crate::filter::{Filter, Filtered, Look};
use crate::program::{NO_LIST, Operator, Program, Rule, Select, Source, Target, Test};
use crate::requirement::Requirement;
use waf_lang::model::Variable;
use waf_text::{ByteSet, Transformation};

/// The filter of a phase's steps.
pub(crate) fn filter(program: &Program, steps: &[u32]) -> Filter {
    let filtered: Vec<Filtered> = steps
        .iter()
        .enumerate()
        .filter_map(|(step, &rule)| filtered(program, step, &program.rules[rule as usize]))
        .collect();
    Filter::new(steps.len(), &filtered)
}

/// A rule whose first link looks only at what is there when the phase begins, and
/// matches only if a value does.
fn filtered(program: &Program, step: usize, rule: &Rule) -> Option<Filtered> {
    let link = rule.links.first()?;
    let test = link.test.as_ref()?;
    if !can_be_filtered(test) {
        return None;
    }
    let steps = program.chains.steps(link.chain);
    // With multiMatch the operator also sees what the chain's beginning makes.
    let needs = if link.multi_match {
        let beginnings = (0..=steps.len()).map(|len| test.needs.before(&steps[..len]));
        Requirement::any(beginnings.collect())
    } else {
        test.needs.before(&steps)
    };
    let mut needs = needs;
    needs.grams.clone_from(&test.needs.grams);
    let disturbed_by = steps
        .iter()
        .filter(|step| !matches!(step, Transformation::Lowercase | Transformation::Uppercase))
        .fold(ByteSet::EMPTY, |all, step| all.union(&step.triggers()));
    let looks = test.targets.iter().flat_map(|target| looks(target, test)).collect();
    Some(Filtered { step, needs, disturbed_by, looks })
}

fn can_be_filtered(test: &Test) -> bool {
    let by_value = match test.operator {
        Operator::Rx(_)
        | Operator::RxGlobal(_)
        | Operator::Pm(_)
        | Operator::DetectSqli
        | Operator::DetectXss
        | Operator::ByteRange(_)
        | Operator::UrlEncoding
        | Operator::Utf8Encoding
        | Operator::Verify(..) => true,
        Operator::Text(_, ref text) => text.constant().is_some(),
        _ => false,
    };
    by_value
        && !test.negated
        && test.targets.iter().all(|target| {
            // `ctl:requestBodyProcessor` changes this one while a phase runs.
            let steady = target.variable != Variable::ReqbodyProcessor;
            !target.count && steady && matches!(target.source, Source::Lists(..))
        })
}

fn looks(target: &Target, test: &Test) -> Vec<Look> {
    let Source::Lists(lists, part) = target.source else { return Vec::new() };
    // Exclusions by name count only for the same variable.
    let not = || {
        let names = test.excluded.iter().filter(|excluded| excluded.variable == target.variable);
        names
            .filter_map(|excluded| match &excluded.select {
                Select::Name(_, known) => Some(*known),
                _ => None,
            })
            .collect()
    };
    let only = match &target.select {
        Select::Name(_, known) => Some(*known),
        _ => None,
    };
    lists
        .into_iter()
        .filter(|&list| list != NO_LIST)
        .map(|list| Look { list, part, only, not: not() })
        .collect()
}
