use super::*;

const LIMITS: GuardLimits = GuardLimits { head: 512, header_lines: 8 };

/// Scans in pieces of every size, as a socket may give them; the outcome
/// must not depend on it. Answers what passed and how it ended.
fn run(input: &[u8], piece: usize) -> (Vec<u8>, Option<Refusal>, bool) {
    let mut guard = Guard::new(LIMITS);
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    for part in input.chunks(piece) {
        held.extend_from_slice(part);
        match guard.scan(&held) {
            Scan::Pass(n) => passed.extend(held.drain(..n)),
            Scan::Upgrade(n) => {
                passed.extend(held.drain(..n));
                return (passed, None, true);
            }
            Scan::Refused(n, refusal) => {
                passed.extend(held.drain(..n));
                return (passed, Some(refusal), false);
            }
        }
    }
    (passed, None, false)
}

fn check(input: &str, passed: usize, refusal: Option<Refusal>) {
    for piece in [1, 2, 3, 7, 64, 100_000] {
        let (bytes, end, upgrade) = run(input.as_bytes(), piece);
        assert_eq!(end, refusal, "{input:?} in pieces of {piece}");
        assert_eq!(bytes, &input.as_bytes()[..passed], "{input:?} in pieces of {piece}");
        assert!(!upgrade, "{input:?}");
    }
}

#[test]
fn honest_messages_pass_whole() {
    for input in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:a\r\nX:\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\nx",
    ] {
        check(input, input.len(), None);
    }
}

#[test]
fn an_incomplete_head_is_held_back() {
    check("GET / HTTP/1.1\r\nHost: a\r\n", 0, None);
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HT", 27, None);
}

#[test]
fn smuggling_is_refused_and_nothing_behind_it_passes() {
    use Refusal::*;
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let cases: &[(&str, Refusal)] = &[
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", LengthAndEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", LengthAndEncoding),
        ("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", ContentLength),
        ("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", ContentLength),
        ("Content-Length: 3, 3\r\n\r\nabc", ContentLength),
        ("Content-Length: +3\r\n\r\nabc", ContentLength),
        ("Content-Length: -1\r\n\r\n", ContentLength),
        ("Content-Length: 0x3\r\n\r\nabc", ContentLength),
        ("Content-Length: 3 3\r\n\r\nabc", ContentLength),
        ("Content-Length:\r\n\r\n", ContentLength),
        ("Content-Length: 99999999999999999999\r\n\r\n", ContentLength),
        ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", TransferEncoding),
        ("Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n\r\n", TransferEncoding),
        ("Transfer-Encoding: \u{b}chunked\r\n\r\n", HeaderSyntax),
        ("Transfer-Encoding : chunked\r\n\r\n", HeaderSyntax),
        ("Transfer-Encoding\r\n : chunked\r\n\r\n", HeaderSyntax),
        (" Transfer-Encoding: chunked\r\n\r\n", HeaderSyntax),
        ("X: a\r\n b\r\n\r\n", HeaderSyntax),
        ("X: a\u{0}b\r\n\r\n", HeaderSyntax),
        ("X: a\rb\r\n\r\n", HeaderSyntax),
        (": a\r\n\r\n", HeaderSyntax),
        ("X\r\n\r\n", HeaderSyntax),
        ("X: a\n\r\n", LineEnd),
        ("X: a\n\n", LineEnd),
        ("Host: b\r\n\r\n", SeveralHosts),
    ];
    for (rest, refusal) in cases {
        let input = format!("{head}{rest}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        check(&input, 0, Some(*refusal));
    }
}

#[test]
fn request_lines() {
    use Refusal::*;
    let cases: &[(&str, Refusal)] = &[
        ("GET  / HTTP/1.1", RequestLine),
        ("GET / HTTP/1.1 ", RequestLine),
        ("GET /", RequestLine),
        ("GET / HTTP/2.0", Version),
        ("GET / HTTP/1.2", Version),
        ("GET / HTTP/0.9", RequestLine),
        ("GET / HTTP/a.b", RequestLine),
        ("GET / http/1.1", RequestLine),
        ("G\u{e9}T / HTTP/1.1", RequestLine),
        ("GET /\u{e9} HTTP/1.1", Target),
        ("GET /\u{1}x HTTP/1.1", Target),
        (" GET / HTTP/1.1", RequestLine),
        ("\u{16}\u{3}\u{1}", RequestLine),
    ];
    for (line, refusal) in cases {
        check(&format!("{line}\r\nHost: a\r\n\r\n"), 0, Some(*refusal));
    }
    check("GET / HTTP/1.1\r\n\r\n", 0, Some(NoHost));
    check("\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, Some(RequestLine));
}

#[test]
fn bodies_that_break_their_framing() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, passes) in [
        ("3\nabc\r\n0\r\n\r\n", 0),
        ("x\r\n", 0),
        ("\r\n", 0),
        ("-1\r\n", 0),
        ("0x3\r\nabc\r\n", 0),
        ("3\r\nabcd\r\n", 6),
        ("3\r\nabc\n0\r\n\r\n", 6),
        ("1234567890abcdef0\r\n", 0),
        ("3;a\u{1}\r\nabc\r\n", 0),
        ("0\r\nContent-Length: 5\r\n\r\n", 3),
        ("0\r\nbad line\r\n\r\n", 3),
    ] {
        let input = format!("{head}{body}");
        check(&input, head.len() + passes, Some(Refusal::Chunk));
    }
    let long = format!("{head}3;{}", "x".repeat(300));
    check(&long, head.len(), Some(Refusal::Chunk));
    let trailers = format!("{head}0\r\n{}", "A: b\r\n".repeat(20));
    check(&trailers, head.len() + 3 + 8 * 6, Some(Refusal::Chunk));
}

#[test]
fn limits() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(600));
    check(&long, 0, Some(Refusal::TargetTooLong));
    let wide = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(600));
    check(&wide, 0, Some(Refusal::HeadTooLarge));
    let eight = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(7));
    check(&eight, eight.len(), None);
    let nine = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(8));
    check(&nine, 0, Some(Refusal::TooManyHeaders));
}

#[test]
fn an_upgrade_stops_until_it_is_decided() {
    let head =
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let next = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = [&head[..], next].concat();
    let mut guard = Guard::new(LIMITS);
    assert_eq!(guard.scan(&both), Scan::Upgrade(head.len()));
    assert_eq!(guard.scan(next), Scan::Upgrade(0));
    guard.not_upgraded();
    assert_eq!(guard.scan(next), Scan::Pass(next.len()));

    let mut guard = Guard::new(LIMITS);
    assert_eq!(guard.scan(head), Scan::Upgrade(head.len()));
    guard.upgraded();
    assert_eq!(guard.scan(b"\x81\x00 anything"), Scan::Pass(11));
}

/// Any bytes at all: no panic, and never more passed than given.
#[test]
fn noise_never_panics() {
    for seed in 0..2_000u64 {
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        };
        let alphabet = b"GET /POST HTTP/1.1\r\n\r\n:;0123abc,chunkedHost: a\r\nContent-Length: 2\r\n\0\xff";
        let input: Vec<u8> = (0..next() % 400).map(|_| alphabet[next() as usize % alphabet.len()]).collect();
        let whole = run(&input, 1_000);
        let pieces = run(&input, 1 + (next() % 9) as usize);
        assert_eq!(whole, pieces, "seed {seed}");
    }
}
