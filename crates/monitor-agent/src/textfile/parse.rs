//! The text exposition format, version 0.0.4, as the collector `textfile` reads
//! it: whole or not at all. (The scrape loop's reader streams; this one must see
//! a family's every series before it can write the first.)

use crate::text::Type;
use std::collections::{BTreeMap, HashMap};

/// Series in one file, at most.
const MAX_SERIES: usize = 50_000;

/// One family.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family {
    pub(super) name: String,
    /// Empty where the file gives none.
    pub(super) help: String,
    pub(super) kind: Type,
    pub(super) series: Vec<Series>,
}

/// One series; of a histogram or summary, all that belongs together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    /// Without `le` and `quantile` where these are parts.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
    pub(super) parts: Vec<(f64, f64)>,
    pub(super) sum: f64,
    pub(super) count: f64,
}

/// The families in the order of the file, or the number of the line that is wrong.
pub(super) fn families(content: &str) -> Result<Vec<Family>, usize> {
    let mut reader = Reader::default();
    for (number, line) in content.lines().enumerate() {
        reader.line(line.trim_matches([' ', '\t', '\r'])).ok_or(number + 1)?;
    }
    let mut families = reader.families;
    for family in &mut families {
        for series in &mut family.series {
            series.parts.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
    }
    families.retain(|family| !family.series.is_empty());
    Ok(families)
}

#[derive(Default)]
struct Reader {
    families: Vec<Family>,
    by_name: HashMap<String, usize>,
    /// Series of the composite families, by family and labels.
    composites: HashMap<(usize, Vec<(String, String)>), usize>,
    count: usize,
}

impl Reader {
    /// None where the line is wrong.
    fn line(&mut self, line: &str) -> Option<()> {
        if line.is_empty() {
            return Some(());
        }
        if let Some(comment) = line.strip_prefix('#') {
            return self.comment(comment.trim_start());
        }
        self.count += 1;
        if self.count > MAX_SERIES {
            return None;
        }
        let (name, labels, rest) = series(line)?;
        let mut words = rest.split_ascii_whitespace();
        let value = value(words.next()?)?;
        // A timestamp of the client's cannot be passed on.
        if words.next().is_some() {
            return None;
        }
        self.sample(&name, labels, value)
    }

    fn comment(&mut self, comment: &str) -> Option<()> {
        let (word, rest) = comment.split_once([' ', '\t']).unwrap_or((comment, ""));
        let (name, rest) = rest.trim_start().split_once([' ', '\t']).unwrap_or((rest.trim_start(), ""));
        match word {
            "HELP" => {
                let at = self.family(legal(name)?);
                let family = &mut self.families[at];
                // Given twice in one file: wrong.
                if !family.help.is_empty() {
                    return None;
                }
                family.help = unescaped(rest, false)?;
            }
            "TYPE" => {
                let kind = match rest.trim() {
                    "counter" => Type::Counter,
                    "gauge" => Type::Gauge,
                    "histogram" => Type::Histogram,
                    "summary" => Type::Summary,
                    "untyped" | "unknown" => Type::Untyped,
                    _ => return None,
                };
                let at = self.family(legal(name)?);
                let family = &mut self.families[at];
                // The type comes before the first sample.
                if !family.series.is_empty() {
                    return None;
                }
                family.kind = kind;
            }
            _ => {}
        }
        Some(())
    }

    fn family(&mut self, name: &str) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let at = self.families.len();
        self.by_name.insert(name.to_owned(), at);
        let name = name.to_owned();
        self.families.push(Family { name, help: String::new(), kind: Type::Untyped, series: Vec::new() });
        at
    }

    fn sample(&mut self, name: &str, mut labels: BTreeMap<String, String>, value: f64) -> Option<()> {
        for suffix in ["_bucket", "_sum", "_count", ""] {
            let Some(at) = name.strip_suffix(suffix).and_then(|base| self.by_name.get(base).copied()) else {
                continue;
            };
            let part = match (self.families[at].kind, suffix) {
                (Type::Histogram, "_bucket") => Some("le"),
                (Type::Summary, "") => Some("quantile"),
                (Type::Histogram | Type::Summary, "_sum" | "_count") => None,
                _ => continue,
            };
            let bound = match part {
                Some(label) => Some(self::value(&labels.remove(label)?)?),
                None => None,
            };
            let series = self.composite(at, labels);
            match (bound, suffix) {
                (Some(bound), _) => series.parts.push((bound, value)),
                (None, "_sum") => series.sum = value,
                _ => series.count = value,
            }
            return Some(());
        }
        let at = self.family(name);
        // A histogram has no sample of its own name.
        if self.families[at].kind == Type::Histogram {
            return None;
        }
        self.families[at].series.push(Series { labels, value, ..Series::default() });
        Some(())
    }

    fn composite(&mut self, at: usize, labels: BTreeMap<String, String>) -> &mut Series {
        let key: Vec<(String, String)> = labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let family = &mut self.families[at];
        let index = *self.composites.entry((at, key)).or_insert_with(|| {
            family.series.push(Series { labels, ..Series::default() });
            family.series.len() - 1
        });
        &mut family.series[index]
    }
}

/// Name, labels, and what follows.
fn series(line: &str) -> Option<(String, BTreeMap<String, String>, &str)> {
    let end = line.find(['{', ' ', '\t'])?;
    let name = legal(&line[..end])?.to_owned();
    let mut rest = line[end..].trim_start();
    let mut labels = BTreeMap::new();
    let Some(mut inside) = rest.strip_prefix('{') else { return Some((name, labels, rest)) };
    loop {
        inside = inside.trim_start();
        if let Some(after) = inside.strip_prefix('}') {
            rest = after;
            return Some((name, labels, rest));
        }
        let (label, after) = inside.split_once('=')?;
        let label = label.trim_end();
        if label.contains(':') {
            return None;
        }
        let label = legal(label)?;
        let after = after.trim_start().strip_prefix('"')?;
        let end = quote_at(after)?;
        let text = unescaped(&after[..end], true)?;
        if labels.insert(label.to_owned(), text).is_some() {
            return None;
        }
        inside = after[end + 1..].trim_start();
        match inside.strip_prefix(',') {
            Some(after) => inside = after,
            None if inside.starts_with('}') => {}
            None => return None,
        }
    }
}

/// Where the closing quote is.
fn quote_at(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str, quotes: bool) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match characters.next()? {
            '\\' => out.push('\\'),
            'n' => out.push('\n'),
            '"' if quotes => out.push('"'),
            _ => return None,
        }
    }
    Some(out)
}

/// A metric's name (Prometheus' data model).
fn legal(name: &str) -> Option<&str> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    (begins && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')).then_some(name)
}

/// As Go's `ParseFloat`, but for hexadecimal.
fn value(text: &str) -> Option<f64> {
    match text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str() {
        "inf" | "infinity" if text.starts_with('-') => Some(f64::NEG_INFINITY),
        "inf" | "infinity" => Some(f64::INFINITY),
        "nan" => Some(f64::NAN),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_wrong_are_named() {
        let cases = [
            "1x 1",
            "x",
            "x{a=1} 1",
            "x{a=\"1} 1",
            "x{a=\"1\"b=\"2\"} 1",
            "x{a:b=\"1\"} 1",
            "x y",
            "x 1 2",
            "# TYPE x nothing",
            "x{a=\"\\q\"} 1",
            "# HELP 9 x",
            "x{a=\"1\",a=\"2\"} 1",
            "x{,} 1",
        ];
        for line in cases {
            assert_eq!(families(&format!("ok 1\n{line}\n")), Err(2), "{line}");
        }
        assert_eq!(families("x 1\n# TYPE x gauge\n"), Err(2));
        assert_eq!(families("# TYPE h histogram\nh 1\n"), Err(2));
    }

    #[test]
    fn escapes_and_spaces() {
        let found =
            families("# HELP x a\\\\b\\nc\n#comment\n\n x{ a = \"q\\\"\\n\" , } -Inf\ny NaN").unwrap();
        assert_eq!(found[0].help, "a\\b\nc");
        assert_eq!(found[0].series[0].labels["a"], "q\"\n");
        assert_eq!(found[0].series[0].value, f64::NEG_INFINITY);
        assert!(found[1].series[0].value.is_nan());
    }

    #[test]
    fn a_histograms_parts_belong_together() {
        let text = "# TYPE h histogram\nh_bucket{le=\"+Inf\",a=\"1\"} 3\nh_bucket{a=\"1\",le=\"1\"} 2\n\
                    h_sum{a=\"1\"} 5\nh_count{a=\"1\"} 3\nh_other 1\n";
        let found = families(text).unwrap();
        let series = &found[0].series[0];
        assert_eq!(
            (series.parts.as_slice(), series.sum, series.count),
            (&[(1.0, 2.0), (f64::INFINITY, 3.0)][..], 5.0, 3.0)
        );
        assert_eq!((found.len(), found[1].name.as_str()), (2, "h_other"));
    }
}
