//! Which format is spoken: what we ask for, and what we give to those who ask.
//!
//! Sources: Prometheus documentation, "Content negotiation"; `scrape_protocols`
//! of its configuration; RFC 9110 §12.5.1.

use crate::Format;

/// A format in a version, as `scrape_protocols` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `PrometheusProto`
    Protobuf,
    /// `OpenMetricsText1.0.0`
    OpenMetrics100,
    /// `OpenMetricsText0.0.1`
    OpenMetrics001,
    /// `PrometheusText1.0.0`: 0.0.4 with UTF-8 names.
    Text100,
    /// `PrometheusText0.0.4`
    Text004,
}

impl Protocol {
    /// In the order in which Prometheus 3 asks for them where nothing else is configured.
    pub const DEFAULT: [Self; 4] = [Self::OpenMetrics100, Self::OpenMetrics001, Self::Text100, Self::Text004];

    /// The order that asks for protobuf first, which is what native histograms need.
    pub const PROTOBUF_FIRST: [Self; 5] =
        [Self::Protobuf, Self::OpenMetrics100, Self::OpenMetrics001, Self::Text100, Self::Text004];

    /// The name in `scrape_protocols`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "PrometheusProto",
            Self::OpenMetrics100 => "OpenMetricsText1.0.0",
            Self::OpenMetrics001 => "OpenMetricsText0.0.1",
            Self::Text100 => "PrometheusText1.0.0",
            Self::Text004 => "PrometheusText0.0.4",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::PROTOBUF_FIRST.into_iter().find(|protocol| protocol.name() == name)
    }

    /// The format, whatever the version.
    pub fn format(self) -> Format {
        match self {
            Self::Protobuf => Format::Protobuf,
            Self::OpenMetrics100 | Self::OpenMetrics001 => Format::OpenMetrics,
            Self::Text100 | Self::Text004 => Format::Text,
        }
    }

    fn media_range(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::OpenMetrics100 => "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
            Self::OpenMetrics001 => "application/openmetrics-text;version=0.0.1",
            Self::Text100 => "text/plain;version=1.0.0;escaping=allow-utf-8",
            Self::Text004 => "text/plain;version=0.0.4",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
            Self::OpenMetrics100 => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
            }
            Self::OpenMetrics001 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            Self::Text100 => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            Self::Text004 => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The `Accept` line that asks for these, the first preferred, as Prometheus 3
/// writes it. Without `utf8`, names that are not plain shall come with underscores.
pub fn accept_header(protocols: &[Protocol], utf8: bool) -> String {
    let mut out = String::new();
    let mut weight = Protocol::PROTOBUF_FIRST.len() + 1;
    for protocol in protocols.iter().take(Protocol::PROTOBUF_FIRST.len()) {
        let range = protocol.media_range();
        let range = if utf8 { range.to_owned() } else { range.replace("allow-utf-8", "underscores") };
        out.push_str(&format!("{range};q=0.{weight},"));
        weight -= 1;
    }
    out.push_str(&format!("*/*;q=0.{weight}"));
    out
}

/// The best that an asker's `Accept` allows: format, `Content-Type`, and whether
/// names may be any UTF-8. What was not asked for is the text format 0.0.4.
pub fn best_for(accept: &str) -> (Format, &'static str, bool) {
    let mut best = (Protocol::Text004, false, 0.0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut weight, mut version, mut utf8, mut proto, mut encoding) = (1.0, "", false, "", "");
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim() {
                "q" => weight = value.parse().unwrap_or(0.0),
                "version" => version = value,
                "escaping" => utf8 = value == "allow-utf-8",
                "proto" => proto = value,
                "encoding" => encoding = value,
                _ => {}
            }
        }
        let found = match media.as_str() {
            "application/vnd.google.protobuf"
                if proto == "io.prometheus.client.MetricFamily" && encoding == "delimited" =>
            {
                Protocol::Protobuf
            }
            "application/openmetrics-text" if version == "1.0.0" => Protocol::OpenMetrics100,
            "application/openmetrics-text" if matches!(version, "" | "0.0.1") => Protocol::OpenMetrics001,
            "text/plain" if version == "1.0.0" => Protocol::Text100,
            "text/plain" if matches!(version, "" | "0.0.4") => Protocol::Text004,
            _ => continue,
        };
        // Of equals the first counts.
        if weight > best.2 {
            best = (found, utf8, weight);
        }
    }
    let (protocol, utf8, _) = best;
    let content_type = match (protocol, utf8) {
        (Protocol::Text100, false) => Protocol::Text004.content_type(),
        (Protocol::OpenMetrics100, false) => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        _ => protocol.content_type(),
    };
    (protocol.format(), content_type, utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_asks_for() {
        assert_eq!(
            accept_header(&Protocol::DEFAULT, true),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        let plain = accept_header(&[Protocol::Text100], false);
        assert_eq!(plain, "text/plain;version=1.0.0;escaping=underscores;q=0.6,*/*;q=0.5");
        let first = accept_header(&Protocol::PROTOBUF_FIRST, true);
        assert!(first.starts_with("application/vnd.google.protobuf;"), "{first}");
        assert!(first.ends_with(";q=0.2,*/*;q=0.1"), "{first}");
    }

    #[test]
    fn what_askers_get() {
        let cases = [
            ("", Format::Text, false),
            ("*/*", Format::Text, false),
            ("text/html", Format::Text, false),
            ("application/openmetrics-text;version=9", Format::Text, false),
            (
                "text/plain;version=0.0.4;q=0.3,application/openmetrics-text;version=1.0.0;q=0.5",
                Format::OpenMetrics,
                false,
            ),
            ("text/plain;version=1.0.0;escaping=allow-utf-8", Format::Text, true),
            ("application/vnd.google.protobuf;proto=other;encoding=delimited", Format::Text, false),
        ];
        for (accept, format, utf8) in cases {
            let got = best_for(accept);
            assert_eq!((got.0, got.2), (format, utf8), "{accept}");
            assert_eq!(Format::of_content_type(got.1), Some(format));
        }
        assert_eq!(best_for(&accept_header(&Protocol::PROTOBUF_FIRST, true)).0, Format::Protobuf);
        assert!(best_for(&accept_header(&Protocol::DEFAULT, true)).2);
    }

    #[test]
    fn what_answers_are() {
        let cases = [
            ("text/plain; version=0.0.4", Some(Format::Text)),
            ("text/plain", Some(Format::Text)),
            ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", Some(Format::OpenMetrics)),
            (Protocol::Protobuf.content_type(), Some(Format::Protobuf)),
            ("application/vnd.google.protobuf", None),
            ("text/html", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(Format::of_content_type(value), expected, "{value}");
        }
        for protocol in Protocol::PROTOBUF_FIRST {
            assert_eq!(Protocol::from_name(protocol.name()), Some(protocol));
        }
    }
}
