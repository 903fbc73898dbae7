//! How a log's lines are written: from the revision's words to the reader's.

use monitor_logs::{Json, Spec, Unit};
use site::LogFormat;

/// The reader's format. What it cannot be compiled from is told when it is.
pub(crate) fn spec(format: &LogFormat) -> Spec {
    match format {
        LogFormat::Bastide => Spec::Bastide,
        LogFormat::Combined => Spec::Combined,
        LogFormat::Caddy => Spec::Caddy,
        LogFormat::Traefik => Spec::Traefik,
        // nginx' variables begin with a dollar, Apache's with a percent sign.
        LogFormat::Pattern(text) if text.contains('$') => Spec::Nginx(text.clone()),
        LogFormat::Pattern(text) => Spec::Apache(text.clone()),
        LogFormat::Json(fields) => Spec::Json(json(fields)),
    }
}

/// A mapping; names that are not given are what many programs use.
fn json(fields: &[(String, String)]) -> Json {
    let key = |name: &str, otherwise: &str| {
        let found = fields.iter().find(|(field, _)| field == name).map(|(_, key)| key.clone());
        found.unwrap_or_else(|| otherwise.to_owned())
    };
    let units = [
        ("seconds", Unit::S),
        ("milliseconds", Unit::Ms),
        ("microseconds", Unit::Us),
        ("nanoseconds", Unit::Ns),
    ];
    let duration = units.iter().find_map(|(name, unit)| {
        fields.iter().find(|(field, _)| field == name).map(|(_, key)| (key.clone(), *unit))
    });
    let (duration, duration_unit) = duration.unwrap_or_else(|| ("seconds".to_owned(), Unit::S));
    Json {
        time: key("time", "time"),
        time_unit: Unit::S,
        status: key("status", "status"),
        bytes: key("bytes", "bytes"),
        duration,
        duration_unit,
        host: key("host", "host"),
        method: key("method", "method"),
        target: key("path", "path"),
        request: key("request", ""),
        ip: key("client", "client"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_logs::{Format, Scratch};

    #[test]
    fn formats_of_the_revision_read_their_lines() {
        let own = |name: &str, key: &str| (name.to_owned(), key.to_owned());
        let cases = [
            (LogFormat::Bastide, r#"{"status":201,"duration_ms":3.5}"#, 201, Some(3_500)),
            (LogFormat::Combined, r#"h - - [t] "GET / HTTP/1.1" 202 5"#, 202, None),
            (LogFormat::Pattern("$status $request_time".into()), "203 0.25", 203, Some(250_000)),
            (LogFormat::Caddy, r#"{"ts":1.5,"duration":0.002,"status":207}"#, 207, Some(2_000)),
            (LogFormat::Traefik, r#"{"Duration":2000000,"DownstreamStatus":208}"#, 208, Some(2_000)),
            (LogFormat::Pattern("%>s %D".into()), "204 77", 204, Some(77)),
            (
                LogFormat::Json(vec![own("status", "response.code")]),
                r#"{"response":{"code":205}}"#,
                205,
                None,
            ),
            (
                LogFormat::Json(vec![own("milliseconds", "took")]),
                r#"{"status":206,"took":1.5}"#,
                206,
                Some(1_500),
            ),
        ];
        for (format, line, status, duration_us) in cases {
            let compiled = Format::compile(&spec(&format)).unwrap();
            let mut scratch = Scratch::default();
            let entry = compiled.parse(line.as_bytes(), &mut scratch).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((entry.status, entry.duration_us), (status, duration_us), "{line}");
        }
    }
}
