//! Paths: as routes are matched, and as files are found without leaving their folder.

use std::borrow::Cow;

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

/// A path as routes are matched against it, so that no spelling of a path
/// evades the route meant for it: percent-encoded unreserved characters are
/// decoded (RFC 3986 §6.2.2.2), repeated slashes merged, dot segments resolved
/// (§5.2.4). Borrowed where the path is normal already, as nearly all are.
pub fn normal(path: &[u8]) -> Cow<'_, [u8]> {
    let unusual = |w: &[u8]| w == b"//" || w == b"/.";
    if !path.contains(&b'%') && !path.windows(2).any(unusual) {
        return Cow::Borrowed(path);
    }
    let decoded = decode_unreserved(path);
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_in_folder = false;
    for segment in decoded.split(|&b| b == b'/') {
        ends_in_folder = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut resolved = Vec::with_capacity(decoded.len());
    for segment in segments {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    if ends_in_folder || resolved.is_empty() {
        resolved.push(b'/');
    }
    Cow::Owned(resolved)
}

fn decode_unreserved(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        if let [b'%', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
        {
            let byte = (high * 16 + low) as u8;
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                out.push(byte);
                rest = after;
                continue;
            }
        }
        out.push(*first);
        rest = tail;
    }
    out
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
    fn normal_paths() {
        let cases: &[(&str, &str)] = &[
            ("/a/b", "/a/b"),
            ("/a/...", "/a/..."),
            ("/.a/b..", "/.a/b.."),
            ("/a/../b", "/b"),
            ("/public/%2E%2e/admin", "/admin"),
            ("/a/./b/.", "/a/b/"),
            ("/../../x", "/x"),
            ("/a/..", "/"),
            ("/", "/"),
            ("//a///b/", "/a/b/"),
            ("/%61pi/x", "/api/x"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%", "/a%"),
            ("/a%4", "/a%4"),
            ("/%zz", "/%zz"),
        ];
        for (path, expected) in cases {
            let got = normal(path.as_bytes());
            assert_eq!(std::str::from_utf8(&got), Ok(*expected), "{path}");
        }
        assert!(matches!(normal(b"/a/b.css"), Cow::Borrowed(_)));
    }

    #[test]
    fn logs_get_printable_ascii() {
        assert_eq!(escape(b"/a b\n\x1b[31m\xff\\", 100), "/a b\\x0a\\x1b[31m\\xff\\x5c");
        assert_eq!(escape(b"abcdef", 3), "abc…");
    }
}
