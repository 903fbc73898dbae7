//! The operating system's name and version (collector `os`): os-release(5).

use crate::Fault;
use crate::files::{Files, Tree, finite};
use crate::text::{Text, Type};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

/// Label, key.
const LABELS: [(&str, &str); 12] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
    ("version_id", "VERSION_ID"),
];

/// The file as it was read: it changes with an upgrade of the system.
#[derive(Debug, Default)]
pub(crate) struct Known {
    stamp: Option<(u64, i64, i64)>,
    lines: String,
}

pub(crate) fn read(files: &mut Files, known: &mut Known, text: &mut Text<'_>) -> Result<(), Fault> {
    // In the order of os-release(5).
    let candidates = [["etc", "os-release"], ["usr/lib", "os-release"]];
    let mut absent = None;
    for candidate in &candidates {
        let path = files.path(Tree::Root, candidate);
        let found = match std::fs::metadata(&path) {
            Ok(found) => found,
            Err(error) => {
                absent.get_or_insert(Fault::of(&path, error));
                continue;
            }
        };
        let stamp = Some((found.ino(), found.mtime(), found.mtime_nsec()));
        if known.stamp != stamp {
            let content = files.read(Tree::Root, candidate)?;
            known.lines.clear();
            give(&variables(content), &mut Text::new(&mut known.lines));
            known.stamp = stamp;
        }
        text.lines(&known.lines);
        return Ok(());
    }
    Err(absent.unwrap_or(Fault::Absent { path: files.path(Tree::Root, &["etc/os-release"]) }))
}

fn give(variables: &BTreeMap<&str, String>, text: &mut Text<'_>) {
    let value = |key: &str| variables.get(key).map_or("", String::as_str);
    let name = "node_os_info";
    text.family(
        name,
        Type::Gauge,
        "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, \
         pretty_name, variant, variant_id, version, version_codename, version_id.",
    );
    let labels = LABELS.map(|(label, key)| (label, value(key)));
    text.sample(name, &labels, 1.0);
    if let Some(end) = value("SUPPORT_END").parse::<jiff::civil::Date>().ok().and_then(seconds_of) {
        let name = "node_os_support_end_timestamp_seconds";
        let help = "Metric containing the end-of-life date timestamp of the OS.";
        text.single(name, Type::Gauge, help, end);
    }
    if let Some(version) = major_minor(value("VERSION_ID")) {
        let name = "node_os_version";
        text.family(name, Type::Gauge, "Metric containing the major.minor part of the OS version.");
        let labels = [("id", value("ID")), ("id_like", value("ID_LIKE")), ("name", value("NAME"))];
        text.sample(name, &labels, version);
    }
}

fn seconds_of(date: jiff::civil::Date) -> Option<f64> {
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_second() as f64)
}

/// `20.04.2` is 20.04; a rolling release has no number.
fn major_minor(version: &str) -> Option<f64> {
    let mut dots = 0;
    let end = version.find(|c: char| {
        dots += usize::from(c == '.');
        !(c.is_ascii_digit() || c == '.' && dots == 1)
    });
    finite(version[..end.unwrap_or(version.len())].trim_end_matches('.'))
}

/// Assignments as a shell reads them, without expansion: a value may be quoted,
/// and within double quotes a backslash keeps the next character.
fn variables(content: &str) -> BTreeMap<&str, String> {
    let mut found = BTreeMap::new();
    for line in content.lines().map(str::trim) {
        if line.starts_with('#') {
            continue;
        }
        if let Some((key, value)) = line.split_once('=') {
            found.insert(key, unquoted(value));
        }
    }
    found
}

fn unquoted(value: &str) -> String {
    let single = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    if let Some(inside) = single {
        return inside.to_owned();
    }
    let inside = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    let mut out = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => out.extend(characters.next()),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let cases = [
            ("20.04", Some(20.04)),
            ("12", Some(12.0)),
            ("39.20240101.0", Some(39.20240101)),
            ("8.", Some(8.0)),
            ("3.18.4_alpha", Some(3.18)),
            ("rolling", None),
            ("", None),
            (".5", Some(0.5)),
        ];
        for (version, expected) in cases {
            assert_eq!(major_minor(version), expected, "{version}");
        }
    }

    #[test]
    fn values_are_unquoted() {
        let content = "# x=1\nA=plain\nB=\"two \\\"words\\\" \\$5\"\nC='it''s'\nD=\"\nbroken\n";
        let found = variables(content);
        assert_eq!((&*found["A"], &*found["B"], &*found["C"]), ("plain", "two \"words\" $5", "it''s"));
        assert_eq!((&*found["D"], found.len()), ("\"", 4));
    }

    #[test]
    fn an_end_of_support_is_a_time() {
        let mut out = String::new();
        give(&variables("ID=x\nSUPPORT_END=2026-05-01\n"), &mut Text::new(&mut out));
        assert!(out.contains("\nnode_os_support_end_timestamp_seconds 1777593600\n"), "{out}");
        assert!(!out.contains("node_os_version"));
    }
}
