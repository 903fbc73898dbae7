//! A reading of requests that no server of ours accepts: whatever splits at line
//! ends, spaces and colons. It only shows what the rules would say of them.

use edge_http::{RequestHead, Version};

/// One request, borrowed from its bytes.
pub(super) struct Read<'a> {
    method: &'a [u8],
    target: &'a [u8],
    authority: &'a [u8],
    version: Version,
    headers: Vec<(&'a [u8], &'a [u8])>,
    /// All behind the head.
    pub(super) body: &'a [u8],
}

impl Read<'_> {
    /// As the rules see it.
    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: self.method,
            target: self.target,
            authority: self.authority,
            version: self.version,
            headers: &self.headers,
        }
    }
}

/// Reads `raw`; nothing where its version is one that the rules cannot be shown.
pub(super) fn read(raw: &[u8]) -> Option<Read<'_>> {
    let (first, mut rest) = line(raw)?;
    let method_end = first.iter().position(|&b| b == b' ')?;
    let target_end = first.iter().rposition(|&b| b == b' ').filter(|&end| end > method_end)?;
    let version = match &first[target_end + 1..] {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        b"HTTP/2" | b"HTTP/2.0" => Version::Http2,
        _ => return None,
    };
    let mut headers: Vec<(&[u8], &[u8])> = Vec::new();
    while let Some((header, behind)) = line(rest) {
        rest = behind;
        if header.is_empty() {
            break;
        }
        let colon = header.iter().position(|&b| b == b':').unwrap_or(header.len());
        let value = header.get(colon + 1..).unwrap_or_default();
        headers.push((&header[..colon], value.trim_ascii()));
    }
    let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    let authority = host.map_or(&b""[..], |(_, value)| value);
    let (method, target) = (&first[..method_end], &first[method_end + 1..target_end]);
    Some(Read { method, target, authority, version, headers, body: rest })
}

/// The first line without its end, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let newline = bytes.iter().position(|&b| b == b'\n')?;
    let line = &bytes[..newline];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[newline + 1..]))
}
