//! What a log may not show: values become as many `*`.
//!
//! A body that holds a value to be masked which is not found in it byte for byte (it
//! was encoded in some way) is left out as a whole: rather too little than a secret.

use super::text;
use base::events::is_secret_name;
use std::borrow::Cow;
use waf_lang::model::{Processor, Variable as V};
use waf_text::Transformation;

/// What stands instead of a body that could not be masked.
pub(super) const LEFT_OUT: &[u8] = b"[left out: it holds values that are not to be shown]";

/// Values that are looked for in a body, at most: each costs a pass over it.
const SOUGHT: usize = 64;

/// Which values are masked.
#[derive(Clone, Copy)]
pub(super) struct Masks<'t> {
    /// Beside secrets: names in lower case; none for the whole variable.
    pub(super) sanitise: &'t [(V, Option<Box<[u8]>>)],
    /// Between the pairs of a form.
    pub(super) separator: u8,
}

impl Masks<'_> {
    /// Whether a variable's member is not to be shown.
    pub(super) fn hides(&self, variable: V, name: &[u8]) -> bool {
        match variable {
            V::RequestCookies | V::FullRequest => true,
            V::ArgsNames
            | V::ArgsGetNames
            | V::ArgsPostNames
            | V::RequestHeadersNames
            | V::RequestCookiesNames => false,
            _ => is_secret(name) || self.is_sanitised(variable, name),
        }
    }

    fn is_sanitised(&self, variable: V, name: &[u8]) -> bool {
        self.sanitise.iter().any(|(other, wanted)| {
            kind(*other) == kind(variable)
                && wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
        })
    }

    fn hides_whole(&self, variables: &[V]) -> bool {
        self.sanitise.iter().any(|(variable, name)| name.is_none() && variables.contains(variable))
    }

    /// A header as it is shown.
    pub(super) fn header(&self, variable: V, name: &[u8], value: &[u8]) -> (String, String) {
        let shown = if self.hides(variable, name) {
            "*".repeat(value.len())
        } else if name.eq_ignore_ascii_case(b"referer") || name.eq_ignore_ascii_case(b"location") {
            text::one_line(&self.target(value))
        } else {
            text::one_line(value)
        };
        (text::one_line(name), shown)
    }

    /// A request's target, or another address with a query.
    pub(super) fn target<'a>(&self, target: &'a [u8]) -> Cow<'a, [u8]> {
        let mut shown = Cow::Borrowed(target);
        if self.hides_whole(&[V::RequestUri, V::RequestUriRaw, V::RequestLine]) {
            shown.to_mut().fill(b'*');
            return shown;
        }
        let path_end = memchr::memchr(b'?', target).unwrap_or(target.len());
        if self.hides_whole(&[V::RequestFilename, V::RequestBasename, V::PathInfo]) {
            shown.to_mut()[..path_end].fill(b'*');
        }
        if path_end < target.len() {
            let hides_query = self.hides_whole(&[V::QueryString]);
            if hides_query || self.is_pair_hidden(&target[path_end + 1..]) {
                let query = &mut shown.to_mut()[path_end + 1..];
                if hides_query { query.fill(b'*') } else { self.pairs(query) }
            }
        }
        shown
    }

    /// A path without its query.
    pub(super) fn path<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        let hidden = [
            V::RequestUri,
            V::RequestUriRaw,
            V::RequestLine,
            V::RequestFilename,
            V::RequestBasename,
            V::PathInfo,
        ];
        if self.hides_whole(&hidden) { Cow::Owned(vec![b'*'; path.len()]) } else { Cow::Borrowed(path) }
    }

    /// A request's body, of which these are the arguments.
    pub(super) fn body<'a>(
        &self,
        processor: Option<Processor>,
        body: &[u8],
        args: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Vec<u8> {
        let mut shown = body.to_vec();
        if self.hides_whole(&[V::RequestBody, V::FullRequest]) {
            shown.fill(b'*');
            return shown;
        }
        // What the document's own syntax names is found there, however it is encoded.
        let by_name = matches!(processor, Some(Processor::Json | Processor::NdJson | Processor::Xml));
        let is_form = matches!(processor, None | Some(Processor::UrlEncoded | Processor::Raw));
        let mut sought = 0;
        for (name, value) in args {
            let found_by_name = is_form || by_name && is_secret(name);
            if value.is_empty() || found_by_name || !self.hides(V::Args, name) {
                continue;
            }
            sought += 1;
            if sought > SOUGHT || !replace(&mut shown, body, value) {
                return LEFT_OUT.to_vec();
            }
        }
        match processor {
            // Without a type it may be anything.
            None | Some(Processor::Raw) => match body.trim_ascii_start().first() {
                Some(b'{' | b'[') => json(&mut shown),
                Some(b'<') => xml(&mut shown),
                _ => self.pairs(&mut shown),
            },
            Some(Processor::UrlEncoded) => self.pairs(&mut shown),
            Some(Processor::Xml) => xml(&mut shown),
            Some(Processor::Json | Processor::NdJson | Processor::GraphQl) => json(&mut shown),
            _ => {}
        }
        shown
    }

    fn is_pair_hidden(&self, text: &[u8]) -> bool {
        text.split(|byte| *byte == self.separator).any(|pair| self.hides(V::Args, &name_of(pair)))
    }

    /// Masks values of a form in their place.
    fn pairs(&self, form: &mut [u8]) {
        for pair in form.split_mut(|byte| *byte == self.separator) {
            if let Some(at) = memchr::memchr(b'=', pair)
                && self.hides(V::Args, &name_of(pair))
            {
                pair[at + 1..].fill(b'*');
            }
        }
    }
}

/// Arguments are the same wherever they come from.
fn kind(variable: V) -> V {
    match variable {
        V::ArgsGet | V::ArgsPost => V::Args,
        other => other,
    }
}

fn is_secret(name: &[u8]) -> bool {
    !name.is_empty() && is_secret_name(&String::from_utf8_lossy(name))
}

fn name_of(pair: &[u8]) -> Vec<u8> {
    let name = &pair[..memchr::memchr(b'=', pair).unwrap_or(pair.len())];
    let mut decoded = Vec::new();
    if Transformation::UrlDecode.apply(name, &mut decoded) { decoded } else { name.to_vec() }
}

/// Masks a value wherever it stands; false where it stood nowhere.
fn replace(shown: &mut [u8], body: &[u8], value: &[u8]) -> bool {
    let mut any = false;
    for at in memchr::memmem::find_iter(body, value) {
        shown[at..at + value.len()].fill(b'*');
        any = true;
    }
    any
}

/// Masks what keys with names of secrets hold, in one pass: strings, numbers, and
/// everything in objects and arrays. Text that is no JSON is masked as far as it goes.
pub(super) fn json(text: &mut [u8]) {
    let (mut at, mut depth) = (0, 0_u32);
    // The value that follows is a secret; or everything down to this depth is.
    let (mut next, mut until) = (false, None);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                let end = string_end(text, at + 1);
                let after = end + 1 + text.get(end + 1..).map_or(0, blanks);
                if text.get(after) == Some(&b':') {
                    next = is_secret(&unescaped(&text[at + 1..end]));
                    at = after + 1;
                    continue;
                }
                if next || until.is_some() {
                    text[at + 1..end].fill(b'*');
                }
                next = false;
                at = end + 1;
                continue;
            }
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                if next && until.is_none() {
                    until = Some(depth);
                }
                next = false;
            }
            b'}' | b']' => {
                if until == Some(depth) {
                    until = None;
                }
                depth = depth.saturating_sub(1);
                next = false;
            }
            b',' => next = false,
            b' ' | b'\t' | b'\r' | b'\n' | b':' => {}
            _ if next || until.is_some() => text[at] = b'*',
            _ => {}
        }
        at += 1;
    }
}

/// Where a string's closing quote is, or the text ends.
fn string_end(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            None => return text.len(),
            Some(found) if text[at + found] == b'"' => return at + found,
            Some(found) => at += found + 2,
        }
    }
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if Transformation::JsDecode.apply(text, &mut out) { out } else { text.to_vec() }
}

/// Masks what elements and attributes with names of secrets hold, in one pass.
fn xml(text: &mut [u8]) {
    let (mut at, mut depth) = (0, 0_u32);
    let mut until = None;
    while at < text.len() {
        if text[at] != b'<' {
            let end = memchr::memchr(b'<', &text[at..]).map_or(text.len(), |found| at + found);
            if until.is_some() {
                text[at..end].fill(b'*');
            }
            at = end;
            continue;
        }
        let rest = &text[at..];
        let to = |sign: &[u8]| {
            memchr::memmem::find(rest, sign).map_or(text.len(), |found| at + found + sign.len())
        };
        if rest.starts_with(b"<![CDATA[") {
            let end = to(b"]]>");
            if until.is_some() {
                text[at + 9..end].fill(b'*');
            }
            at = end;
        } else if rest.starts_with(b"<!--") {
            at = to(b"-->");
        } else if rest.starts_with(b"<?") {
            at = to(b"?>");
        } else if rest.starts_with(b"</") {
            if until == Some(depth) {
                until = None;
            }
            depth = depth.saturating_sub(1);
            at = to(b">");
        } else {
            let name = at + 1..at + 1 + name_len(&rest[1..]);
            let secret = is_secret(&text[name.clone()]);
            let (end, is_empty) = attributes(text, name.end, secret || until.is_some());
            if !is_empty {
                depth = depth.saturating_add(1);
                if secret && until.is_none() {
                    until = Some(depth);
                }
            }
            at = end;
        }
    }
}

fn name_len(text: &[u8]) -> usize {
    text.iter()
        .take_while(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'=' | b'/' | b'>' | b'<'))
        .count()
}

/// Masks attributes; where the tag ends, and whether it is an element without content.
fn attributes(text: &mut [u8], mut at: usize, all: bool) -> (usize, bool) {
    let mut name = 0..0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'>' => return (at + 1, text[at - 1] == b'/'),
            b'<' => return (at, false),
            b'"' | b'\'' => {
                let end = memchr::memchr(byte, &text[at + 1..]).map_or(text.len(), |found| at + 1 + found);
                if all || is_secret(&text[name.clone()]) {
                    text[at + 1..end].fill(b'*');
                }
                at = end + 1;
            }
            b'=' | b'/' => at += 1,
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => {
                let len = name_len(&text[at..]).max(1);
                name = at..at + len;
                at += len;
            }
        }
    }
    (text.len(), false)
}
