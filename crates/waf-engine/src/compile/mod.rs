//! From rules as they are written to rules as they run.

mod fold;
pub(crate) use fold::compare;
mod lower;
mod needs;
mod used;

use crate::program::{Phase, Program};
use crate::settings::Settings;
use waf_lang::LoadError;
use waf_lang::model::{Note, RuleSet};

/// Compiles what the files say. The notes are about what has no effect.
pub(crate) fn compile(rules: RuleSet, settings: &Settings) -> Result<(Program, Vec<Note>), Vec<LoadError>> {
    let mut notes = rules.notes.clone();
    let mut lowered = lower::lower(rules, settings, &mut notes)?;
    fold::fold(&mut lowered);
    let lower::Lowered { mut program, order, skips } = lowered;
    for (number, order) in order.into_iter().enumerate() {
        for (step, &rule) in order.iter().enumerate() {
            // Where a rule jumps to, counted in the steps that are left.
            program.rules[rule as usize].skip_to = skips[rule as usize].map(|position| {
                let after = order.partition_point(|&other| other < position);
                after.max(step + 1) as u32
            });
        }
        let filter = needs::filter(&program, &order);
        program.phases[number] = Phase { steps: order, filter };
    }
    used::find(&mut program);
    Ok((program, notes))
}
