//! The labels of what a target exposes, and of what a scrape says about itself.

use crate::relabel::{Builder, Relabel};
use crate::settings::Limits;
use monitor_model::{Labels, METRIC_NAME};

/// A sample's labels with the target's (Prometheus, `honor_labels`), relabelled;
/// `None` where that dropped them.
pub(crate) fn of_sample(
    mut labels: Builder,
    target: &Labels,
    honor: bool,
    steps: &[Relabel],
) -> Option<Builder> {
    if honor {
        for (name, value) in target {
            if labels.get(name).is_empty() {
                labels.set(name, value);
            }
        }
    } else {
        with_target(&mut labels, target);
    }
    (labels.relabel(steps) && !labels.is_empty()).then_some(labels)
}

/// Ours win; the target's own of these names become `exported_…`.
fn with_target(labels: &mut Builder, target: &Labels) {
    let mut conflicts: Vec<(String, String)> = Vec::new();
    for (name, value) in target {
        let theirs = labels.get(name);
        if !theirs.is_empty() {
            conflicts.push((name.to_owned(), theirs.to_owned()));
        }
        labels.set(name, value);
    }
    // Shorter names first, so that `exported_x` of `x` does not meet its own of `exported_x`.
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, theirs) in conflicts {
        let mut exported = format!("exported_{name}");
        while !labels.get(&exported).is_empty() {
            exported.insert_str(0, "exported_");
        }
        labels.set(&exported, &theirs);
    }
}

/// The labels of `up` and the like: the target's.
pub(crate) fn of_report(name: &str, target: &Labels) -> Labels {
    let mut labels = Builder::default();
    labels.set(METRIC_NAME, name);
    with_target(&mut labels, target);
    labels.build()
}

/// Whether labels keep to their limits; the words are Prometheus'.
pub(crate) fn within(limits: &Limits, labels: &Builder) -> Result<(), String> {
    let Limits { labels: count_limit, label_name, label_value, .. } = *limits;
    if count_limit == 0 && label_name == 0 && label_value == 0 {
        return Ok(());
    }
    let metric: String = labels.get(METRIC_NAME).chars().take(50).collect();
    let count = labels.iter().count();
    if count_limit > 0 && count > count_limit {
        return Err(format!(
            "label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {count_limit})"
        ));
    }
    for (name, value) in labels.iter() {
        let shown: String = name.chars().take(50).collect();
        if label_name > 0 && name.len() > label_name {
            let length = name.len();
            return Err(format!(
                "label_name_length_limit exceeded (metric: {metric}, label name: {shown}, length: {length}, limit: {label_name})"
            ));
        }
        if label_value > 0 && value.len() > label_value {
            let length = value.len();
            return Err(format!(
                "label_value_length_limit exceeded (metric: {metric}, label name: {shown}, length: {length}, limit: {label_value})"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_labels_win() {
        let target = Labels::from_pairs([("job", "app"), ("instance", "app/1")]);
        type Case<'a> = (bool, &'a [(&'a str, &'a str)], &'a str);
        let cases: &[Case<'_>] = &[
            (
                false,
                &[("job", "theirs"), ("exported_job", "x"), ("a", "1")],
                "a=1 exported_exported_job=theirs exported_job=x instance=app/1 job=app",
            ),
            (false, &[("instance", "")], "instance=app/1 job=app"),
            (true, &[("job", "theirs"), ("instance", "")], "instance=app/1 job=theirs"),
        ];
        for (honor, labels, expected) in cases {
            let labels = Builder::from(&Labels::from_pairs(labels.iter().copied()));
            let got = of_sample(labels, &target, *honor, &[]).unwrap();
            let got: Vec<String> = got.iter().map(|(n, v)| format!("{n}={v}")).collect();
            assert_eq!(got.join(" "), *expected);
        }
    }

    #[test]
    fn limits_are_told_in_prometheus_words() {
        let labels = Builder::from(&Labels::from_pairs([("__name__", "m"), ("abc", "defgh")]));
        let limits =
            |labels, label_name, label_value| Limits { labels, label_name, label_value, ..Limits::default() };
        let cases = [
            (limits(0, 0, 0), None),
            (limits(2, 8, 5), None),
            (limits(1, 0, 0), Some("label_limit exceeded (metric: m, number of labels: 2, limit: 1)")),
            (
                limits(0, 7, 0),
                Some(
                    "label_name_length_limit exceeded (metric: m, label name: __name__, length: 8, limit: 7)",
                ),
            ),
            (
                limits(0, 0, 4),
                Some("label_value_length_limit exceeded (metric: m, label name: abc, length: 5, limit: 4)"),
            ),
        ];
        for (limits, expected) in cases {
            assert_eq!(within(&limits, &labels).err().as_deref(), expected);
        }
    }
}
