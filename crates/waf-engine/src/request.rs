//! A request, taken apart into the variables that rules look at: the head for
//! phase 1, the body for phase 2. What ModSecurity v3 calls them and how it cuts
//! them is the measure.

use crate::program::Program;
use crate::state::State;
use crate::transaction::Outside;
use edge_http::RequestHead;
use waf_body::{File, Full, Limits, Sink};
use waf_lang::model::{Processor, Variable as V, XmlIntoArgs};
use waf_text::Transformation;

/// A processor's name, as `REQBODY_PROCESSOR` has it.
pub(crate) fn name_of(processor: Processor) -> &'static str {
    match processor {
        Processor::UrlEncoded => "URLENCODED",
        Processor::Multipart => "MULTIPART",
        Processor::Json => "JSON",
        Processor::Xml => "XML",
        Processor::GraphQl => "GRAPHQL",
        Processor::Protobuf => "GRPC",
        Processor::NdJson => "NDJSON",
        Processor::Raw => "RAW",
    }
}

/// Where what a query, a form or a body holds is kept.
pub(crate) struct Keep<'s> {
    pub(crate) state: &'s mut State,
    pub(crate) arguments: V,
    /// Bytes of names and values.
    pub(crate) size: u64,
    /// Bytes of values and of the heads of parts, but not of files.
    pub(crate) plain: u64,
    /// Contents of files are looked at by some rule.
    pub(crate) contents: bool,
}

impl Sink for Keep<'_> {
    fn arg(&mut self, name: &[u8], value: &[u8]) -> Result<(), Full> {
        self.size += (name.len() + value.len()) as u64;
        self.plain += value.len() as u64;
        if self.state.add(self.arguments, name, value) { Ok(()) } else { Err(Full) }
    }

    fn file(&mut self, file: File<'_>) -> Result<(), Full> {
        let state = &mut *self.state;
        let mut size = state.buffer();
        crate::number::write(file.content.len() as i64, &mut size);
        if let Some(extended) = file.extended
            && !state.add(V::Files, file.field, extended)
        {
            return Err(Full);
        }
        let mut kept = state.add(V::Files, file.field, file.filename)
            && state.add(V::FilesNames, file.field, file.field)
            && state.add(V::FilesSizes, file.field, &size);
        state.give_back(size);
        if self.contents {
            kept &= state.add(V::FilesTmpContent, file.field, file.content);
        }
        if kept { Ok(()) } else { Err(Full) }
    }

    fn part_header(&mut self, part: &[u8], line: &[u8]) -> Result<(), Full> {
        self.plain += line.len() as u64;
        if self.state.add(V::MultipartPartHeaders, part, line) { Ok(()) } else { Err(Full) }
    }

    fn part_name(&mut self, name: &[u8]) -> Result<(), Full> {
        if self.state.add(V::MultipartName, name, name) { Ok(()) } else { Err(Full) }
    }

    fn part_filename(&mut self, filename: &[u8]) -> Result<(), Full> {
        if self.state.add(V::MultipartFilename, filename, filename) { Ok(()) } else { Err(Full) }
    }
}

/// The variables of a head.
pub(crate) fn head(program: &Program, state: &mut State, outside: &mut Outside, head: &RequestHead<'_>) {
    let used = |variable: V| program.used[variable as usize];
    for (variable, value) in [
        (V::RequestMethod, head.method),
        (V::RequestProtocol, head.version.as_str().as_bytes()),
        (V::RequestUriRaw, head.target),
        (V::QueryString, head.query().unwrap_or_default()),
    ] {
        if used(variable) {
            state.set(variable, value);
        }
    }
    if used(V::RequestLine) {
        let mut line = state.buffer();
        for part in [head.method, b" ", head.target, b" ", head.version.as_str().as_bytes()] {
            line.extend_from_slice(part);
        }
        state.set(V::RequestLine, &line);
        state.give_back(line);
    }
    target(program, state, head);
    headers(program, state, outside, head);
    // Last, so that too many of them hide nothing else.
    let query = head.query().unwrap_or_default();
    let mut scratch = std::mem::take(&mut state.body);
    let mut keep = Keep { state, arguments: V::ArgsGet, size: 0, plain: 0, contents: false };
    let form = waf_body::urlencoded(query, outside.argument_separator, &mut keep, &mut scratch);
    outside.args_size += keep.size;
    state.body = scratch;
    state.set(V::UrlencodedError, if form.invalid_encoding { b"1" } else { b"0" });
    state.set_number(V::ArgsCombinedSize, outside.args_size as i64);
    full_request(program, state, outside, head, b"");
}

/// The target's parts, percent-decoded but for the raw ones.
fn target(program: &Program, state: &mut State, head: &RequestHead<'_>) {
    let used = |variable: V| program.used[variable as usize];
    let mut decoded = state.buffer();
    let whole = origin_form(head.target);
    // A fragment is no part of what is asked for, though it should not have been sent.
    let whole = memchr::memchr(b'#', whole).map_or(whole, |at| &whole[..at]);
    let whole = decode(whole, &mut decoded);
    if used(V::RequestUri) {
        state.set(V::RequestUri, whole);
    }
    decoded.clear();
    let path = decode(origin_form(head.path()), &mut decoded);
    let name = path.iter().rposition(|b| matches!(b, b'/' | b'\\')).map_or(path, |at| &path[at + 1..]);
    for (variable, value) in [(V::RequestFilename, path), (V::PathInfo, path), (V::RequestBasename, name)] {
        if used(variable) {
            state.set(variable, value);
        }
    }
    state.give_back(decoded);
}

fn decode<'a>(text: &'a [u8], out: &'a mut Vec<u8>) -> &'a [u8] {
    // `+` is a plus in a path.
    if memchr::memchr(b'%', text).is_none() {
        return text;
    }
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let hex = |at: usize| rest.get(at).and_then(|b| (*b as char).to_digit(16));
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = &rest[3..];
            }
            _ => {
                out.push(byte);
                rest = &rest[1..];
            }
        }
    }
    out
}

fn headers(program: &Program, state: &mut State, outside: &mut Outside, head: &RequestHead<'_>) {
    // RFC 9113 §8.3.1: in HTTP/2 `:authority` stands for Host, which rules look for.
    let implied = head.version == edge_http::Version::Http2 && !head.authority.is_empty();
    if implied && head.header("host").is_none() {
        state.add(V::RequestHeaders, b"host", head.authority);
    }
    for (name, value) in head.headers {
        if !state.add(V::RequestHeaders, name, value) {
            return;
        }
        match name.len() {
            4 if program.used[V::ServerName as usize] && name.eq_ignore_ascii_case(b"host") => {
                state.set(V::ServerName, head.host());
            }
            6 if name.eq_ignore_ascii_case(b"cookie") => {
                let mut keep =
                    Keep { state, arguments: V::RequestCookies, size: 0, plain: 0, contents: false };
                waf_body::cookies(value, &mut keep);
            }
            12 if name.eq_ignore_ascii_case(b"content-type") => content_type(state, outside, value),
            13 if name.eq_ignore_ascii_case(b"authorization") => authorization(program, state, value),
            _ => {}
        }
    }
    if program.used[V::ServerName as usize]
        && state.lists[V::ServerName as usize].first().is_none_or(|e| e.value == crate::texts::TextId::EMPTY)
    {
        state.set(V::ServerName, head.host());
    }
}

fn authorization(program: &Program, state: &mut State, value: &[u8]) {
    let mut words = value.splitn(2, |b| *b == b' ');
    let scheme = words.next().unwrap_or_default();
    state.set(V::AuthType, scheme);
    if !program.used[V::RemoteUser as usize] || !scheme.eq_ignore_ascii_case(b"basic") {
        return;
    }
    let encoded = words.next().unwrap_or_default().trim_ascii();
    let mut decoded = state.buffer();
    Transformation::Base64Decode.apply(encoded, &mut decoded);
    let user = decoded.split(|b| *b == b':').next().unwrap_or_default().to_vec();
    state.give_back(decoded);
    state.set(V::RemoteUser, &user);
}

/// Which processor reads the body, unless rules say otherwise.
fn content_type(state: &mut State, outside: &mut Outside, value: &[u8]) {
    outside.content_type.clear();
    outside.content_type.extend_from_slice(value);
    let kind = value.split(|b| matches!(b, b';' | b',')).next().unwrap_or_default().trim_ascii();
    let is = |wanted: &str| kind.eq_ignore_ascii_case(wanted.as_bytes());
    let ends = |suffix: &str| {
        kind.len() > suffix.len() && kind[kind.len() - suffix.len()..].eq_ignore_ascii_case(suffix.as_bytes())
    };
    let starts = |prefix: &str| {
        kind.len() >= prefix.len() && kind[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes())
    };
    let always = if is("application/x-www-form-urlencoded") {
        Some(Processor::UrlEncoded)
    } else if is("multipart/form-data") {
        Some(Processor::Multipart)
    } else {
        None
    };
    let by_type = || {
        if is("application/json") || ends("+json") || is("text/json") {
            Some(Processor::Json)
        } else if is("application/xml") || is("text/xml") || ends("+xml") {
            Some(Processor::Xml)
        } else if is("application/graphql") {
            Some(Processor::GraphQl)
        } else if is("application/x-ndjson") || is("application/ndjson") || is("application/jsonl") {
            Some(Processor::NdJson)
        } else if starts("application/grpc") || is("application/x-protobuf") || is("application/protobuf") {
            Some(Processor::Protobuf)
        } else {
            None
        }
    };
    let processor = always.or_else(|| if outside.processors_by_content_type { by_type() } else { None });
    state.switches.request_processor = processor;
    state.set(V::ReqbodyProcessor, processor.map_or("", name_of).as_bytes());
}

/// What the body said beside its arguments.
pub(crate) struct BodyRead {
    pub(crate) error: Option<String>,
}

/// The variables of a body.
pub(crate) fn body(
    program: &Program,
    state: &mut State,
    outside: &mut Outside,
    limits: &Limits,
    body: &[u8],
    complete: bool,
) -> BodyRead {
    let used = |variable: V| program.used[variable as usize];
    let mut read = BodyRead { error: None };
    state.set_number(V::RequestBodyLength, body.len() as i64);
    // Where no processor reads the body and a rule forces it, `REQUEST_BODY` alone is
    // set, as in v3: read as a form, a picture would be an argument that is not UTF-8.
    let processor = state.switches.request_processor;
    let asked = outside.raw_body_always || state.switches.force_request_body;
    if used(V::RequestBody) && (asked || matches!(processor, Some(Processor::UrlEncoded | Processor::Raw))) {
        state.set(V::RequestBody, body);
    }
    let many_before = state.work.too_many;
    if !body.is_empty()
        && let Some(processor) = processor
    {
        let mut scratch = std::mem::take(&mut state.body);
        read.error = with(program, state, outside, limits, (body, complete), processor, &mut scratch);
        state.body = scratch;
    }
    if state.work.too_many && !many_before && read.error.is_none() {
        let most = state.work.values_max;
        read.error =
            Some(format!("SecArgumentsLimit: more than the {most} names and values that are looked at"));
    }
    if let Some(limit) = outside.no_files_limit
        && outside.no_files_size > limit
        && read.error.is_none()
    {
        read.error = Some("Request body excluding files is bigger than the maximum expected.".to_owned());
    }
    let failed = if read.error.is_some() { &b"1"[..] } else { b"0" };
    let message = read.error.clone().unwrap_or_default();
    for variable in [V::ReqbodyError, V::ReqbodyProcessorError] {
        state.set(variable, failed);
    }
    for variable in [V::ReqbodyErrorMsg, V::ReqbodyProcessorErrorMsg] {
        state.set(variable, message.as_bytes());
    }
    state.set_number(V::ArgsCombinedSize, outside.args_size as i64);
    read
}

/// Reads a body by one processor; the answer is what is wrong with it.
fn with(
    program: &Program,
    state: &mut State,
    outside: &mut Outside,
    limits: &Limits,
    (body, complete): (&[u8], bool),
    processor: Processor,
    scratch: &mut waf_body::Scratch,
) -> Option<String> {
    let contents = program.used[V::FilesTmpContent as usize];
    let separator = outside.argument_separator;
    let mut keep = Keep { state, arguments: V::ArgsPost, size: 0, plain: 0, contents };
    let mut said = None;
    let mut invalid = false;
    let result = match processor {
        Processor::UrlEncoded => {
            invalid = waf_body::urlencoded(body, separator, &mut keep, scratch).invalid_encoding;
            Ok(())
        }
        Processor::Multipart => {
            let read = waf_body::multipart(&outside.content_type, body, complete, limits, &mut keep, scratch);
            said = Some(read);
            read.error.map_or(Ok(()), Err)
        }
        Processor::Json => waf_body::json(body, complete, limits, &mut keep, scratch),
        Processor::NdJson => waf_body::ndjson(body, complete, limits, &mut keep, scratch),
        Processor::GraphQl => waf_body::graphql(body, complete, limits, &mut keep, scratch),
        Processor::Protobuf => {
            let is_grpc = outside.content_type.len() >= 16
                && outside.content_type[..16].eq_ignore_ascii_case(b"application/grpc");
            if is_grpc {
                waf_body::grpc(body, &outside.grpc_encoding, complete, limits, &mut keep, scratch)
            } else {
                waf_body::protobuf(body, complete, limits, &mut keep, scratch)
            }
        }
        Processor::Xml => {
            let size = &mut 0;
            let result = xml(program, keep.state, limits, (body, complete), scratch, size);
            keep.size = *size;
            result
        }
        Processor::Raw => Ok(()),
    };
    let (size, plain) = (keep.size, keep.plain);
    outside.args_size += size;
    // As v3 counts: of a multipart body neither files nor what lies between parts.
    outside.no_files_size = if said.is_some() { plain } else { body.len() as u64 };
    if processor == Processor::UrlEncoded {
        // What the query's encoding was stays said.
        if invalid {
            state.set(V::UrlencodedError, b"1");
        }
    }
    if let Some(read) = said {
        multipart_flags(state, &read);
    }
    match result {
        Ok(()) => None,
        Err(error) if error.kind == waf_body::ErrorKind::Full => None,
        Err(error) => Some(error.to_string()),
    }
}

fn xml(
    program: &Program,
    state: &mut State,
    limits: &Limits,
    (body, complete): (&[u8], bool),
    scratch: &mut waf_body::Scratch,
    size: &mut u64,
) -> Result<(), waf_body::Error> {
    let mut document = std::mem::take(&mut state.xml);
    let result = document.parse(body, complete, limits);
    if state.switches.xml_into_args != XmlIntoArgs::Off {
        let mut keep = Keep { state, arguments: V::ArgsPost, size: 0, plain: 0, contents: false };
        // A full sink has said so in the budget.
        let _ = document.args(&mut keep, scratch);
        *size += keep.size;
    }
    if state.switches.xml_into_args != XmlIntoArgs::OnlyArgs {
        for (at, selector) in program.xpaths.iter().enumerate() {
            let list = (crate::program::VARIABLES + at) as u16;
            let selected = document.select(selector, limits, &mut |value| {
                let value = state.texts.intern(value);
                if state.keep(list, crate::texts::TextId::EMPTY, value) { Ok(()) } else { Err(Full) }
            });
            // A selector that takes too many steps leaves the rest unlooked at: that is
            // beyond the budget, not the client's mistake.
            if let Err(error) = selected
                && error.kind != waf_body::ErrorKind::Full
            {
                state.work.too_many = true;
            }
        }
    }
    state.xml = document;
    result
}

fn multipart_flags(state: &mut State, read: &waf_body::Multipart) {
    let flags = &read.flags;
    let all = [
        (V::MultipartBoundaryQuoted, flags.boundary_quoted),
        (V::MultipartBoundaryWhitespace, flags.boundary_whitespace),
        (V::MultipartDataBefore, flags.data_before),
        (V::MultipartDataAfter, flags.data_after),
        (V::MultipartHeaderFolding, flags.header_folding),
        (V::MultipartInvalidHeaderFolding, flags.invalid_header_folding),
        (V::MultipartLfLine, flags.lf_line),
        (V::MultipartCrlfLfLines, flags.crlf_lf_lines()),
        (V::MultipartMissingSemicolon, flags.missing_semicolon),
        (V::MultipartSemicolonMissing, flags.missing_semicolon),
        (V::MultipartInvalidQuoting, flags.invalid_quoting),
        (V::MultipartInvalidPart, flags.invalid_part),
        (V::MultipartFileLimitExceeded, flags.file_limit_exceeded),
        (V::MultipartStrictError, flags.strict_error()),
    ];
    for (variable, on) in all {
        state.set(variable, if on { b"1" } else { b"0" });
    }
    state.set_number(V::MultipartUnmatchedBoundary, i64::from(flags.unmatched_boundary));
    state.set_number(V::FilesCombinedSize, read.files_size.try_into().unwrap_or(i64::MAX));
}

/// `FULL_REQUEST` and its length: only where a rule asks for them.
pub(crate) fn full_request(
    program: &Program,
    state: &mut State,
    outside: &mut Outside,
    head: &RequestHead<'_>,
    body: &[u8],
) {
    let used = |variable: V| program.used[variable as usize];
    if !used(V::FullRequest) && !used(V::FullRequestLength) {
        return;
    }
    if body.is_empty() {
        let full = &mut outside.full_request;
        full.clear();
        for part in [head.method, b" ", head.target, b" ", head.version.as_str().as_bytes(), b"\n"] {
            full.extend_from_slice(part);
        }
        for (name, value) in head.headers {
            for part in [*name, b": ", *value, b"\n"] {
                full.extend_from_slice(part);
            }
        }
        full.push(b'\n');
    }
    with_body(state, outside, body);
}

/// The same once the body is there.
pub(crate) fn with_body(state: &mut State, outside: &mut Outside, body: &[u8]) {
    if outside.full_request.is_empty() {
        return;
    }
    outside.full_request.extend_from_slice(body);
    let full = std::mem::take(&mut outside.full_request);
    state.set(V::FullRequest, &full);
    state.set_number(V::FullRequestLength, full.len() as i64);
    outside.full_request = full;
}

/// A target without scheme and authority (RFC 9112 §3.2.2), where it has them.
fn origin_form(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(scheme_end) = memchr::memmem::find(target, b"://") else {
        return target;
    };
    let after = scheme_end + 3;
    memchr::memchr2(b'/', b'?', &target[after..]).map_or(&[][..], |at| &target[after + at..])
}
