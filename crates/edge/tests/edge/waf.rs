//! The WAF in its place: heads, bodies, block pages, events.

use crate::harness::*;
use base::Bytes as Size;
use waf_engine::settings::{BeyondLimit, Limits, Mode, RuleFile, Settings};

const RULES: &str = r#"
SecRule ARGS "@contains union select" "id:100001,phase:2,deny,status:403,t:lowercase,msg:'SQL injection'"
SecRule REQUEST_HEADERS:User-Agent "@contains badbot" "id:100002,phase:1,deny,status:403,msg:'bad bot'"
"#;

fn rules(mode: Mode) -> site::Waf {
    with_rules(mode, RULES)
}

/// A WAF of these rules alone.
pub(crate) fn with_rules(mode: Mode, text: &str) -> site::Waf {
    let limits = Limits { request_body: Size(4_096), beyond: BeyondLimit::Pass, ..Limits::default() };
    site::Waf {
        settings: Settings {
            mode,
            files: vec![RuleFile { name: "test.conf".into(), text: text.into() }],
            data: vec![],
            tx: vec![],
            exclude: vec![],
            processors_by_content_type: true,
            raw_body: Default::default(),
            limits,
        },
        routes: vec![],
        crs: None,
        websocket: false,
        refuse_large: false,
        capture: None,
        ban: None,
    }
}

#[tokio::test]
async fn attacks_are_blocked_with_an_id_that_leads_to_the_event() {
    let origin = Origin::echo().await;
    let mut site = settings(&[origin.address]);
    site.waf = Some(rules(Mode::Block));
    let logs = tempfile::tempdir().unwrap();
    let access = logs.path().join("access.jsonl");
    site.access_log =
        Some(site::AccessLog { path: access.clone(), rotate_at: base::Bytes(1 << 20), keep: 2 });
    let mut free = to_pool("/free/*", "app");
    free.waf = false;
    site.routes.routes.insert(0, free);
    let edge = Edge::start(site.clone()).await;
    let form = "application/x-www-form-urlencoded";
    let cases = [
        ("GET", "/?q=shoes", "", "", 200),
        ("GET", "/?q=1+UNION+SELECT+2", "", "", 403),
        ("GET", "/free/?q=1+union+select+2", "", "", 200),
        ("GET", "/", "", "badbot/1", 403),
        ("POST", "/", "q=1+union+select+2", "", 403),
        ("POST", "/", "q=shoes", "", 200),
    ];
    for (method, path, body, agent, expected) in cases {
        let mut client = edge.http1().await;
        let mut asked = request(method, path, body);
        asked.headers_mut().insert("content-type", form.parse().unwrap());
        asked.headers_mut().insert("user-agent", agent.parse().unwrap());
        let (status, _, answer) = read(client.send_request(asked).await.unwrap()).await;
        assert_eq!(status, expected, "{method} {path} {body}: {answer}");
        if expected == 200 && !body.is_empty() {
            assert!(answer.ends_with(body), "the inspected body arrives: {answer}");
        }
        if expected == 403 {
            let id = answer.split("<code>").nth(1).unwrap().split('<').next().unwrap();
            let log = edge.folder.path().join("log/events.jsonl");
            for (what, file) in [("the event is written", &log), ("the access log leads to it", &access)] {
                wait_for(what, async || std::fs::read_to_string(file).unwrap_or_default().contains(id)).await;
            }
        }
    }
    // HTTP/2 shows rules a Host, and gets the same page.
    let rule = "SecRule &REQUEST_HEADERS:Host \"!@eq 1\" \"id:100003,phase:1,deny,status:400\"\n\
        SecRule REQUEST_HEADERS:Host \"!@streq shop.example\" \"id:100004,phase:1,deny,status:400\"\n";
    site.waf = Some(with_rules(Mode::Block, &format!("{RULES}{rule}")));
    edge.reload(2, site.clone()).await.unwrap();
    for (path, expected) in [("/?q=shoes", 200), ("/?q=1+UNION+SELECT+2", 403)] {
        let asked = request2("GET", path, "");
        let (status, _, page) = read(edge.http2().await.send_request(asked).await.unwrap()).await;
        assert_eq!(status, expected, "{page}");
        assert_eq!(page.contains("<code>"), expected == 403);
    }
    for (verdict, count) in [("block", 4.0), ("pass", 3.0), ("detect", 0.0)] {
        let metric = format!("bastide_waf_requests_total{{verdict=\"{verdict}\"}}");
        assert_eq!(edge.metric(&metric).await, count, "{verdict}");
    }
    assert_eq!(edge.metric("bastide_waf_matches_total{rule=\"100001\"}").await, 3.0);

    site.waf = Some(rules(Mode::Detect));
    edge.reload(3, site.clone()).await.unwrap();
    let mut client = edge.http1().await;
    let (status, _, _) = read(client.send_request(get("/?q=1+union+select+2")).await.unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(edge.metric("bastide_waf_requests_total{verdict=\"detect\"}").await, 1.0);

    let mut broken = rules(Mode::Block);
    broken.settings.files[0].text = "SecRule ARGS \"@nonsense x\" \"id:1,deny\"".into();
    site.waf = Some(broken);
    let error = edge.reload(4, site).await.unwrap_err();
    assert!(error.contains("test.conf"), "{error}");
    edge.stop().await;
}

/// A body larger than what is inspected passes on whole behind its beginning.
#[tokio::test]
async fn a_large_body_is_inspected_in_front_and_arrives_whole() {
    let origin = Origin::echo().await;
    let mut site = settings(&[origin.address]);
    site.waf = Some(rules(Mode::Block));
    let edge = Edge::start(site).await;
    let large = format!("q={}", "x".repeat(200_000));
    for body in [large.clone(), format!("a=union+select&{large}")] {
        let mut client = edge.http1().await;
        let mut asked = request("POST", "/", &body);
        asked.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let (status, _, answer) = read(client.send_request(asked).await.unwrap()).await;
        if body == large {
            assert_eq!(status, 200);
            assert!(answer.ends_with(&body));
        } else {
            assert_eq!(status, 403);
        }
    }
    edge.stop().await;
}
