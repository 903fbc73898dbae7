//! `multipart/form-data` (RFC 7578), strictly: what two programs could read
//! differently is unreadable.

use super::Problem;
use crate::limits::PART_HEAD_MAX;
use crate::values::Values;
use crate::variable::Place;

/// The boundary of a Content-Type (RFC 2046 §5.1.1): 1 to 70 of the characters
/// allowed, given once.
pub(super) fn boundary(content_type: &[u8]) -> Result<Vec<u8>, &'static str> {
    let text = content_type.iter().position(|b| *b == b';').map_or(&[][..], |at| &content_type[at..]);
    let parameters = parameters(text).ok_or("the Content-Type's parameters do not parse")?;
    let mut found = parameters.into_iter().filter(|(name, _)| name == b"boundary").map(|(_, value)| value);
    let boundary = found.next().ok_or("a multipart body without a boundary")?;
    if found.next().is_some() {
        return Err("more than one boundary");
    }
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(b);
    let ok = (1..=70).contains(&boundary.len()) && boundary.iter().all(allowed) && !boundary.ends_with(b" ");
    if ok { Ok(boundary) } else { Err("the boundary is not one that RFC 2046 allows") }
}

/// `; name=value; name="value"`: names in lower case. None where it does not parse.
fn parameters(text: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut rest = text.trim_ascii_start();
    while let Some(after) = rest.strip_prefix(b";") {
        let after = after.trim_ascii_start();
        if after.is_empty() {
            return Some(found);
        }
        let at = memchr::memchr(b'=', after)?;
        let name = after[..at].trim_ascii().to_ascii_lowercase();
        if name.is_empty() || name.iter().any(|b| !b.is_ascii_graphic() || b";\"".contains(b)) {
            return None;
        }
        let value;
        (value, rest) = match after[at + 1..].trim_ascii_start().strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted)?,
            None => {
                let after = after[at + 1..].trim_ascii_start();
                let end = memchr::memchr(b';', after).unwrap_or(after.len());
                let token = after[..end].trim_ascii();
                let plain = |b: &u8| b.is_ascii_graphic() && *b != b'"';
                (token.iter().all(plain).then(|| token.to_vec())?, &after[end..])
            }
        };
        found.push((name, value));
        rest = rest.trim_ascii_start();
    }
    rest.is_empty().then_some(found)
}

/// Up to the closing quote; `\"` is a quote, any other backslash is itself, as
/// browsers write file names.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut at = 0;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'\\', Some(b'"')) => {
                value.push(b'"');
                at += 2;
            }
            (b'"', _) => return Some((value, &text[at + 1..])),
            (byte, _) => {
                value.push(*byte);
                at += 1;
            }
        }
    }
}

pub(super) fn read(boundary: &[u8], body: &[u8], complete: bool, values: &mut Values) -> Result<(), Problem> {
    let delimiter = [b"\r\n--", boundary].concat();
    let finder = memchr::memmem::Finder::new(&delimiter);
    // The first delimiter has no line before it.
    let Some(mut rest) = body.strip_prefix(&delimiter[2..]) else {
        let cut = !complete && delimiter[2..].starts_with(body);
        return if cut {
            Ok(())
        } else {
            unreadable("a multipart body that does not begin with its boundary")
        };
    };
    loop {
        if let Some(after) = rest.strip_prefix(b"--") {
            return match after {
                b"" | b"\r\n" => Ok(()),
                b"\r" if !complete => Ok(()),
                _ => unreadable("something follows the last part"),
            };
        }
        let Some(part) = rest.strip_prefix(b"\r\n") else {
            let cut = !complete && rest.len() < 2;
            return if cut { Ok(()) } else { unreadable("a boundary without an end of line") };
        };
        let window = &part[..part.len().min(PART_HEAD_MAX)];
        let Some(head_end) = memchr::memmem::find(window, b"\r\n\r\n") else {
            let cut = !complete && part.len() < PART_HEAD_MAX;
            return if cut { Ok(()) } else { unreadable("a part whose head does not end") };
        };
        let disposition = part_head(&part[..head_end])?;
        let content = &part[head_end + 4..];
        // An empty part's content begins with the delimiter's own line end.
        let end = finder.find(content);
        if end.is_none() && complete {
            return unreadable("a part that does not end");
        }
        let value = &content[..end.unwrap_or(content.len())];
        match disposition.file_name {
            Some(file_name) => values.add(Place::Files, &disposition.name, &file_name)?,
            None => values.add(Place::ArgsPost, &disposition.name, value)?,
        }
        match end {
            Some(end) => rest = &content[end + delimiter.len()..],
            None => return Ok(()),
        }
    }
}

struct Disposition {
    name: Vec<u8>,
    file_name: Option<Vec<u8>>,
}

fn part_head(head: &[u8]) -> Result<Disposition, Problem> {
    let mut disposition = None;
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for line in head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        if line.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
            return unreadable("a folded header line in a part");
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return unreadable("a header line without a colon in a part");
        };
        let name = line[..colon].to_ascii_lowercase();
        let value = line[colon + 1..].trim_ascii();
        if seen.contains(&name) {
            return unreadable("a header line twice in a part");
        }
        match name.as_slice() {
            b"content-disposition" => disposition = Some(form_data(value)?),
            // RFC 7578 §4.7 deprecates it; what is encoded would not be inspected.
            b"content-transfer-encoding" => {
                let plain = [&b"7bit"[..], b"8bit", b"binary"];
                if !plain.iter().any(|known| known.eq_ignore_ascii_case(value)) {
                    return unreadable("a part with a Content-Transfer-Encoding");
                }
            }
            _ => {}
        }
        seen.push(name);
    }
    disposition.ok_or_else(|| Problem::Unreadable("a part without a Content-Disposition".to_owned()))
}

/// RFC 7578 §4.2.
fn form_data(value: &[u8]) -> Result<Disposition, Problem> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let parsed =
        parameters(&value[end..]).filter(|_| value[..end].trim_ascii().eq_ignore_ascii_case(b"form-data"));
    let Some(parameters) = parsed else {
        return unreadable("a Content-Disposition that does not parse");
    };
    let (mut name, mut file_name) = (None, None);
    for (key, value) in parameters {
        let twice = match key.as_slice() {
            b"name" => name.replace(value).is_some(),
            b"filename" => file_name.replace(value).is_some(),
            // RFC 7578 §4.2 forbids `filename*`: some programs prefer it.
            _ if key.ends_with(b"*") => true,
            _ => false,
        };
        if twice {
            return unreadable("a Content-Disposition that says something twice");
        }
    }
    match name {
        Some(name) => Ok(Disposition { name, file_name }),
        None => unreadable("a part without a name"),
    }
}

fn unreadable<T>(why: &str) -> Result<T, Problem> {
    Err(Problem::Unreadable(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        let cases: &[(&str, Option<&str>)] = &[
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data;boundary=\"a b\"; charset=x", Some("a b")),
            ("multipart/form-data; charset=x ;BOUNDARY = abc;", Some("abc")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=\"a", None),
            ("multipart/form-data; boundary=a\"b", None),
            ("multipart/form-data; boundary=\"a \"", None),
            ("multipart/form-data; boundary=a@b", None),
            ("multipart/form-data; x; boundary=a", None),
        ];
        for (text, expected) in cases {
            let got = boundary(text.as_bytes()).ok();
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{text}");
        }
        assert!(boundary(format!("m; boundary={}", "a".repeat(71)).as_bytes()).is_err());
    }

    fn run(body: &str, complete: bool) -> Result<Vec<String>, String> {
        let mut values = Values::new(10_000);
        let result = read(b"B", body.as_bytes(), complete, &mut values);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all = (0..values.len())
            .map(|i| format!("{:?} {}={}", values.place(i), text(values.name(i)), text(values.value(i))))
            .collect();
        result.map(|()| all).map_err(|problem| format!("{problem:?}"))
    }

    const NAME_A: &str = "Content-Disposition: form-data; name=\"a\"";

    #[test]
    fn parts_become_values() {
        let body = format!(
            "--B\r\n{NAME_A}\r\n\r\none\r\ntwo\r\n--B\r\n\
             content-disposition: form-data; name=\"f\"; filename=\"C:\\x \\\"y\\\".php\"\r\n\
             Content-Type: text/plain\r\n\r\ncontent\r\n--B\r\n{NAME_A}\r\n\r\n\r\n--B--\r\n"
        );
        let expected = ["ArgsPost a=one\r\ntwo", "Files f=C:\\x \"y\".php", "ArgsPost a="];
        assert_eq!(run(&body, true).unwrap(), expected);
        assert_eq!(run("--B--", true).unwrap(), [""; 0]);
        // Cut anywhere, it is read as far as it goes, never refused.
        for end in 0..body.len() {
            assert!(run(&body[..end], false).is_ok(), "{end}");
        }
        assert_eq!(run(&body[..60], false).unwrap(), ["ArgsPost a=one\r\ntwo\r\n-"]);
    }

    #[test]
    fn what_is_unclear_is_unreadable() {
        let cases = [
            ("x--B\r\n".to_owned(), "does not begin"),
            ("--B\n".to_owned(), "without an end of line"),
            ("--B--\r\nmore".to_owned(), "follows the last part"),
            (format!("--B\r\n{NAME_A}\r\n"), "does not end"),
            (format!("--B\r\n{NAME_A}\r\n\r\nvalue"), "part that does not end"),
            (format!("--B\r\n{NAME_A}\r\n\r\nvalue\n--B--"), "part that does not end"),
            ("--B\r\n\r\n\r\n\r\n--B--".to_owned(), "without a colon"),
            ("--B\r\nX: y\r\n\r\n\r\n--B--".to_owned(), "without a Content-Disposition"),
            (format!("--B\r\n{NAME_A}\r\n{NAME_A}\r\n\r\n\r\n--B--"), "twice in a part"),
            (format!("--B\r\n{NAME_A}; name=b\r\n\r\n\r\n--B--"), "says something twice"),
            (format!("--B\r\n{NAME_A}; filename*=utf-8''x\r\n\r\n\r\n--B--"), "says something twice"),
            ("--B\r\nContent-Disposition: form-data\r\n\r\n\r\n--B--".to_owned(), "without a name"),
            ("--B\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n--B--".to_owned(), "does not parse"),
            (format!("--B\r\n{NAME_A}\r\n folded\r\n\r\n\r\n--B--"), "folded"),
            (
                format!("--B\r\n{NAME_A}\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--B--"),
                "Content-Transfer-Encoding",
            ),
            (format!("--B\r\nX: {}\r\n{NAME_A}\r\n\r\n\r\n--B--", "y".repeat(5_000)), "does not end"),
        ];
        for (body, part) in cases {
            let error = run(&body, true).unwrap_err();
            assert!(error.contains(part), "{body:?}: {error}");
        }
    }
}
