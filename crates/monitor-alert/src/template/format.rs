//! Go's ways of writing numbers, and Prometheus' `humanize` family.

use super::go_time::Moment;
use super::value::Value;

/// Width and precision of one verb, at most: `%99999999f` must not fill the memory.
const MAX_WIDTH: usize = 1_000;

/// Go's `%v` of a float: the shortest text that reads back, with an exponent
/// from 1e6 on and below 1e-4 (`strconv`, format `g` of the shortest precision).
pub(super) fn plain(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else if number != 0.0 && (number.abs() >= 1e6 || number.abs() < 1e-4) {
        exponent(&format!("{number:e}"))
    } else {
        format!("{number}")
    }
}

/// Rust's `1e-7` as Go's `1e-07`.
fn exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Go's `%.{digits}g`, without trailing zeros.
fn general(number: f64, digits: usize) -> String {
    if number == 0.0 || !number.is_finite() {
        return plain(number);
    }
    let digits = digits.max(1);
    let scientific = format!("{number:.*e}", digits - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let whole = i32::try_from(digits).unwrap_or(i32::MAX);
    if (-4..whole).contains(&power) {
        trim(&format!("{number:.*}", usize::try_from(whole - 1 - power).unwrap_or(0)))
    } else {
        let (mantissa, exp) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        exponent(&format!("{}e{exp}", trim(mantissa)))
    }
}

/// `%.4g`.
fn four(number: f64) -> String {
    general(number, 4)
}

/// As Go's `strconv.ParseFloat` for what people write.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

/// `humanize`: SI prefixes.
pub(super) fn humanize(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return four(number);
    }
    let mut value = number;
    let mut prefix = "";
    if number.abs() >= 1.0 {
        for p in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
            if value.abs() < 1000.0 {
                break;
            }
            prefix = p;
            value /= 1000.0;
        }
    } else {
        for p in ["m", "u", "n", "p", "f", "a", "z", "y"] {
            if value.abs() >= 1.0 {
                break;
            }
            prefix = p;
            value *= 1000.0;
        }
    }
    format!("{}{prefix}", four(value))
}

/// `humanize1024`: binary prefixes.
pub(super) fn humanize_1024(number: f64) -> String {
    let mut value = number;
    let mut prefix = "";
    if number.abs() > 1.0 && number.is_finite() {
        for p in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
            if value.abs() < 1024.0 {
                break;
            }
            prefix = p;
            value /= 1024.0;
        }
    }
    format!("{}{prefix}", four(value))
}

/// `humanizePercentage`: a ratio as percent.
pub(super) fn humanize_percentage(ratio: f64) -> String {
    format!("{}%", four(ratio * 100.0))
}

/// `humanizeDuration`: seconds in days, hours, minutes.
pub(super) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return four(seconds);
    }
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() >= 1.0 {
        let sign = if seconds < 0.0 { "-" } else { "" };
        let whole = seconds.abs() as u64;
        let (d, h, m, s) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
        return match (d, h, m) {
            (1.., _, _) => format!("{sign}{d}d {h}h {m}m {s}s"),
            (0, 1.., _) => format!("{sign}{h}h {m}m {s}s"),
            (0, 0, 1..) => format!("{sign}{m}m {s}s"),
            (0, 0, 0) => format!("{sign}{}s", four(seconds.abs())),
        };
    }
    let mut value = seconds;
    let mut prefix = "";
    for p in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = p;
        value *= 1000.0;
    }
    format!("{}{prefix}s", four(value))
}

/// `humanizeTimestamp`: Unix seconds as Go prints a time.
pub(super) fn humanize_timestamp(seconds: f64) -> Result<String, String> {
    if !seconds.is_finite() {
        return Ok(four(seconds));
    }
    let ms = seconds * 1e3;
    if ms.abs() > 2.5e14 {
        return Err(format!("`{}` is no time that a calendar holds", plain(seconds)));
    }
    Ok(Moment::of_ms(ms.round() as i64).to_string())
}

/// Go's `time.Duration.String()`: `1h2m3.5s`.
pub(super) fn go_duration(ms: i64) -> String {
    let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1_000 {
        return format!("{sign}{ms}ms");
    }
    let (h, m) = (ms / 3_600_000, ms / 60_000 % 60);
    let s = plain((ms % 60_000) as f64 / 1e3);
    match (h, m) {
        (1.., _) => format!("{sign}{h}h{m}m{s}s"),
        (0, 1..) => format!("{sign}{m}m{s}s"),
        (0, 0) => format!("{sign}{s}s"),
    }
}

/// Go's `strings.Title`: the first letter of every word in upper case.
pub(super) fn title(text: &str) -> String {
    let mut before = ' ';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Go's isSeparator: ASCII letters, digits and `_` separate nothing, other ASCII does.
        let separates = match before {
            b if b.is_ascii() => !(b.is_ascii_alphanumeric() || b == '_'),
            b => !b.is_alphanumeric() && b.is_whitespace(),
        };
        if separates {
            out.extend(c.to_uppercase())
        } else {
            out.push(c)
        }
        before = c;
    }
    out
}

/// Go's `fmt.Sprintf`: `%v %s %d %f %e %g %q %t %x %X %c %%` with flags, width
/// and precision. What does not fit is written as Go writes it: `%!d(string=a)`.
pub(super) fn printf(format: &str, args: &[Value]) -> Result<String, String> {
    let mut args = args.iter();
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let flags_end = rest.bytes().take_while(|b| b"-+# 0".contains(b)).count();
        let flags = &rest[..flags_end];
        rest = &rest[flags_end..];
        let width = leading_number(&mut rest)?;
        let precision = match rest.strip_prefix('.') {
            Some(after) => {
                rest = after;
                Some(leading_number(&mut rest)?.unwrap_or(0))
            }
            None => None,
        };
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            return Ok(out);
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = args.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let text = one_verb(verb, flags, precision, value);
        let missing = width.unwrap_or(0).saturating_sub(text.chars().count());
        if flags.contains('-') {
            out.push_str(&text);
            out.extend(std::iter::repeat_n(' ', missing));
        } else if flags.contains('0') && !matches!(verb, 's' | 'q' | 'v') {
            let sign = usize::from(text.starts_with(['-', '+']));
            out.push_str(&text[..sign]);
            out.extend(std::iter::repeat_n('0', missing));
            out.push_str(&text[sign..]);
        } else {
            out.extend(std::iter::repeat_n(' ', missing));
            out.push_str(&text);
        }
    }
    out.push_str(rest);
    let extra: Vec<String> = args.map(|arg| format!("{}={}", arg.kind(), arg.show())).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(out)
}

fn leading_number(rest: &mut &str) -> Result<Option<usize>, String> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, after) = rest.split_at(digits);
    *rest = after;
    match number {
        "" => Ok(None),
        text => match text.parse() {
            Ok(number) if number <= MAX_WIDTH => Ok(Some(number)),
            _ => Err(format!("`{text}` in a format is too wide; hint: at most {MAX_WIDTH}")),
        },
    }
}

fn one_verb(verb: char, flags: &str, precision: Option<usize>, value: &Value) -> String {
    let signed = |text: String, positive: bool| match positive {
        true if flags.contains('+') => format!("+{text}"),
        true if flags.contains(' ') => format!(" {text}"),
        _ => text,
    };
    match (verb, value) {
        ('v', Value::Float(x)) => signed(precision.map_or_else(|| plain(*x), |p| general(*x, p)), *x >= 0.0),
        ('v', value) => value.show(),
        ('s', Value::Text(text)) => match precision {
            Some(p) => text.chars().take(p).collect(),
            None => text.to_string(),
        },
        ('s', Value::List(..) | Value::Map(..) | Value::Time(_) | Value::Span(_) | Value::Histogram(_)) => {
            value.show()
        }
        ('q', Value::Text(text)) => quote(text),
        ('d', Value::Int(n) | Value::Span(n)) => signed(n.to_string(), *n >= 0),
        ('x', Value::Int(n)) => format!("{n:x}"),
        ('X', Value::Int(n)) => format!("{n:X}"),
        ('x', Value::Text(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('c', Value::Int(n)) => {
            u32::try_from(*n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
        }
        ('t', Value::Bool(b)) => b.to_string(),
        ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Float(x)) if !x.is_finite() => signed(plain(*x), false),
        ('f' | 'F', Value::Float(x)) => signed(format!("{x:.*}", precision.unwrap_or(6)), *x >= 0.0),
        ('e', Value::Float(x)) => signed(exponent(&format!("{x:.*e}", precision.unwrap_or(6))), *x >= 0.0),
        ('E', Value::Float(x)) => {
            signed(exponent(&format!("{x:.*e}", precision.unwrap_or(6))).to_uppercase(), *x >= 0.0)
        }
        ('g' | 'G', Value::Float(x)) => {
            signed(precision.map_or_else(|| plain(*x), |p| general(*x, p)), *x >= 0.0)
        }
        (verb, Value::Nil) => format!("%!{verb}(<nil>)"),
        (verb, value) => format!("%!{verb}({}={})", value.kind(), value.show()),
    }
}

/// Go's `%q`.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let text = Value::text;
        let cases: &[(&str, Vec<Value>, &str)] = &[
            (
                "%.2f|%5.1f|%-6s|%06.2f",
                vec![Value::Float(1.0 / 3.0), Value::Float(2.25), text("ab"), Value::Float(-1.5)],
                "0.33|  2.2|ab    |-01.50",
            ),
            ("%d %v %s", vec![Value::Int(3), Value::Float(1e21), text("x")], "3 1e+21 x"),
            ("%d", vec![Value::Float(1.0)], "%!d(float64=1)"),
            ("%d %s", vec![Value::Int(1)], "1 %!s(MISSING)"),
            ("%d", vec![Value::Int(1), Value::Int(2)], "1%!(EXTRA int=2)"),
            (
                "%q %x %t %e %.3g %%",
                vec![
                    text("a\"b"),
                    Value::Int(255),
                    Value::Bool(true),
                    Value::Float(1500.0),
                    Value::Float(1234.5),
                ],
                "\"a\\\"b\" ff true 1.500000e+03 1.23e+03 %",
            ),
            ("%+d % d %05d", vec![Value::Int(3), Value::Int(3), Value::Int(-42)], "+3  3 -0042"),
            ("%.2s %", vec![text("abc")], "ab %!(NOVERB)"),
            ("%f", vec![Value::Float(f64::NAN)], "NaN"),
        ];
        for (format, args, expected) in cases {
            assert_eq!(printf(format, args).unwrap(), *expected, "{format}");
        }
        assert!(printf("%99999999f", &[Value::Float(1.0)]).is_err());
        assert_eq!(title("this part of_it x-y"), "This Part Of_it X-Y");
        for (ms, expected) in
            [(0, "0s"), (250, "250ms"), (61_500, "1m1.5s"), (3_600_000, "1h0m0s"), (-1_000, "-1s")]
        {
            assert_eq!(go_duration(ms), expected);
        }
    }
}
