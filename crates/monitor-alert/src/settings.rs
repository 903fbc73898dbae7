//! Rules and receivers as `control` lowers them from the file.

use base::{Millis, Secret};
use serde::{Deserialize, Serialize};

/// Everything that is evaluated and where it is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Between two evaluations.
    pub interval: Millis,
    /// New series written from expressions: `site:qps`.
    pub recordings: Vec<Recording>,
    /// What alerts.
    pub alerts: Vec<Alert>,
    /// Where alerts go.
    pub receivers: Vec<Receiver>,
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
