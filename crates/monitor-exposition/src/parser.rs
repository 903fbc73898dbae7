//! The parser's door: formats, limits, errors.

use crate::proto::ProtoParser;
use crate::text::TextParser;
use crate::{Entry, Protocol};

/// In which form an exposition is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The text format 0.0.4, and 1.0.0 with UTF-8 names in quotes.
    Text,
    /// OpenMetrics 1.0 (and 0.0.1), text.
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily`, each with its length before it.
    Protobuf,
}

impl Format {
    /// From an answer's `Content-Type`; `None` where it is none of them.
    ///
    /// As in Prometheus: the media type decides, and `text/plain` of any version
    /// is the text format.
    pub fn of_content_type(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let media = parts.next()?.to_ascii_lowercase();
        match media.as_str() {
            "text/plain" => Some(Self::Text),
            "application/openmetrics-text" => Some(Self::OpenMetrics),
            "application/vnd.google.protobuf" => {
                let mut right = (false, false);
                for part in parts {
                    let (name, value) = part.split_once('=').unwrap_or((part, ""));
                    let value = value.trim().trim_matches('"');
                    match name.trim().to_ascii_lowercase().as_str() {
                        "proto" => right.0 = value == "io.prometheus.client.MetricFamily",
                        "encoding" => right.1 = value == "delimited",
                        _ => {}
                    }
                }
                (right == (true, true)).then_some(Self::Protobuf)
            }
            _ => None,
        }
    }

    /// The `Content-Type` that we send.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => Protocol::Text100.content_type(),
            Self::OpenMetrics => Protocol::OpenMetrics100.content_type(),
            Self::Protobuf => Protocol::Protobuf.content_type(),
        }
    }
}

/// What one exposition may hold. The caller bounds the body's size.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Samples; a bucket of a classic histogram counts as one. Default 5,000,000.
    pub samples: u64,
    /// Labels of one sample as it is written. Default 256.
    pub labels: usize,
    /// Buckets of one native histogram. Default 10,000.
    pub buckets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { samples: 5_000_000, labels: 256, buckets: 10_000 }
    }
}

/// Where in an exposition something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In text.
    Text {
        /// Counted from 1.
        line: u64,
        /// Bytes from the line's beginning, counted from 1.
        column: usize,
    },
    /// In protobuf.
    Protobuf {
        /// Bytes from the body's beginning.
        byte: usize,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text { line, column } => write!(f, "line {line}, column {column}"),
            Self::Protobuf { byte } => write!(f, "byte {byte}"),
        }
    }
}

/// Why an exposition was refused; whole, because half of one would look as if
/// the other half had disappeared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ParseError {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub what: String,
}

/// Reads one exposition.
#[derive(Debug)]
pub struct Parser<'b>(Inner<'b>);

#[derive(Debug)]
enum Inner<'b> {
    Text(Box<TextParser<'b>>),
    Proto(Box<ProtoParser<'b>>),
}

impl<'b> Parser<'b> {
    /// Over a whole body. Refused where text is not UTF-8.
    pub fn new(format: Format, body: &'b [u8], limits: Limits) -> Result<Self, ParseError> {
        Ok(Self(match format {
            Format::Text => Inner::Text(Box::new(TextParser::new(body, false, limits)?)),
            Format::OpenMetrics => Inner::Text(Box::new(TextParser::new(body, true, limits)?)),
            Format::Protobuf => Inner::Proto(Box::new(ProtoParser::new(body, limits))),
        }))
    }

    /// Of native histograms that have classic buckets too, the classic series as
    /// well (`always_scrape_classic_histograms`); else those are left out.
    #[must_use]
    pub fn with_classic_histograms(mut self, also: bool) -> Self {
        if let Inner::Proto(parser) = &mut self.0 {
            parser.classic_too = also;
        }
        self
    }

    /// Whether native histograms are read; without them a histogram that has both
    /// forms gives its classic series (`scrape_native_histograms`). They are, unless told otherwise.
    #[must_use]
    pub fn with_native_histograms(mut self, read: bool) -> Self {
        if let Inner::Proto(parser) = &mut self.0 {
            parser.native = read;
        }
        self
    }

    /// Of quoted names, trailing commas, unknown escapes and the like only what
    /// the standard's grammar has; see [`crate::check`].
    pub(crate) fn strict(mut self) -> Self {
        if let Inner::Text(parser) = &mut self.0 {
            parser.strict = true;
        }
        self
    }

    /// The next entry; `None` at the end. After an error the rest is not read.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ParseError> {
        match &mut self.0 {
            Inner::Text(parser) => parser.next_entry(),
            Inner::Proto(parser) => parser.next_entry(),
        }
    }

    /// Where the last entry began.
    pub fn place(&self) -> Place {
        match &self.0 {
            Inner::Text(parser) => parser.place(),
            Inner::Proto(parser) => parser.place(),
        }
    }
}

/// A stranger's text for a message: short, with nothing that a terminal obeys.
pub(crate) fn cut(text: &str) -> String {
    let mut out: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}
