//! The dashboard: the committed bundle of `ui/`, embedded, so that the page works
//! without a network and matches the binary that serves it.

use crate::server::Reply;
use bytes::Bytes;
use hyper::StatusCode;

/// Path, media type, content.
static FILES: &[(&str, &str, &[u8])] = &[
    (
        "index.html",
        "text/html; charset=utf-8",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../ui/dist/index.html")),
    ),
    (
        "app.js",
        "text/javascript; charset=utf-8",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../ui/dist/app.js")),
    ),
    (
        "app.css",
        "text/css; charset=utf-8",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../ui/dist/app.css")),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../ui/dist/icon.svg")),
    ),
];

/// The page's file at `path`, if it has one there. `/graph` is where Prometheus'
/// links to an expression lead; the page shows it.
pub(crate) fn answer(path: &str) -> Option<Reply> {
    let name = match path {
        "/" | "/graph" => "index.html",
        _ => path.strip_prefix("/assets/").or_else(|| path.strip_prefix('/'))?,
    };
    let (_, content_type, content) = FILES.iter().find(|(file, _, _)| *file == name)?;
    let reply = Reply::of(StatusCode::OK, content_type, Bytes::from_static(content));
    Some(Reply { etag: Some(etag(content)), ..reply })
}

/// Names the content: 64-bit FNV-1a and the length, which is enough to tell two
/// builds apart.
fn etag(content: &[u8]) -> String {
    let hash = content.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:016x}-{:x}\"", content.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_types_and_loads_nothing_from_elsewhere() {
        for path in ["/", "/graph", "/app.js", "/assets/app.js", "/app.css", "/icon.svg"] {
            let reply = answer(path).unwrap_or_else(|| panic!("{path}"));
            assert!(!reply.body.is_empty() && reply.etag.is_some(), "{path}");
        }
        for path in ["/index.htm", "/../Cargo.toml", "/assets/../app.js", "//app.js", ""] {
            assert!(answer(path).is_none(), "{path}");
        }
        let html = String::from_utf8(answer("/").unwrap().body.to_vec()).unwrap();
        assert!(!html.contains("src=\"http") && !html.contains("href=\"http"), "{html}");
    }
}
