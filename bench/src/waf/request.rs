//! One request as both engines get it: parts, no wire format, so that no parser of
//! ours or theirs stands between.

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `GET`.
    pub(crate) method: Vec<u8>,
    /// Path and query; no NUL byte, since libmodsecurity takes C strings here.
    pub(crate) target: Vec<u8>,
    /// `1.1`.
    pub(crate) version: &'static str,
    /// In order.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Empty: none.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// One with these headers and no body.
    pub(crate) fn new(method: &str, target: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> Self {
        Self {
            method: method.as_bytes().to_vec(),
            target: target.into(),
            version: "1.1",
            headers: headers.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect(),
            body: Vec::new(),
        }
    }

    /// From bytes as they travel, for trying things by hand: nothing is checked, lines
    /// end with LF or CRLF, and all that is left is the body.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut line = || {
            let (line, after) = rest.split_at_checked(rest.iter().position(|&b| b == b'\n')? + 1)?;
            rest = after;
            let line = &line[..line.len() - 1];
            Some(line.strip_suffix(b"\r").unwrap_or(line))
        };
        let first = line()?;
        let mut words = first.splitn(3, |&b| b == b' ');
        let mut request = Self::new("", Vec::new(), &[]);
        request.method = words.next()?.to_vec();
        request.target = words.next()?.to_vec();
        while let Some(header) = line().filter(|line| !line.is_empty()) {
            let at = header.iter().position(|&b| b == b':')?;
            request.headers.push((header[..at].to_vec(), header[at + 1..].trim_ascii().to_vec()));
        }
        request.body = rest.to_vec();
        Some(request)
    }

    /// The same with a body, its type and its length.
    pub(crate) fn with_body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.set_header("Content-Type", content_type);
        self.set_header("Content-Length", body.len().to_string());
        self.body = body;
        self
    }

    /// Replaces a header, or adds it at the end.
    pub(crate) fn set_header(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let value = value.into();
        match self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name.as_bytes().to_vec(), value)),
        }
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }

    /// As a question to the C program, see `libmodsecurity.c`.
    pub(crate) fn frame(&self, repeat: u32) -> Vec<u8> {
        let mut frame = vec![0; 4];
        let number = |frame: &mut Vec<u8>, n: u32| frame.extend_from_slice(&n.to_le_bytes());
        let text = |frame: &mut Vec<u8>, bytes: &[u8]| {
            frame.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            frame.extend_from_slice(bytes);
        };
        number(&mut frame, repeat);
        text(&mut frame, &self.method);
        text(&mut frame, &self.target);
        text(&mut frame, self.version.as_bytes());
        number(&mut frame, self.headers.len() as u32);
        for (name, value) in &self.headers {
            text(&mut frame, name);
            text(&mut frame, value);
        }
        text(&mut frame, &self.body);
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_le_bytes());
        frame
    }

    /// On few lines, for a person: bytes that do not print are escaped, long bodies cut.
    pub(crate) fn shown(&self) -> String {
        let shown = |bytes: &[u8]| {
            let cut = &bytes[..bytes.len().min(600)];
            let more = if cut.len() < bytes.len() { "…" } else { "" };
            format!("{}{more}", cut.escape_ascii())
        };
        let mut text = format!("{} {} HTTP/{}", shown(&self.method), shown(&self.target), self.version);
        for (name, value) in &self.headers {
            text.push_str(&format!("\n{}: {}", shown(name), shown(value)));
        }
        if !self.body.is_empty() {
            text.push_str(&format!("\n\n{}", shown(&self.body)));
        }
        text
    }
}
