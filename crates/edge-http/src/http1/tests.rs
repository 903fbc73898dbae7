use super::obvious::{Found, OwnedHead};
use super::*;
use crate::{Guard, GuardLimits, Refusal, Scan, Version};
use proptest::prelude::*;

const LIMITS: GuardLimits = GuardLimits { head: 512, header_lines: 8 };
const BODY: BodyLimits = BodyLimits { content: 1 << 20, trailers: 512, trailer_lines: 8 };

/// Reads in pieces that end at `cuts`, as a socket may give them.
fn in_pieces(data: &[u8], cuts: &[usize]) -> Found {
    let mut parser = HeadParser::new(LIMITS);
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (data.len() + 1)).collect();
    ends.push(data.len());
    ends.sort_unstable();
    for end in ends {
        match parser.read(&data[..end], &mut Lines::default()) {
            Ok(None) => {}
            Ok(Some(head)) => return Found::Head(owned(&head)),
            Err(refusal) => {
                let again = parser.read(data, &mut Lines::default()).map(|_| ());
                assert_eq!(again, Err(refusal), "a refusal is final");
                return Found::Refused(refusal);
            }
        }
    }
    Found::More
}

fn owned(head: &Head<'_>) -> OwnedHead {
    OwnedHead {
        length: head.length,
        method: head.method.to_vec(),
        target: head.target.to_vec(),
        version: head.version,
        headers: head.headers.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect(),
        framing: head.framing,
        upgrade: head.upgrade,
    }
}

/// What the guard says of the first head: refused, passed, or not yet.
fn guard(data: &[u8]) -> Found {
    let mut guard = Guard::new(LIMITS);
    match guard.scan(data) {
        Scan::Refused(_, refusal) if guard.heads() == 0 => Found::Refused(refusal),
        Scan::Pass(_) if guard.heads() == 0 => Found::More,
        // The guard tells no more of a head than where it ends.
        _ => in_pieces(&data[..first_head(data)], &[]),
    }
}

/// The shortest front of `data` that the guard takes for a head.
fn first_head(data: &[u8]) -> usize {
    let whole = |&end: &usize| {
        let mut guard = Guard::new(LIMITS);
        guard.scan(&data[..end]);
        guard.heads() == 1
    };
    (0..=data.len()).find(whole).unwrap_or(0)
}

/// Lines that are nearly right, so that what is generated gets far.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "Host: a",
        "host:\t b.example:80 ",
        "Content-Length: 3",
        "content-length:0",
        "Content-Length: 3, 3",
        "Transfer-Encoding: chunked",
        "transfer-encoding: Chunked",
        "Transfer-Encoding: gzip, chunked",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "X: a\rb",
        "X : y",
        " folded",
        "X:",
        ":",
        "X: \u{e9}\u{7f}",
        "Long-Header-Name_with.odd~bytes: 0123456789abcdef0123456789abcdef",
        "",
    ])
    .prop_map(|line| line.as_bytes().to_vec());
    prop_oneof![8 => known, 1 => prop::collection::vec(any::<u8>(), 0..20)]
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![
        "GET / HTTP/1.1",
        "GET /a?b=`\\ HTTP/1.1",
        "POST /x HTTP/1.0",
        "G@T / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/0.9",
        "GET /a` HTTP/1.1",
        "GET /<> HTTP/1.1",
        "",
        "GET /",
        "\u{16}\u{3}",
        "OPTIONS * HTTP/1.1",
        "GET http://a/ HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "GET / HTTP/1.1 ",
    ])
    .prop_map(|line| line.as_bytes().to_vec());
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", ""]);
    let lines = prop::collection::vec((line(), end.clone()), 0..11);
    let tail = prop::sample::select(vec!["\r\n", "\r\n", "\r\nGET / HTTP/1.1\r\n", ""]);
    let lead = prop::sample::select(vec!["", "", "", "\r\n", "\r", "\n", "\r\n\r\n"]);
    (lead, first, end, lines, tail).prop_map(|(lead, first, end, lines, tail)| {
        let mut data = [lead.as_bytes(), &first, end.as_bytes()].concat();
        for (line, end) in lines {
            data.extend(line);
            data.extend(end.as_bytes());
        }
        data.extend(tail.as_bytes());
        data
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the bytes come, the answer is the guard's and that of the obvious
    /// version.
    #[test]
    fn one_verdict(data in input(), cuts in prop::collection::vec(0..600usize, 0..6)) {
        let found = in_pieces(&data, &cuts);
        prop_assert_eq!(&found, &obvious::read(&data, LIMITS));
        prop_assert_eq!(&found, &guard(&data));
    }

    /// Any bytes at all, also where nobody looked for the head's end before.
    #[test]
    fn noise_never_panics(data in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(0..300usize, 0..4)) {
        let found = in_pieces(&data, &cuts);
        prop_assert_eq!(found, obvious::read(&data, LIMITS));
        for framing in [Framing::Chunked, Framing::Length(10), Framing::None] {
            if let Ok(Some(body)) = read_body(&data, framing, BODY) {
                prop_assert!(body.length <= data.len() && body.content.len() <= body.length);
            }
        }
    }

    /// A body cut into chunks comes out whole, ends where it ends for the guard,
    /// and is not whole one byte earlier.
    #[test]
    fn chunks(content in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6), trailer in any::<bool>()) {
        let mut body = Vec::new();
        for chunk in &content {
            body.extend(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(if trailer { &b"0\r\nX-Sum: 1\r\n\r\n"[..] } else { b"0\r\n\r\n" });
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = [&head[..], &body].concat();
        prop_assert_eq!(Guard::new(LIMITS).scan(&whole), Scan::Pass(whole.len()));
        let with_next = [&body[..], b"GET"].concat();
        let read = read_body(&with_next, Framing::Chunked, BODY).unwrap().unwrap();
        prop_assert_eq!(read.content.as_ref(), content.concat());
        prop_assert_eq!(read.length, body.len());
        for end in 0..body.len() {
            prop_assert_eq!(read_body(&body[..end], Framing::Chunked, BODY), Ok(None));
        }
    }
}

#[test]
fn bodies() {
    use Refusal::{BodyTooLarge, Chunk};
    type Expected = Result<Option<(&'static str, usize)>, Refusal>;
    let cases: &[(&str, Framing, Expected)] = &[
        ("abcdef", Framing::Length(3), Ok(Some(("abc", 3)))),
        ("ab", Framing::Length(3), Ok(None)),
        ("abc", Framing::None, Ok(Some(("", 0)))),
        ("", Framing::Length(1 << 21), Err(BodyTooLarge)),
        ("200000\r\n", Framing::Chunked, Err(BodyTooLarge)),
        ("fffffffffffffff\r\n", Framing::Chunked, Err(BodyTooLarge)),
        ("1234567890abcdef0\r\n", Framing::Chunked, Err(Chunk)),
        ("3\r\nabcd\r\n0\r\n\r\n", Framing::Chunked, Err(Chunk)),
        ("3\nabc\r\n0\r\n\r\n", Framing::Chunked, Err(Chunk)),
        ("3\r\nabc\n0\r\n\r\n", Framing::Chunked, Err(Chunk)),
        ("0\r\nHost: b\r\n\r\n", Framing::Chunked, Err(Chunk)),
        ("3 \r\nabc\r\n0\r\n\r\n", Framing::Chunked, Ok(Some(("abc", 14)))),
    ];
    for (data, framing, expected) in cases {
        let got = read_body(data.as_bytes(), *framing, BODY);
        let got = got
            .map(|body| body.map(|body| (String::from_utf8_lossy(&body.content).into_owned(), body.length)));
        let expected = expected.map(|body| body.map(|(content, length)| (content.to_owned(), length)));
        assert_eq!(got, expected, "{data:?}");
    }
}

#[test]
fn what_was_sent_is_kept() {
    let data = b"\r\nPoST /a?B=c HTTP/1.1\r\nhOsT:A\r\nx:  a\tb \r\nX: \xff\r\nContent-LENGTH: 3\r\n\r\n";
    let mut lines = Lines::default();
    let head = HeadParser::new(LIMITS).read(data, &mut lines).unwrap().unwrap();
    assert_eq!((head.method, head.target, head.version), (&b"PoST"[..], &b"/a?B=c"[..], Version::Http11));
    let expected: &[(&[u8], &[u8])] =
        &[(b"hOsT", b"A"), (b"x", b"a\tb"), (b"X", b"\xff"), (b"Content-LENGTH", b"3")];
    assert_eq!(head.headers, expected);
    assert_eq!((head.framing, head.upgrade), (Framing::Length(3), false));
}

#[test]
fn recycled_lines_do_not_allocate() {
    let data = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n".to_vec();
    let mut lines = Lines::with_capacity(100);
    let first = HeadParser::new(LIMITS).read(&data, &mut lines).unwrap().unwrap().headers.as_ptr() as usize;
    let mut lines = lines.recycle();
    let other = data.clone();
    drop(data);
    let second = HeadParser::new(LIMITS).read(&other, &mut lines).unwrap().unwrap().headers.as_ptr() as usize;
    assert_eq!(first, second);
}

#[test]
fn targets() {
    use Refusal::{AuthorityMismatch, BadHost, Target};
    // request line's front, Host, then target and authority as the edge sees them
    type Expected = Result<(&'static str, &'static str), Refusal>;
    let cases: &[(&str, &str, Expected)] = &[
        ("GET /a?b", "A:80", Ok(("/a?b", "A:80"))),
        ("OPTIONS *", "a", Ok(("*", "a"))),
        ("GET *", "a", Err(Target)),
        ("GET a", "a", Err(Target)),
        ("GET ?a", "a", Err(Target)),
        ("GET http://a/b", "a", Ok(("/b", "a"))),
        ("GET HTTPS://A", "a", Ok(("/", "A"))),
        ("OPTIONS http://a", "a", Ok(("*", "a"))),
        ("GET http://a/b", "c", Err(AuthorityMismatch)),
        ("GET http://a?b", "a", Err(Target)),
        ("GET http:///b", "a", Err(Target)),
        ("GET http:/b", "a", Err(Target)),
        ("GET ftp://a/b", "a", Err(Target)),
        ("GET http://u@a/", "u@a", Err(BadHost)),
        ("GET /", "", Err(BadHost)),
        ("GET /", "a b", Err(BadHost)),
        ("GET /", "a%00", Err(BadHost)),
        ("CONNECT a:443", "b", Ok(("a:443", "b"))),
        ("CONNECT a", "a", Err(Target)),
        ("CONNECT a:", "a", Err(Target)),
        ("CONNECT /a:1", "a", Err(Target)),
    ];
    for (front, host, expected) in cases {
        let data = format!("{front} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut lines = Lines::default();
        let request = HeadParser::new(LIMITS).read(data.as_bytes(), &mut lines).unwrap().unwrap().request();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let got = request.map(|r| (text(r.target), text(r.authority)));
        let expected = expected.map(|(target, authority)| (target.to_owned(), authority.to_owned()));
        assert_eq!(got, expected, "{data:?}");
    }
    let mut lines = Lines::default();
    let old = HeadParser::new(LIMITS).read(b"GET / HTTP/1.0\r\n\r\n", &mut lines).unwrap().unwrap();
    let old = old.request().map(|request| request.authority.len());
    assert_eq!(old, Ok(0));
}
