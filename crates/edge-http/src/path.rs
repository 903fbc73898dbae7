//! From a request's path to a file's, without leaving its folder.

/// Why a path names no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// `%` not followed by two hexadecimal digits, or not UTF-8 once decoded.
    Encoding,
    /// A segment that climbs, is hidden, or holds a byte no file name of a web site has.
    Forbidden,
}

/// Decodes a path into segments below a folder: percent-encoding is undone
/// exactly once, empty and `.` segments vanish, and whatever could climb or
/// mean something else to the file system is an error: `..`, a decoded slash,
/// backslash, NUL or other control character, and names that begin with a dot
/// (`.git`, `.env`), except `.well-known` (RFC 8615).
pub fn file_segments(path: &[u8]) -> Result<Vec<String>, PathError> {
    let mut segments = Vec::new();
    for raw in path.split(|&b| b == b'/') {
        let decoded = String::from_utf8(percent_decode(raw)?).map_err(|_| PathError::Encoding)?;
        if decoded.is_empty() || decoded == "." {
            continue;
        }
        let hidden = decoded.starts_with('.') && decoded != ".well-known";
        let special = decoded.chars().any(|c| c == '/' || c == '\\' || c.is_control());
        // 255 bytes: the longest name of Linux' file systems (NAME_MAX).
        if hidden || special || decoded.len() > 255 {
            return Err(PathError::Forbidden);
        }
        segments.push(decoded);
    }
    Ok(segments)
}

/// Undoes percent-encoding (RFC 3986 §2.1), once.
pub fn percent_decode(text: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let mut digit = || bytes.next().and_then(|&b| char::from(b).to_digit(16)).ok_or(PathError::Encoding);
        out.push((digit()? * 16 + digit()?) as u8);
    }
    Ok(out)
}

/// Resolves a path's dot segments for choosing a route, so that `/public/../admin`
/// is seen as `/admin` wherever it then goes (RFC 3986 §5.2.4), and `%2e` counts
/// as the dot that servers take it for. None where nothing is to be resolved.
pub fn without_dot_segments(path: &[u8]) -> Option<Vec<u8>> {
    let is_dot_segment = |s: &[u8]| dots(s).is_some();
    if !path.split(|&b| b == b'/').any(is_dot_segment) {
        return None;
    }
    let mut out: Vec<&[u8]> = Vec::new();
    let mut ends_in_folder = false;
    for segment in path.split(|&b| b == b'/').skip(1) {
        ends_in_folder = false;
        match dots(segment) {
            None => out.push(segment),
            Some(1) => ends_in_folder = true,
            Some(_) => {
                out.pop();
                ends_in_folder = true;
            }
        }
    }
    let mut resolved = Vec::with_capacity(path.len());
    for segment in out {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    if ends_in_folder || resolved.is_empty() {
        resolved.push(b'/');
    }
    Some(resolved)
}

/// Whether a segment is one or two dots, each perhaps written `%2e`.
fn dots(mut segment: &[u8]) -> Option<u8> {
    let mut count = 0;
    while !segment.is_empty() {
        segment = match segment {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return None,
        };
        count += 1;
    }
    (1..=2).contains(&count).then_some(count)
}

/// Bytes from the network, fit to stand in a log line: printable ASCII, the rest
/// as `\xNN`, cut to `max` bytes of input.
pub fn escape(bytes: &[u8], max: usize) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len().min(max));
    for &b in &bytes[..bytes.len().min(max)] {
        if (b' '..0x7F).contains(&b) && b != b'\\' {
            out.push(char::from(b));
        } else {
            // Formatting into a String cannot fail.
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    if bytes.len() > max {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_to_files() {
        use PathError::*;
        let cases: &[(&str, Result<&str, PathError>)] = &[
            ("/a/b.css", Ok("a|b.css")),
            ("//a///b", Ok("a|b")),
            ("/", Ok("")),
            ("/a/./b", Ok("a|b")),
            ("/a%20b", Ok("a b")),
            ("/%C3%A9", Ok("é")),
            ("/.well-known/x", Ok(".well-known|x")),
            ("/%252e%252e/x", Ok("%2e%2e|x")),
            ("/..", Err(Forbidden)),
            ("/a/../b", Err(Forbidden)),
            ("/%2e%2e/etc/passwd", Err(Forbidden)),
            ("/.%2e/x", Err(Forbidden)),
            ("/a%2f..%2fb", Err(Forbidden)),
            ("/a%5c..%5cb", Err(Forbidden)),
            ("/a%00.css", Err(Forbidden)),
            ("/a%0a", Err(Forbidden)),
            ("/.git/config", Err(Forbidden)),
            ("/.env", Err(Forbidden)),
            ("/%zz", Err(Encoding)),
            ("/%", Err(Encoding)),
            ("/%f", Err(Encoding)),
            ("/%ff", Err(Encoding)),
            ("/%c0%ae%c0%ae/", Err(Encoding)),
        ];
        for (path, expected) in cases {
            let got = file_segments(path.as_bytes()).map(|s| s.join("|"));
            assert_eq!(got.as_deref().map_err(|e| *e), *expected, "{path}");
        }
        assert_eq!(file_segments(format!("/{}", "x".repeat(256)).as_bytes()), Err(Forbidden));
    }

    #[test]
    fn dot_segments() {
        let cases: &[(&str, Option<&str>)] = &[
            ("/a/b", None),
            ("/a/...", None),
            ("/.a/b..", None),
            ("/a/../b", Some("/b")),
            ("/public/%2E%2e/admin", Some("/admin")),
            ("/a/./b/.", Some("/a/b/")),
            ("/../../x", Some("/x")),
            ("/a/..", Some("/")),
            ("/a//../b", Some("/a/b")),
        ];
        for (path, expected) in cases {
            let got = without_dot_segments(path.as_bytes());
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn logs_get_printable_ascii() {
        assert_eq!(escape(b"/a b\n\x1b[31m\xff\\", 100), "/a b\\x0a\\x1b[31m\\xff\\x5c");
        assert_eq!(escape(b"abcdef", 3), "abc…");
    }
}
