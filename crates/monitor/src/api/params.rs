//! Times, durations and limits as Prometheus' API takes them.

/// The earliest time that a request may mean: the epoch.
pub(crate) const MIN_MS: i64 = 0;

/// The latest: the last millisecond of the year 9999.
pub(crate) const MAX_MS: i64 = 253_402_300_799_999;

/// What lies beyond is meant as "from the beginning" and "until the end".
const FAR_MS: f64 = 1e17;

/// How Prometheus' own clients write its earliest and latest time.
const MIN_TIME: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME: &str = "292277025-08-18T07:12:54.999999999Z";

/// Unix seconds with a fraction, or RFC 3339; in Unix milliseconds.
pub(crate) fn time_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("cannot parse {text:?} to a valid timestamp");
    if let Ok(seconds) = text.parse::<f64>() {
        let at_ms = (seconds * 1_000.0).round();
        return if at_ms.is_nan() { Err(wrong()) } else { Ok((at_ms.clamp(-FAR_MS, FAR_MS)) as i64) };
    }
    match text {
        MIN_TIME => Ok(-FAR_MS as i64),
        MAX_TIME => Ok(FAR_MS as i64),
        _ => text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| wrong()),
    }
}

/// Seconds with a fraction, or `1m30s`; in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("cannot parse {text:?} to a valid duration");
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1_000.0).round();
        return match ms.abs() <= monitor_lang::ast::MAX_SPAN_SECONDS * 1_000.0 {
            true => Ok(ms as i64),
            false if ms.is_nan() => Err(wrong()),
            false => Err(format!("{}. It overflows int64", wrong())),
        };
    }
    monitor_lang::parse_duration(text).map_err(|_| wrong())
}

/// How many are wanted at most; 0 and nothing mean all.
pub(crate) fn limit(text: Option<&str>) -> Result<usize, String> {
    match text.unwrap_or("0").parse::<i64>() {
        Ok(0) => Ok(usize::MAX),
        Ok(limit) => usize::try_from(limit).map_err(|_| "limit must be non-negative".to_owned()),
        Err(_) => Err(format!("parsing {:?}: invalid syntax", text.unwrap_or_default())),
    }
}

/// A label's name as it stands in a path: percent-encoded, and where it begins
/// with `U__`, with the characters that a plain name cannot have as `_HEX_` and
/// underscores as `__` (Prometheus, "UTF-8 escaping schemes", `values`).
pub(crate) fn label_name(path: &str) -> Option<String> {
    let text = role::admin::decode_query(&format!("={}", path.replace('+', "%2B"))).pop()?.1;
    let name = match text.strip_prefix("U__") {
        Some(escaped) => unescape(escaped).unwrap_or(text),
        None => text,
    };
    (!name.is_empty() && !name.contains('\u{fffd}')).then_some(name)
}

fn unescape(escaped: &str) -> Option<String> {
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, after)) = rest.split_once('_') {
        name.push_str(plain);
        let (code, after) = after.split_once('_')?;
        match code {
            "" => name.push('_'),
            code if code.len() <= 6 => name.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?),
            _ => return None,
        }
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            ("1435781451.781", Some(1_435_781_451_781)),
            ("0", Some(0)),
            ("1e3", Some(1_000_000)),
            ("2015-06-03T13:21:58.555Z", Some(1_433_337_718_555)),
            ("2015-06-03T14:21:58.555+01:00", Some(1_433_337_718_555)),
            ("-9223372036854775808", Some(-100_000_000_000_000_000)),
            (MIN_TIME, Some(-100_000_000_000_000_000)),
            (MAX_TIME, Some(100_000_000_000_000_000)),
            ("NaN", None),
            ("30s", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time_ms(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        let cases = [
            ("15", Some(15_000)),
            ("0.5", Some(500)),
            ("-1", Some(-1_000)),
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1y", Some(31_536_000_000)),
            ("1y2d", Some(31_708_800_000)),
            ("1e40", None),
            ("NaN", None),
            ("999999y", None),
            ("abc", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration_ms(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn limits() {
        let cases = [
            (None, Some(usize::MAX)),
            (Some("0"), Some(usize::MAX)),
            (Some("7"), Some(7)),
            (Some("-1"), None),
            (Some("x"), None),
            (Some("99999999999999999999"), None),
        ];
        for (text, expected) in cases {
            assert_eq!(limit(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn names_in_paths() {
        let cases = [
            ("job", Some("job")),
            ("a-b", Some("a-b")),
            ("http%2Estatus", Some("http.status")),
            ("U__http_2e_status__code", Some("http.status_code")),
            ("U__a_1F600_", Some("a😀")),
            ("U___", Some("U___")),
            ("U__a_zz_", Some("U__a_zz_")),
            ("U__a_110000_", Some("U__a_110000_")),
            ("a+b", Some("a+b")),
            ("%FF", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(label_name(path).as_deref(), expected, "{path}");
        }
    }
}
