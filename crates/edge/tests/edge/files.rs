//! Static files.

use crate::harness::*;
use edge_route::settings::Action;
use hyper::header::{HeaderName, HeaderValue};
use std::time::{Duration, SystemTime};

async fn start() -> Edge {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("public");
    write(&root, "index.html", "<h1>home</h1>");
    write(&root, "style.css", "body{color:red}");
    write(&root, "app.js", "plain");
    write(&root, "app.js.br", "brotli");
    write(&root, "app.js.gz", "gzip");
    write(&root, "old.js", "plain");
    write(&root, "old.js.gz", "stale");
    let long_ago = SystemTime::now() - Duration::from_secs(1_000);
    std::fs::File::options()
        .write(true)
        .open(root.join("old.js.gz"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    write(&root, "sub/index.html", "sub");
    write(&root, "bare/x.txt", "x");
    write(&root, ".env", "SECRET");
    write(&root, "empty.txt", "");
    write(&root, "with space.txt", "spaced");
    write(&root, "big.bin", (0..1_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    write(folder.path(), "outside.txt", "outside");
    std::os::unix::fs::symlink("../outside.txt", root.join("escape.txt")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("absolute.txt")).unwrap();
    std::os::unix::fs::symlink("style.css", root.join("inside.css")).unwrap();
    let mut site = settings(&[]);
    site.routes.routes = vec![
        route(
            "/assets/*",
            Action::Files { folder: root.clone(), index: None, cache_control: Some("max-age=60".into()) },
        ),
        route("/*", Action::Files { folder: root, index: Some("index.html".into()), cache_control: None }),
    ];
    Edge::start_in(folder, site).await
}

type Answer = (u16, hyper::HeaderMap, String);

async fn ask(edge: &Edge, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut client = edge.http1().await;
    let mut asked = request(method, path, "");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        asked.headers_mut().insert(HeaderName::from_static(name), value);
    }
    read(client.send_request(asked).await.unwrap()).await
}

#[tokio::test]
async fn files_types_and_what_is_not_served() {
    let edge = start().await;
    let cases = [
        ("GET", "/", 200, "<h1>home</h1>", "text/html; charset=utf-8"),
        ("GET", "/style.css", 200, "body{color:red}", "text/css; charset=utf-8"),
        ("GET", "/assets/style.css", 200, "body{color:red}", "text/css; charset=utf-8"),
        ("GET", "/inside.css", 200, "body{color:red}", "text/css; charset=utf-8"),
        ("GET", "/with%20space.txt", 200, "spaced", "text/plain; charset=utf-8"),
        ("GET", "/empty.txt", 200, "", "text/plain; charset=utf-8"),
        ("HEAD", "/style.css", 200, "", "text/css; charset=utf-8"),
        ("GET", "/sub/", 200, "sub", "text/html; charset=utf-8"),
        ("GET", "/sub", 308, "308", ""),
        ("GET", "/bare/", 404, "404", ""),
        ("GET", "/assets/", 404, "404", ""),
        ("GET", "/assets/sub", 404, "404", ""),
        ("GET", "/missing", 404, "404", ""),
        ("GET", "/style.css/x", 404, "404", ""),
        ("GET", "/.env", 404, "404", ""),
        ("GET", "/%2eenv", 404, "404", ""),
        ("GET", "/escape.txt", 404, "404", ""),
        ("GET", "/absolute.txt", 404, "404", ""),
        ("GET", "/assets/%2e%2e%2foutside.txt", 404, "404", ""),
        ("GET", "/assets/..%2f..%2foutside.txt", 404, "404", ""),
        ("GET", "/assets/../../outside.txt", 404, "404", ""),
        ("GET", "/a%00b", 404, "404", ""),
        ("GET", "/%zz", 400, "400", ""),
        ("POST", "/style.css", 405, "405", ""),
    ];
    for (method, path, status, body, kind) in cases {
        let (got, headers, text) = ask(&edge, method, path, &[]).await;
        assert_eq!(got, status, "{method} {path}: {text}");
        if status == 200 {
            assert_eq!(text, body, "{path}");
            assert_eq!(headers["content-type"], kind, "{path}");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            let expected = if method == "HEAD" { 15 } else { body.len() };
            assert_eq!(headers["content-length"], expected.to_string(), "{path}");
        }
        assert!(!text.contains("SECRET") && !text.contains("outside") && !text.contains("root:"), "{path}");
    }
    let (_, headers, _) = ask(&edge, "GET", "/assets/style.css", &[]).await;
    assert_eq!(headers["cache-control"], "max-age=60");
    let (_, headers, _) = ask(&edge, "GET", "/sub?a=b", &[]).await;
    assert_eq!(headers["location"], "/sub/?a=b");
    edge.stop().await;
}

#[tokio::test]
async fn ranges_and_conditions() {
    let edge = start().await;
    let (_, headers, _) = ask(&edge, "GET", "/style.css", &[]).await;
    let etag = headers["etag"].to_str().unwrap().to_owned();
    let date = headers["last-modified"].to_str().unwrap().to_owned();
    type Case<'a> = (&'a [(&'static str, &'a str)], u16, &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (&[("range", "bytes=0-3")], 206, "body", "bytes 0-3/15"),
        (&[("range", "bytes=-4")], 206, "red}", "bytes 11-14/15"),
        (&[("range", "bytes=5-")], 206, "color:red}", "bytes 5-14/15"),
        (&[("range", "bytes=0-1,3-4")], 200, "body{color:red}", ""),
        (&[("range", "bytes=99-")], 416, "", "bytes */15"),
        (&[("if-none-match", &etag)], 304, "", ""),
        (&[("if-none-match", "\"other\"")], 200, "body{color:red}", ""),
        (&[("if-modified-since", &date)], 304, "", ""),
        (&[("if-match", "\"other\"")], 412, "", ""),
        (&[("if-range", &etag), ("range", "bytes=0-3")], 206, "body", "bytes 0-3/15"),
        (&[("if-range", "\"other\""), ("range", "bytes=0-3")], 200, "body{color:red}", ""),
    ];
    for (headers, status, body, range) in cases {
        let (got, answer, text) = ask(&edge, "GET", "/style.css", headers).await;
        assert_eq!(got, *status, "{headers:?}: {text}");
        if *status < 400 {
            assert_eq!(text, *body, "{headers:?}");
            assert_eq!(answer["etag"], etag);
        }
        let content_range = answer.get("content-range").map_or("", |v| v.to_str().unwrap());
        assert_eq!(content_range, *range, "{headers:?}");
    }
    let whole: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    for (range, first, last) in
        [("bytes=0-", 0, 999_999), ("bytes=300000-900000", 300_000, 900_000), ("bytes=-5", 999_995, 999_999)]
    {
        let mut client = edge.http1().await;
        let mut asked = get("/big.bin");
        asked.headers_mut().insert("range", HeaderValue::from_static(range));
        let response = client.send_request(asked).await.unwrap();
        assert_eq!(response.status(), 206);
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, whole[first..=last], "{range}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn precompressed_variants() {
    let edge = start().await;
    let cases = [
        ("/app.js", "gzip, br", "brotli", "br"),
        ("/app.js", "gzip", "gzip", "gzip"),
        ("/app.js", "gzip, br;q=0", "gzip", "gzip"),
        ("/app.js", "zstd", "plain", ""),
        ("/app.js", "", "plain", ""),
        ("/old.js", "gzip", "plain", ""),
    ];
    let mut etags = Vec::new();
    for (path, accept, body, encoding) in cases {
        let (status, headers, text) = ask(&edge, "GET", path, &[("accept-encoding", accept)]).await;
        assert_eq!((status, text.as_str()), (200, body), "{path} {accept}");
        let got = headers.get("content-encoding").map_or("", |v| v.to_str().unwrap());
        assert_eq!(got, encoding, "{path} {accept}");
        assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
        assert_eq!(headers["vary"], "Accept-Encoding");
        etags.push(headers["etag"].to_str().unwrap().to_owned());
    }
    assert_ne!(etags[0], etags[1]);
    edge.stop().await;
}
