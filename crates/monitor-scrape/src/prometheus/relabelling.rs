//! `relabel_configs`.

use crate::relabel::{Action, Relabel, Written};
use yaml_tree::{Node, Reader};

const KEYS: [&str; 7] =
    ["source_labels", "separator", "regex", "modulus", "target_label", "replacement", "action"];

/// Reads steps; a wrong one is told to `reader` with its line.
pub(super) fn read(reader: &mut Reader, list: &Node, what: &str) -> Vec<Relabel> {
    let mut steps = Vec::new();
    for node in reader.list(list, what) {
        let mut written = Written::default();
        let before = reader.mistakes.len();
        for (key, place, value) in reader.map(node, "a relabelling step") {
            match key.as_str() {
                "source_labels" => written.source_labels = reader.texts(value, key),
                "separator" => written.separator = Some(reader.text(value, key)),
                "regex" => written.regex = Some(reader.text(value, key)),
                "modulus" => written.modulus = reader.number(value, key),
                "target_label" => written.target_label = Some(reader.text(value, key)),
                "replacement" => written.replacement = Some(reader.text(value, key)),
                "action" => {
                    let action = reader.parsed(value, key, |text| {
                        Action::from_name(text).ok_or_else(|| format!("`{text}` is not an action"))
                    });
                    written.action = action.unwrap_or_default();
                }
                _ => reader.unknown(*place, key, &KEYS),
            }
        }
        if reader.mistakes.len() > before {
            continue;
        }
        match Relabel::compile(&written) {
            Ok(step) => steps.push(step),
            Err(why) => reader.wrong(node.place, format!("`{what}`: {why}")),
        }
    }
    steps
}
