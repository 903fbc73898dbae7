//! Remote write: `prometheus.WriteRequest` (1.0) and
//! `io.prometheus.write.v2.Request` (2.0), read and written.

mod histogram;
mod labels;
mod read_v1;
mod read_v2;
#[cfg(test)]
mod tests;
mod write;

use monitor_model::histogram::HistogramError;
use monitor_model::{Histogram, Metadata, MetricType};

pub use labels::{BadLabels, KeyHash, RawLabels};
pub use read_v1::read_v1;
pub use read_v2::read_v2;
pub use write::{Outgoing, OutgoingExemplar, OutgoingHistogram, OutgoingSample, write_v1, write_v2};

/// Which message a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Version {
    /// From a `Content-Type`; `None` for what is not remote write's. Without the
    /// parameter `proto` it is 1.0 (Remote-Write 2.0, "Protocol").
    pub fn from_content_type(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("application/x-protobuf") {
            return None;
        }
        let mut version = Self::V1;
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            if name.trim().eq_ignore_ascii_case("proto") {
                version = match value.trim().trim_matches('"') {
                    "prometheus.WriteRequest" => Self::V1,
                    "io.prometheus.write.v2.Request" => Self::V2,
                    _ => return None,
                };
            }
        }
        Some(version)
    }

    /// The `Content-Type` of such a message.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/x-protobuf;proto=prometheus.WriteRequest",
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The value of `X-Prometheus-Remote-Write-Version`.
    pub fn header(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }

    /// Reads a message.
    pub fn read(
        self,
        body: &[u8],
        hash: &impl KeyHash,
        sink: &mut impl RemoteSink,
    ) -> Result<(), crate::WireError> {
        match self {
            Self::V1 => read_v1(body, hash, sink),
            Self::V2 => read_v2(body, hash, sink),
        }
    }
}

/// What of a request was stored: a 2.0 receiver must say so in its answer, also
/// when it refuses a part ("Required Written Response Headers").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Numbers.
    pub samples: u64,
    /// Histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl Written {
    /// The headers' names and values.
    pub fn headers(self) -> [(&'static str, u64); 3] {
        [
            ("x-prometheus-remote-write-samples-written", self.samples),
            ("x-prometheus-remote-write-histograms-written", self.histograms),
            ("x-prometheus-remote-write-exemplars-written", self.exemplars),
        ]
    }

    /// From an answer's headers; `None` where the receiver sends none, and knows
    /// 1.0 only.
    pub fn from_headers<'a>(get: impl Fn(&'static str) -> Option<&'a str>) -> Option<Self> {
        let mut values = [0; 3];
        let mut any = false;
        for (value, (name, _)) in values.iter_mut().zip(Self::default().headers()) {
            if let Some(text) = get(name) {
                *value = text.trim().parse().ok()?;
                any = true;
            }
        }
        let [samples, histograms, exemplars] = values;
        any.then_some(Self { samples, histograms, exemplars })
    }
}

/// What becomes of a message's content. Calls follow the message: a series, then
/// what belongs to it. After an error the caller forgets what it was told.
pub trait RemoteSink {
    /// A time series begins. `false`: what belongs to it is left out.
    fn series(&mut self, labels: &RawLabels<'_>) -> bool;

    /// A number of the series. `start_ms` is 0 where the message has none.
    fn sample(&mut self, at_ms: i64, value: f64, start_ms: i64);

    /// A histogram of the series that [`Histogram::validate`] takes.
    fn histogram(&mut self, at_ms: i64, value: Histogram, start_ms: i64);

    /// A histogram that is refused.
    fn refused_histogram(&mut self, at_ms: i64, why: &HistogramError);

    /// An exemplar of the series.
    fn exemplar(&mut self, exemplar: RemoteExemplar<'_>);

    /// What the series' metric is (2.0).
    fn series_metadata(&mut self, metadata: RemoteMetadata<'_>);

    /// What a metric family is (1.0).
    fn family_metadata(&mut self, family: &str, metadata: RemoteMetadata<'_>);
}

/// An exemplar as it came.
#[derive(Clone, Copy, Debug)]
pub struct RemoteExemplar<'a> {
    /// Its labels.
    pub labels: RawLabels<'a>,
    /// Its value.
    pub value: f64,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// Metadata as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteMetadata<'a> {
    /// The type.
    pub kind: MetricType,
    /// The unit; empty where there is none.
    pub unit: &'a str,
    /// What it means.
    pub help: &'a str,
}

impl RemoteMetadata<'_> {
    /// For keeping.
    pub fn to_metadata(self) -> Metadata {
        Metadata { kind: self.kind, unit: self.unit.into(), help: self.help.into() }
    }

    /// Whether it says nothing.
    pub fn is_empty(self) -> bool {
        self.kind == MetricType::Unknown && self.unit.is_empty() && self.help.is_empty()
    }
}

/// The numbers of types are the same in both versions.
const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

/// A number that is not among them says nothing.
fn metric_type(number: u64) -> MetricType {
    usize::try_from(number).ok().and_then(|number| TYPES.get(number)).copied().unwrap_or_default()
}

fn type_number(kind: MetricType) -> u64 {
    TYPES.iter().position(|known| *known == kind).unwrap_or(0) as u64
}
