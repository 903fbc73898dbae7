//! Money, dates and what visitors type.

/// Cents as `€1,234.50`.
pub(crate) fn euros(cents: i64) -> String {
    let whole = (cents / 100).to_string();
    let mut grouped = String::with_capacity(whole.len() + 8);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("€{grouped}.{:02}", cents % 100)
}

/// Unix seconds as `23 November 2026, 06:45 UTC`.
pub(crate) fn date(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s)
        .map(|t| t.strftime("%-d %B %Y, %H:%M UTC").to_string())
        .unwrap_or_else(|_| "an unknown date".to_owned())
}

/// One line of what a visitor typed: no control characters (PostgreSQL refuses
/// NUL), no space around or doubled inside, at most `longest` characters.
pub(crate) fn line(text: &str, longest: usize) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    words.join(" ").chars().take(longest).collect()
}

/// Several such lines, as an address has them; empty ones are left out.
pub(crate) fn lines(text: &str, most: usize, longest: usize) -> String {
    let lines = text.lines().map(|l| line(l, longest)).filter(|l| !l.is_empty()).take(most);
    lines.collect::<Vec<_>>().join("\n")
}

/// A pattern for ILIKE that finds the words in their order. `%`, `_` and `\`
/// stand for themselves: PostgreSQL manual, 9.7.1.
pub(crate) fn pattern(words: &str) -> String {
    let mut pattern = String::from("%");
    for c in words.chars() {
        match c {
            '%' | '_' | '\\' => pattern.extend(['\\', c]),
            ' ' => pattern.push('%'),
            _ => pattern.push(c),
        }
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn euros_are_written_with_groups_and_two_places() {
        for (cents, expected) in
            [(5, "€0.05"), (490, "€4.90"), (100_000, "€1,000.00"), (123_456_789, "€1,234,567.89")]
        {
            assert_eq!(euros(cents), expected);
        }
    }

    #[test]
    fn typed_lines_lose_what_a_line_cannot_have() {
        for (typed, expected) in [
            ("  chef's   knife ", "chef's knife"),
            ("a\0b\r\nc", "a b c"),
            ("", ""),
            ("ééééééé", "ééééé"),
            ("\u{85}\t", ""),
        ] {
            assert_eq!(line(typed, 5 + 7 * usize::from(typed.contains("chef"))), expected);
        }
    }

    #[test]
    fn patterns_escape_what_ilike_would_read() {
        for (typed, expected) in
            [("", "%%"), ("tea", "%tea%"), ("olive oil", "%olive%oil%"), ("100%_\\", "%100\\%\\_\\\\%")]
        {
            assert_eq!(pattern(typed), expected);
        }
    }

    #[test]
    fn dates_are_readable() {
        assert_eq!(date(0), "1 January 1970, 00:00 UTC");
        assert_eq!(date(i64::MAX), "an unknown date");
    }
}
