//! Rules and receivers as `control` lowers them from the file.

use base::{Millis, Secret};
use serde::{Deserialize, Serialize};
pub use yaml_tree::Place;

/// Everything that is evaluated and where it is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Between two evaluations.
    pub interval: Millis,
    /// New series written from expressions: `site:qps`.
    pub recordings: Vec<Recording>,
    /// What alerts.
    pub alerts: Vec<Alert>,
    /// Where alerts go: webhooks.
    pub receivers: Vec<Receiver>,
    /// Where alerts go: receivers of any kind.
    #[serde(default)]
    pub channels: Vec<crate::manager::Receiver>,
}

/// Rules that are evaluated together, in order, on a schedule of their own: a
/// group of a rule file, or one of ours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The rule file; empty for ours.
    #[serde(default)]
    pub file: String,
    /// The group's name.
    pub name: String,
    /// Between two evaluations; 0 takes [`Settings::interval`].
    #[serde(default)]
    pub interval: Millis,
    /// Alerts or series that one of its rules may give; 0 means no limit of its own.
    #[serde(default)]
    pub limit: u64,
    /// Expressions are evaluated this long before the moment of the evaluation.
    #[serde(default)]
    pub query_offset: Millis,
    /// In order: a later rule sees what an earlier one wrote.
    pub rules: Vec<Rule>,
}

/// What a rule does with its expression's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// Writes it as a series.
    Record,
    /// Makes alerts of it.
    #[default]
    Alert,
}

/// A rule of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What it does.
    pub kind: RuleKind,
    /// The alert's or the series' name.
    pub name: String,
    /// The expression.
    pub expr: String,
    /// How long the expression must hold before the alert fires.
    #[serde(default)]
    pub hold: Millis,
    /// How long it goes on firing after the expression held last.
    #[serde(default)]
    pub keep_firing: Millis,
    /// Labels added to those of the series, sorted; those of alerts are templates.
    #[serde(default)]
    pub labels: Vec<(String, String)>,
    /// Annotations, sorted; templates.
    #[serde(default)]
    pub annotations: Vec<(String, String)>,
    /// Receivers that are told whatever the routes say; none follows the routes.
    #[serde(default)]
    pub to: Vec<String>,
    /// Where it stands in its file.
    #[serde(default)]
    pub place: Place,
}

impl From<&Recording> for Rule {
    fn from(recording: &Recording) -> Self {
        Self {
            kind: RuleKind::Record,
            name: recording.record.clone(),
            expr: recording.expr.clone(),
            ..Self::default()
        }
    }
}

impl From<&Alert> for Rule {
    fn from(alert: &Alert) -> Self {
        Self {
            kind: RuleKind::Alert,
            name: alert.name.clone(),
            expr: alert.expr.clone(),
            hold: alert.hold,
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            to: alert.to.clone(),
            ..Self::default()
        }
    }
}

/// A recording rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// The series' name.
    pub record: String,
    /// The expression.
    pub expr: String,
}

/// An alerting rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The name, `server-down`.
    pub name: String,
    /// The expression; each series it gives is one alert.
    pub expr: String,
    /// How long the expression must hold before the alert fires.
    pub hold: Millis,
    /// Labels added to those of the series, sorted.
    pub labels: Vec<(String, String)>,
    /// Annotations, `summary` and `description`; `{{ $labels.x }}` and `{{ $value }}` are filled in.
    pub annotations: Vec<(String, String)>,
    /// The receivers' names.
    pub to: Vec<String>,
}

/// Where alerts go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receiver {
    /// The name, `ops`.
    pub name: String,
    /// The URL that gets Alertmanager's webhook JSON by POST; `http://` or `https://`.
    pub webhook: Secret,
    /// A firing group is told again after this long.
    pub repeat: Millis,
}
