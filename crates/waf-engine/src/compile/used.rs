//! Which variables the rules that are left look at: no other is filled in.

use crate::program::{Disruptive, Effect, Macro, Name, Operator, Piece, Program, Set, VARIABLES};
use waf_lang::model::Variable;

pub(crate) fn find(program: &mut Program) {
    let mut used = [false; VARIABLES];
    let mut variables = Vec::new();
    let mut uses = |variable: Variable| {
        if !std::mem::replace(&mut used[variable as usize], true) {
            variables.push(variable);
        }
    };
    let steps = program.phases.iter().flat_map(|phase| &phase.steps);
    for rule in steps.map(|&number| &program.rules[number as usize]) {
        rule.tags.iter().for_each(|tag| of_text(tag, &mut uses));
        if let Disruptive::Redirect(to) = &rule.disruptive {
            of_text(to, &mut uses);
        }
        for link in &rule.links {
            [&link.msg, &link.logdata].into_iter().flatten().for_each(|text| of_text(text, &mut uses));
            link.effects.iter().for_each(|effect| of_effect(effect, &mut uses));
            let Some(test) = &link.test else { continue };
            test.targets.iter().for_each(|target| uses(target.variable));
            if let Operator::Text(_, text) | Operator::Number(_, text) | Operator::RxMacro(text) =
                &test.operator
            {
                of_text(text, &mut uses);
            }
        }
    }
    program.used = used;
    program.variables = variables;
}

fn of_text(text: &Macro, uses: &mut impl FnMut(Variable)) {
    for piece in &text.0 {
        if let Piece::Variable(variable, _) | Piece::Find(variable, _) = piece {
            uses(*variable);
        }
    }
}

fn of_effect(effect: &Effect, uses: &mut impl FnMut(Variable)) {
    let mut of_set = |set: &Set| match set {
        Set::To(text) | Set::Add(text) | Set::Subtract(text) => of_text(text, uses),
        Set::ToNumber(_) | Set::Unset => {}
    };
    match effect {
        Effect::SetTx(name, set) => {
            of_set(set);
            if let Name::Macro(name) = name {
                of_text(name, uses);
            }
        }
        Effect::SetKept(_, name, set) => {
            of_set(set);
            of_text(name, uses);
        }
        Effect::Expire(_, name, seconds) => {
            of_text(name, uses);
            of_text(seconds, uses);
        }
        Effect::SetEnv(name, value) => {
            of_text(name, uses);
            of_text(value, uses);
        }
        Effect::Init(_, text)
        | Effect::SetUser(text)
        | Effect::SetSession(text)
        | Effect::SetResource(text) => {
            of_text(text, uses);
        }
        Effect::Control(_) | Effect::Remove(_) | Effect::Sanitise(..) => {}
    }
}
