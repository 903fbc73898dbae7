//! The edge behind the OWASP Core Rule Set itself, where a copy is beside the
//! repository.

use crate::harness::*;
use crate::waf::with_rules;
use hyper::header::HeaderValue;
use std::path::{Path, PathBuf};
use waf_engine::settings::{Mode, RuleFile};

/// The folder of a copy.
fn copy() -> Option<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/crs/rules").canonicalize().ok()
}

fn core_rules(folder: &Path) -> site::Waf {
    let read = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        RuleFile { name: name.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() }
    };
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut waf = with_rules(Mode::Block, "");
    waf.settings.files = vec![read("crs-setup.conf.example")];
    waf.settings.files.extend(names.iter().filter(|name| name.ends_with(".conf")).map(|name| read(name)));
    waf.settings.data = names.iter().filter(|name| name.ends_with(".data")).map(|name| read(name)).collect();
    waf
}

#[tokio::test]
async fn attacks_are_refused_leaks_withheld_and_honest_requests_served() {
    let Some(folder) = copy() else {
        println!("not tried: there is no copy of the Core Rule Set beside the repository");
        return;
    };
    let origin = Origin::start(|request| async move {
        let leak = request.uri().path() == "/leak";
        let said = if leak { "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version" } else { "welcome" };
        let mut response = text(said);
        response.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
        response
    })
    .await;
    let mut site = settings(&[origin.address]);
    site.waf = Some(core_rules(&folder));
    let edge = Edge::start(site).await;
    let form = "application/x-www-form-urlencoded";
    // (method, target, type, body, status)
    let cases = [
        ("GET", "/", "", "", 200),
        ("GET", "/search?q=red+shoes&page=2", "", "", 200),
        ("POST", "/login", form, "name=alice&comment=It%27s+fine%2C+thanks", 200),
        ("POST", "/api", "application/json", r#"{"q": "shoes", "tags": ["a", "b"]}"#, 200),
        ("GET", "/search?q=1%27+UNION+SELECT+password+FROM+users--", "", "", 403),
        ("GET", "/search?q=%3Cscript%3Ealert(1)%3C/script%3E", "", "", 403),
        ("GET", "/?file=../../../../etc/passwd", "", "", 403),
        ("POST", "/login", form, "name=x%27+OR+1%3D1--+", 403),
        ("POST", "/api", "application/json", r#"{"q": "<script>alert(1)</script>"}"#, 403),
        ("GET", "/leak", "", "", 403),
    ];
    for version in [1, 2] {
        for (method, target, kind, body, expected) in cases {
            let asked =
                if version == 2 { request2(method, target, body) } else { request(method, target, body) };
            let mut asked = asked;
            for (name, value) in
                [("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"), ("accept", "*/*"), ("content-type", kind)]
            {
                if !value.is_empty() {
                    asked.headers_mut().insert(name, HeaderValue::from_static(value));
                }
            }
            let response = match version {
                2 => edge.http2().await.send_request(asked).await.unwrap(),
                _ => edge.http1().await.send_request(asked).await.unwrap(),
            };
            let (status, _, page) = read(response).await;
            assert_eq!(status, expected, "HTTP/{version} {method} {target}: {page}");
            assert_eq!(page.contains("<code>"), expected == 403, "HTTP/{version} {method} {target}: {page}");
        }
    }
    let path = edge.folder.path().join("log/events.jsonl");
    let scores = || -> Vec<i64> {
        let log = std::fs::read_to_string(&path).unwrap_or_default();
        let events = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        events
            .filter(|event| {
                event["event"] == "waf_match" && event["part"] == "request" && event["blocked"] == true
            })
            .map(|event| event["score"].as_i64().unwrap())
            .collect()
    };
    wait_for("all events are written", async || scores().len() == 10).await;
    let scores = scores();
    assert!(scores.iter().all(|score| *score >= 5), "{scores:?}");
    edge.stop().await;
}
