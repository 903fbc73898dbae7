//! Numbers, times, tables and little charts, as text for people.

use crate::terminal::{Style, Terminal};
use std::fmt::Write as _;

/// `07:26:14Z`, with the date where it is not `now`'s. Always UTC: logs of several
/// machines are read side by side.
pub(crate) fn time(at_ms: u64, now_ms: u64) -> String {
    let Some(at) = timestamp(at_ms) else { return "-".to_owned() };
    let same_day = at_ms / 86_400_000 == now_ms / 86_400_000;
    at.strftime(if same_day { "%H:%M:%SZ" } else { "%Y-%m-%d %H:%M:%SZ" }).to_string()
}

/// `2026-11-23 07:26:14Z`.
pub(crate) fn date_time(at_ms: u64) -> String {
    timestamp(at_ms).map_or("-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

fn timestamp(at_ms: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()
}

/// How long something takes or took: `850 ms`, `12 s`, `5 min`, `3 h`, `12 d`.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// A duration in seconds, three digits: `1.95 ms`, `320 µs`, `2.50 s`.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        v if !v.is_finite() => "-".to_owned(),
        v if v < 1e-3 => format!("{:.0} µs", v * 1e6),
        v if v < 1.0 => format!("{} ms", digits(v * 1e3)),
        v => format!("{} s", digits(v)),
    }
}

/// Three digits that count: `0.25`, `12.5`, `1.20k`, `3.00M`.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => format!("{value}"),
        v if v >= 1e12 => format!("{value:.2e}"),
        v if v >= 1e9 => format!("{}G", digits(value / 1e9)),
        v if v >= 1e6 => format!("{}M", digits(value / 1e6)),
        v if v >= 1e4 => format!("{}k", digits(value / 1e3)),
        v if v > 0.0 && v < 1e-3 => format!("{value:.2e}"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => digits(value),
    }
}

fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A share as per cent: `0.00 %`, `1.25 %`, `100 %`.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{} %", digits(share * 100.0)) } else { "-".to_owned() }
}

/// `512 B`, `24.3 KiB`, `1.50 GiB`.
pub(crate) fn bytes(count: f64) -> String {
    let mut value = count;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1024.0 {
            return if unit == "B" { format!("{value:.0} B") } else { format!("{} {unit}", digits(value)) };
        }
        value /= 1024.0;
    }
    format!("{} TiB", digits(value))
}

/// A chart of one line: each of `width` places shows the largest value that falls
/// on it, from zero up; a gap is a blank.
pub(crate) fn sparkline(values: &[Option<f64>], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite = |v: &Option<f64>| v.filter(|v| v.is_finite());
    let top = values.iter().filter_map(finite).fold(0.0, f64::max);
    let places = width.min(values.len());
    let at = |place: usize| place * values.len() / places.max(1);
    (0..places)
        .map(|place| {
            let found = values[at(place)..at(place + 1)].iter().filter_map(finite).reduce(f64::max);
            match found {
                None => ' ',
                Some(_) if top <= 0.0 => BARS[0],
                Some(v) => BARS[((v / top * 7.0).round().clamp(0.0, 7.0)) as usize],
            }
        })
        .collect()
}

/// How many places a text takes, escape sequences apart.
pub(crate) fn width(text: &str) -> usize {
    let mut count = 0;
    let mut escaped = false;
    for c in text.chars() {
        match (escaped, c) {
            (false, '\x1b') => escaped = true,
            (true, 'm') => escaped = false,
            (true, _) => {}
            (false, _) => count += 1,
        }
    }
    count
}

/// The first `width` places of a text, escape sequences kept.
pub(crate) fn clip(text: &str, width: usize) -> String {
    if self::width(text) <= width {
        return text.to_owned();
    }
    let (mut out, mut count, mut escaped, mut colored) = (String::new(), 0, false, false);
    for c in text.chars() {
        if c == '\x1b' {
            (escaped, colored) = (true, true);
        }
        if escaped {
            out.push(c);
            escaped = c != 'm';
        } else if count + 1 < width {
            out.push(c);
            count += 1;
        } else {
            break;
        }
    }
    out.push('…');
    if colored {
        out.push_str("\x1b[0m");
    }
    out
}

/// Lines of at most `width` characters; words longer than that stay whole.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let fits =
            |line: &String| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width;
        match lines.last_mut().filter(|line| fits(line)) {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                let _ = write!(line, " {word}");
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Rows in columns, two spaces apart.
#[derive(Debug, Default)]
pub(crate) struct Table {
    heads: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With the columns' heads; one that begins with `>` is set to the right.
    pub(crate) fn new(heads: &[&'static str]) -> Self {
        Self {
            right: heads.iter().map(|head| head.starts_with('>')).collect(),
            heads: heads.iter().map(|head| head.trim_start_matches('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// One row; a cell may hold colours.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, the heads first.
    pub(crate) fn lines(&self, terminal: &Terminal) -> Vec<String> {
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
            cells.chain([self.heads[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.heads.len()).map(widest).collect();
        let line = |cells: &mut dyn Iterator<Item = String>| {
            let mut out = String::new();
            for (column, cell) in cells.enumerate().take(widths.len()) {
                let pad = " ".repeat(widths[column].saturating_sub(width(&cell)));
                let gap = if column == 0 { "" } else { "  " };
                let _ = if self.right[column] {
                    write!(out, "{gap}{pad}{cell}")
                } else {
                    write!(out, "{gap}{cell}{pad}")
                };
            }
            out.trim_end().to_owned()
        };
        let heads = line(&mut self.heads.iter().map(|head| (*head).to_owned()));
        let mut lines = vec![terminal.paint(Style::Dim, heads)];
        lines.extend(self.rows.iter().map(|row| line(&mut row.iter().cloned())));
        lines
    }

    /// Prints all lines.
    pub(crate) fn print(&self, terminal: &Terminal) {
        for line in self.lines(terminal) {
            terminal.line(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Color;

    #[test]
    fn numbers_read_well() {
        let cases =
            [(0.0, "0"), (3.0, "3"), (0.25, "0.25"), (12.34, "12.3"), (123.4, "123"), (12_345.0, "12.3k")];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(2_500_000.0), "2.50M");
        assert_eq!(seconds(0.001_946), "1.95 ms");
        assert_eq!(seconds(0.000_32), "320 µs");
        assert_eq!(seconds(f64::NAN), "-");
        assert_eq!(percent(0.012_5), "1.25 %");
        assert_eq!(bytes(24_926.0), "24.3 KiB");
        assert_eq!(bytes(12.0), "12 B");
        assert_eq!(
            (span(850), span(61_000), span(7_300_000)),
            ("850 ms".into(), "61 s".into(), "2 h".into())
        );
    }

    #[test]
    fn times_have_a_date_where_it_is_another() {
        let at = 1_795_418_774_332;
        assert_eq!(time(at, at + 1_000), "07:26:14Z");
        assert_eq!(time(at, at + 86_400_000), "2026-11-23 07:26:14Z");
        assert_eq!(time(u64::MAX, 0), "-");
    }

    #[test]
    fn sparklines_keep_peaks_and_gaps() {
        let values = [Some(0.0), Some(7.0), None, Some(3.5)];
        assert_eq!(sparkline(&values, 4), "▁█ ▅");
        assert_eq!(sparkline(&values, 2), "█▅");
        assert_eq!(sparkline(&[], 5), "");
        assert_eq!(sparkline(&[Some(0.0), Some(f64::NAN)], 9), "▁ ");
    }

    #[test]
    fn clipping_counts_places_and_closes_colours() {
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abcd", 3), "ab…");
        assert_eq!(clip("\x1b[31mabcd\x1b[0m", 3), "\x1b[31mab…\x1b[0m");
        assert_eq!(width("\x1b[31mäb\x1b[0m"), 2);
    }

    #[test]
    fn tables_align() {
        let mut table = Table::new(&["name", ">n"]);
        table.row(["a".into(), "10".into()]);
        table.row(["longer".into(), "\x1b[31m5\x1b[0m".into()]);
        let lines = table.lines(&Terminal::new(Color::Never, false));
        assert_eq!(lines, ["name     n", "a       10", "longer   \x1b[31m5\x1b[0m"]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    }
}
