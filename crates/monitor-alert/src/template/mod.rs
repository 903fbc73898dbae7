//! Templates of rules and of notifications: Go's `text/template` with the
//! functions of Prometheus and of Alertmanager.
//!
//! Everything of the language that a template can use is there: pipelines,
//! `if`, `else if`, `with`, `range` with `break` and `continue`, `define`,
//! `template`, `block`, variables, methods, comments and trim markers. Not
//! there: `call`, and HTML's escaping by context, for what is filled in is text.
//!
//! Bounded: steps, bytes, queries and depth of one rendering ([`Limits`]), so
//! that a hostile template costs an error.
//!
//! Sources: Go's documentation of `text/template` and `fmt`; Prometheus'
//! "Template reference"; Alertmanager's "Notification template reference".

mod format;
mod functions;
mod go_time;
mod parse;
mod run;
mod value;

pub use functions::Dialect;
pub(crate) use functions::query_escape;
pub use go_time::Moment;
pub use value::{ListKind, MapKind, Value};

use crate::{Labels, Sample};
use monitor_model::series::Value as SampleValue;
use parse::Trees;

/// Bytes of one template's text.
pub const MAX_TEMPLATE_BYTES: usize = 256 << 10;

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TemplateError {
    /// The line within the template, from 1; 0 where it cannot be said.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl TemplateError {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// What one rendering may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Commands run, items looped over, and sixty-four bytes each.
    pub steps: usize,
    /// Bytes of output.
    pub bytes: usize,
    /// Calls of `query`.
    pub queries: usize,
}

impl Limits {
    /// For a label or an annotation.
    pub const RULE: Self = Self { steps: 50_000, bytes: 64 << 10, queries: 20 };
    /// For a part of a notification.
    pub const MESSAGE: Self = Self { steps: 500_000, bytes: 512 << 10, queries: 0 };
}

/// Answers `query`.
pub type Ask<'a> = &'a dyn Fn(&str) -> Result<Vec<Sample>, String>;

/// What a rendering can see beside its data.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Answers `query` as of the evaluation; none where it cannot be asked.
    pub query: Option<Ask<'a>>,
    /// The page's URL, without a slash at its end.
    pub external_url: &'a str,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// Templates that were read.
#[derive(Clone, Debug, Default)]
pub struct Template {
    trees: Trees,
}

/// The variables that Prometheus declares for every rule's template.
const RULE_VARIABLES: &[&str] = &["labels", "externalLabels", "externalURL", "value"];

impl Template {
    /// Reads a label's or annotation's template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut trees = Trees::new();
        check_size(text)?;
        parse::parse("", text, Dialect::Rule, RULE_VARIABLES, &mut trees)?;
        Ok(Self { trees })
    }

    /// Reads templates for notifications; what a later one defines replaces an
    /// earlier one's.
    pub fn messages<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, TemplateError> {
        let mut trees = Trees::new();
        for text in texts {
            check_size(text)?;
            parse::parse("", text, Dialect::Message, &[], &mut trees)?;
        }
        Ok(Self { trees })
    }

    /// Reads one more text for a notification that may use what is defined here.
    pub fn with_text(&self, text: &str) -> Result<Self, TemplateError> {
        check_size(text)?;
        let mut trees = self.trees.clone();
        trees.remove("");
        parse::parse("", text, Dialect::Message, &[], &mut trees)?;
        Ok(Self { trees })
    }

    /// Fills in a rule's template.
    pub fn render(
        &self,
        data: &RuleData<'_>,
        environment: &Environment<'_>,
    ) -> Result<String, TemplateError> {
        let labels = Value::texts(data.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())), MapKind::Texts);
        let external =
            Value::texts(data.external_labels.iter().map(|(n, v)| (n.as_str(), v.as_str())), MapKind::Texts);
        let url = Value::text(environment.external_url);
        let value = value_of(data.value);
        let dot = Value::fields([
            ("Labels", labels.clone()),
            ("ExternalLabels", external.clone()),
            ("ExternalURL", url.clone()),
            ("Value", value.clone()),
        ]);
        let variables =
            [("labels", labels), ("externalLabels", external), ("externalURL", url), ("value", value)];
        run::Run::new(&self.trees, environment, Limits::RULE).run("", dot, &variables)
    }

    /// Fills in a notification's template as HTML: what is printed is escaped.
    pub fn render_html(&self, data: &Value, environment: &Environment<'_>) -> Result<String, TemplateError> {
        run::Run::new(&self.trees, environment, Limits::MESSAGE).escaping().run("", data.clone(), &[])
    }

    /// Fills in a notification's template.
    pub fn render_message(
        &self,
        data: &Value,
        environment: &Environment<'_>,
    ) -> Result<String, TemplateError> {
        run::Run::new(&self.trees, environment, Limits::MESSAGE).run("", data.clone(), &[])
    }
}

/// What a rule's template is filled in with.
#[derive(Clone, Copy, Debug)]
pub struct RuleData<'a> {
    /// The labels of the sample that made the alert.
    pub labels: &'a Labels,
    /// The labels that tell this monitor from others.
    pub external_labels: &'a Labels,
    /// The sample's value.
    pub value: &'a SampleValue,
}

fn check_size(text: &str) -> Result<(), TemplateError> {
    match text.len() > MAX_TEMPLATE_BYTES {
        true => Err(TemplateError::at(
            0,
            format!("a template of {} bytes; hint: at most {MAX_TEMPLATE_BYTES}", text.len()),
        )),
        false => Ok(()),
    }
}

fn value_of(value: &SampleValue) -> Value {
    match value {
        SampleValue::Float(number) => Value::Float(*number),
        SampleValue::Histogram(histogram) => Value::Histogram(histogram.clone()),
    }
}

/// Reads and renders at once; a template that cannot be used gives its error as
/// text, so that an alert is never lost over its words (Prometheus does the same).
pub fn expand(template: &str, data: &RuleData<'_>, environment: &Environment<'_>) -> String {
    if !template.contains("{{") {
        return template.to_owned(); // Most labels; nothing to read.
    }
    Template::parse(template)
        .and_then(|t| t.render(data, environment))
        .unwrap_or_else(|error| format!("<error expanding template: {error}>"))
}

#[cfg(test)]
mod tests;
