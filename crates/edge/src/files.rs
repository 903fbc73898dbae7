//! Static files: found without leaving their folder, answered with validators,
//! ranges and precompressed variants, read in pieces on the runtime's threads
//! for blocking work so that a slow disk holds up one response, not a worker.

use crate::body::{BodyFault, ResponseBody, Source};
use crate::pages::Answer;
use bytes::Bytes;
use edge_http::RequestHead;
use edge_http::negotiate::{Encoding, accepted_encodings, content_type};
use edge_http::path::{PathError, file_segments};
use edge_http::range::{ByteRange, Condition, Ranges, Validators, condition, ranges};
use hyper::body::Frame;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// A file is read in pieces of this size: one hop to another thread each, and at
/// most this much memory a response.
const PIECE: u64 = 256 << 10;

/// What a route says about its files.
pub(crate) struct Folder<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) index: Option<&'a str>,
    pub(crate) cache_control: Option<&'a str>,
}

/// A file that was found, with its first piece.
struct Found {
    file: File,
    length: u64,
    validators: Validators,
    encoding: Option<Encoding>,
    first: Vec<u8>,
    /// Where `first` begins.
    at: u64,
}

enum Looked {
    File(Box<Found>),
    /// A folder; its index is not served under a path without a slash.
    Folder,
}

/// Answers a GET or HEAD. `rest` is the path below the folder.
pub(crate) async fn serve(
    head: &RequestHead<'_>,
    rest: &[u8],
    folder: Folder<'_>,
) -> Result<Response<ResponseBody>, Answer> {
    if !matches!(head.method, b"GET" | b"HEAD") {
        return Err(Answer::MethodNotAllowed("GET, HEAD".to_owned()));
    }
    let mut segments = file_segments(rest).map_err(|error| match error {
        PathError::Encoding => Answer::Refused(edge_http::Refusal::Target),
        PathError::Forbidden => Answer::NotFound,
    })?;
    if rest.ends_with(b"/") {
        segments.push(folder.index.ok_or(Answer::NotFound)?.to_owned());
    }
    let name = segments.last().cloned().unwrap_or_default();
    let relative: PathBuf = segments.iter().collect();
    let encodings: Vec<Encoding> = accepted_encodings(head).collect();
    let first_at = match ranges(head.header("range"), u64::MAX >> 1) {
        Ranges::One(range) if !suffix_range(head) => range.first,
        _ => 0,
    };
    let wants_body = head.method == b"GET";
    let base = folder.folder.to_owned();
    let looked =
        tokio::task::spawn_blocking(move || look(&base, &relative, &encodings, first_at, wants_body));
    let found = match looked.await {
        Ok(Ok(Looked::File(found))) => found,
        Ok(Ok(Looked::Folder)) => return Err(to_folder(head, folder.index)),
        Ok(Err(error)) => return Err(answer_of(&error)),
        Err(_) => return Err(Answer::Internal),
    };
    respond(head, *found, &name, folder.cache_control)
}

/// Whether the range counts from the end, so that its start is not known yet.
fn suffix_range(head: &RequestHead<'_>) -> bool {
    head.header("range").is_some_and(|value| value.windows(2).any(|w| w == b"=-"))
}

fn to_folder(head: &RequestHead<'_>, index: Option<&str>) -> Answer {
    if index.is_none() {
        return Answer::NotFound;
    }
    let path = edge_route::table::redirect_target("{path}", head.path(), None);
    let query = head.query().map(|q| format!("?{}", String::from_utf8_lossy(q))).unwrap_or_default();
    Answer::Redirect(308, format!("{path}/{query}"))
}

fn answer_of(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Answer::Forbidden,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Answer::NotFound,
        _ => match error.raw_os_error() {
            // A symlink that leaves the folder (EXDEV), a loop (ELOOP), a name too long.
            Some(18 | 40 | 36) => Answer::NotFound,
            _ => Answer::Internal,
        },
    }
}

fn respond(
    head: &RequestHead<'_>,
    found: Found,
    name: &str,
    cache_control: Option<&str>,
) -> Result<Response<ResponseBody>, Answer> {
    let range_ok = match condition(head, &found.validators) {
        Condition::Answer(range_ok) => range_ok,
        Condition::Failed => return Err(Answer::ConditionFailed),
        Condition::NotModified => {
            let mut response = Response::new(ResponseBody::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            describe(response.headers_mut(), &found, cache_control);
            return Ok(response);
        }
    };
    // RFC 9110 §14.2: Range is defined for GET alone.
    let range = if range_ok && head.method == b"GET" { head.header("range") } else { None };
    let (status, part) = match ranges(range, found.length) {
        Ranges::Unsatisfiable => return Err(Answer::RangeNotSatisfiable(found.length)),
        Ranges::One(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
        Ranges::Whole => (StatusCode::OK, None),
    };
    let mut headers = HeaderMap::with_capacity(12);
    describe(&mut headers, &found, cache_control);
    set(&mut headers, header::CONTENT_TYPE, content_type(name));
    set(&mut headers, header::ACCEPT_RANGES, "bytes");
    set(&mut headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if let Some(encoding) = found.encoding {
        set(&mut headers, header::CONTENT_ENCODING, encoding.name());
    }
    let whole = ByteRange { first: 0, last: found.length.saturating_sub(1) };
    let sent = part.unwrap_or(whole);
    let length = if found.length == 0 { 0 } else { sent.length() };
    if part.is_some() {
        let value = format!("bytes {}-{}/{}", sent.first, sent.last, found.length);
        set(&mut headers, header::CONTENT_RANGE, &value);
    }
    let body = if head.method == b"HEAD" {
        // A body's length is told by itself; HEAD has none.
        set(&mut headers, header::CONTENT_LENGTH, &length.to_string());
        ResponseBody::empty()
    } else {
        ResponseBody::new(Source::File(Box::new(FileBody::new(found, sent.first, length))))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// What a 304 repeats, too (RFC 9110 §15.4.5).
fn describe(headers: &mut HeaderMap, found: &Found, cache_control: Option<&str>) {
    set(headers, header::ETAG, &found.validators.etag);
    set(headers, header::VARY, "Accept-Encoding");
    if let Some(date) = found.validators.last_modified() {
        set(headers, header::LAST_MODIFIED, &date);
    }
    if let Some(value) = cache_control {
        set(headers, header::CACHE_CONTROL, value);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Opens the file, or the variant that packs best among those accepted, and
/// reads the first piece.
fn look(
    base: &Path,
    relative: &Path,
    encodings: &[Encoding],
    first_at: u64,
    wants_body: bool,
) -> io::Result<Looked> {
    let plain = open_below(base, relative)?;
    let meta = plain.metadata()?;
    if meta.is_dir() {
        return Ok(Looked::Folder);
    }
    if !meta.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut chosen = (plain, meta, None);
    for &encoding in encodings {
        let mut name = relative.as_os_str().to_owned();
        name.push(encoding.suffix());
        let Ok(file) = open_below(base, Path::new(&name)) else { continue };
        let meta = file.metadata()?;
        // One older than the file itself was packed from something else.
        if meta.is_file() && modified_ns(&meta) >= modified_ns(&chosen.1) {
            chosen = (file, meta, Some(encoding));
            break;
        }
    }
    let (file, meta, encoding) = chosen;
    let length = meta.len();
    let validators = Validators::new(length, modified_ns(&meta), encoding.map_or("", Encoding::name));
    let mut first = Vec::new();
    if wants_body && first_at < length {
        first = read_at(&file, first_at, (length - first_at).min(PIECE))?;
    }
    Ok(Looked::File(Box::new(Found { file, length, validators, encoding, first, at: first_at })))
}

fn modified_ns(meta: &std::fs::Metadata) -> u128 {
    u128::try_from(i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())).unwrap_or(0)
}

/// Opens what is below a folder, and only that: the kernel refuses `..`, absolute
/// paths and symlinks that lead outside (openat2(2), RESOLVE_BENEATH). O_NONBLOCK
/// so that a FIFO cannot hold us.
fn open_below(base: &Path, relative: &Path) -> io::Result<File> {
    let folder = rustix::fs::open(base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let name = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    match rustix::fs::openat2(&folder, name, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(File::from(fd)),
        // Before Linux 5.6, and in some sandboxes.
        Err(rustix::io::Errno::NOSYS) => open_below_by_name(base, name, flags),
        Err(error) => Err(error.into()),
    }
}

/// The same by comparing real paths. What is renamed between the look and the
/// opening can defeat it, so the folder must not be writable by strangers.
fn open_below_by_name(base: &Path, relative: &Path, flags: OFlags) -> io::Result<File> {
    let base = base.canonicalize()?;
    let path = base.join(relative).canonicalize()?;
    if !path.starts_with(&base) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(File::from(rustix::fs::open(&path, flags | OFlags::NOFOLLOW, Mode::empty())?))
}

fn read_at(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; length as usize];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece)
}

/// A piece being read on another thread; the file comes back with it.
type Reading = JoinHandle<io::Result<(File, Vec<u8>)>>;

/// A file on its way to the client.
pub(crate) struct FileBody {
    ready: Option<Bytes>,
    reading: Option<Reading>,
    file: Option<File>,
    at: u64,
    left: u64,
}

impl FileBody {
    fn new(found: Found, at: u64, length: u64) -> Self {
        let mut first = Bytes::new();
        if found.at == at && !found.first.is_empty() {
            first = Bytes::from(found.first);
            first.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        }
        let ready = (!first.is_empty()).then_some(first);
        Self { ready, reading: None, file: Some(found.file), at, left: length }
    }

    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn is_end(&self) -> bool {
        self.left == 0
    }

    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        loop {
            if let Some(piece) = self.ready.take() {
                self.at += piece.len() as u64;
                self.left -= piece.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                match read {
                    Ok(Ok((file, piece))) => {
                        self.file = Some(file);
                        self.ready = Some(Bytes::from(piece));
                        continue;
                    }
                    // It was cut short under us, or the disk failed: the length is
                    // promised, so the response must break off.
                    _ => return Poll::Ready(Some(Err(BodyFault::File))),
                }
            }
            let Some(file) = self.file.take() else { return Poll::Ready(Some(Err(BodyFault::File))) };
            let (at, length) = (self.at, self.left.min(PIECE));
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let piece = read_at(&file, at, length)?;
                Ok((file, piece))
            }));
        }
    }
}
