//! From rules as they are written to rules as they run.

mod fold;
pub(crate) use fold::compare;
mod lower;
mod needs;
mod used;

use crate::filter::Filter;
use crate::program::{Phase, Program};
use crate::requirement::Requirement;
use crate::settings::Settings;
use waf_lang::LoadError;
use waf_lang::model::{Note, RuleSet};

/// Whether what makes rules fast is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortcuts {
    /// Folding, filtering, and what operators need of a value.
    Taken,
    /// Every rule looks at every value: the oracle of tests.
    LeftOut,
}

/// Compiles what the files say. The notes are about what has no effect.
pub(crate) fn compile(
    rules: RuleSet,
    settings: &Settings,
    shortcuts: Shortcuts,
) -> Result<(Program, Vec<Note>), Vec<LoadError>> {
    let mut notes = rules.notes.clone();
    let mut lowered = lower::lower(rules, settings, &mut notes)?;
    match shortcuts {
        Shortcuts::Taken => fold::fold(&mut lowered),
        Shortcuts::LeftOut => {
            let links = lowered.program.rules.iter_mut().flat_map(|rule| &mut rule.links);
            links.filter_map(|link| link.test.as_mut()).for_each(|test| test.needs = Requirement::default());
        }
    }
    let lower::Lowered { mut program, order, skips } = lowered;
    for (number, order) in order.into_iter().enumerate() {
        for (step, &rule) in order.iter().enumerate() {
            // Where a rule jumps to, counted in the steps that are left.
            program.rules[rule as usize].skip_to = skips[rule as usize].map(|position| {
                let after = order.partition_point(|&other| other < position);
                after.max(step + 1) as u32
            });
        }
        let filter = match shortcuts {
            Shortcuts::Taken => needs::filter(&program, &order),
            Shortcuts::LeftOut => Filter::new(order.len(), &[]),
        };
        program.phases[number] = Phase { steps: order, filter };
    }
    used::find(&mut program);
    Ok((program, notes))
}
