use super::*;
use crate::manager::Told;
use crate::manager::config::{Email, Ntfy, PagerDuty};
use serde_json::json;

const T0: u64 = 1_764_000_000_000;

fn told(server: &str, ends_at_ms: Option<u64>) -> Told {
    let pair = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
    Told {
        labels: [("alertname", "server-down"), ("pool", "app"), ("server", server), ("severity", "critical")]
            .map(pair)
            .into(),
        annotations: [("summary", "server <down>")].map(pair).into(),
        starts_at_ms: T0 + 60_000,
        ends_at_ms,
        generator_url: "http://h:9600/graph?g0.expr=a+%3D%3D+0&g0.tab=1".into(),
    }
}

fn message(alerts: Vec<Told>) -> Message {
    Message {
        receiver: "ops".into(),
        integration: 0,
        group_key: "key".into(),
        group_labels: vec![("alertname".into(), "server-down".into())],
        alerts,
        truncated: 0,
    }
}

fn both() -> Message {
    message(vec![told("app/1", None), told("app/2", Some(T0 + 120_000))])
}

fn sent(message: &Message, kind: &Kind, templates: &[String]) -> serde_json::Value {
    let builder = Builder::new(message, templates, "http://h:9600", T0);
    match builder.build(kind).unwrap() {
        Outgoing::Http(post) => serde_json::from_slice(&post.body).unwrap(),
        Outgoing::Mail(mail) => panic!("{mail:?}"),
    }
}

#[test]
fn webhook() {
    let kind = Kind::Webhook { url: Secret::new("http://x/"), max_alerts: 0 };
    let got = sent(&both(), &kind, &[]);
    let print = |i: usize| got["alerts"][i]["fingerprint"].clone();
    let alert = |i: usize, status: &str, server: &str, ends: &str| {
        json!({
            "status": status,
            "labels": {"alertname": "server-down", "pool": "app", "server": server, "severity": "critical"},
            "annotations": {"summary": "server <down>"},
            "startsAt": "2025-11-24T16:01:00Z",
            "endsAt": ends,
            "generatorURL": "http://h:9600/graph?g0.expr=a+%3D%3D+0&g0.tab=1",
            "fingerprint": print(i),
        })
    };
    let expected = json!({
        "receiver": "ops",
        "status": "firing",
        "alerts": [
            alert(0, "firing", "app/1", "0001-01-01T00:00:00Z"),
            alert(1, "resolved", "app/2", "2025-11-24T16:02:00Z"),
        ],
        "groupLabels": {"alertname": "server-down"},
        "commonLabels": {"alertname": "server-down", "pool": "app", "severity": "critical"},
        "commonAnnotations": {"summary": "server <down>"},
        "externalURL": "http://h:9600",
        "version": "4",
        "groupKey": "key",
        "truncatedAlerts": 0,
    });
    assert_eq!(got, expected);
    assert!(print(0).as_str().is_some_and(|p| p.len() == 16) && print(0) != print(1));
    assert_eq!(webhook::generator_url("http://h", "a == 0"), "http://h/graph?g0.expr=a+%3D%3D+0&g0.tab=1");
}

#[test]
fn slack() {
    let slack = slack::defaults(Secret::new("https://hooks.example/T/B/x"));
    let got = sent(&message(vec![told("app/1", None)]), &Kind::Slack(Box::new(slack.clone())), &[]);
    let expected = json!({
        "username": "Bastide",
        "attachments": [{
            "color": "danger",
            "fallback": "[FIRING:1] server-down (app app/1 critical) | http://h:9600/#/alerts",
            "text": "- server <down>\n  pool=app\n  server=app/1\n  severity=critical\n  Since 2025-11-24 16:01:00 UTC\n  http://h:9600/graph?g0.expr=a+%3D%3D+0&g0.tab=1\n",
            "title": "[FIRING:1] server-down (app app/1 critical)",
            "title_link": "http://h:9600/#/alerts",
            "mrkdwn_in": ["fallback", "pretext", "text"],
        }],
    });
    assert_eq!(got, expected);
    // The operator's own templates and fields.
    let mut own = slack;
    own.fields.insert("title".into(), "{{ template \"mine\" . }}".into());
    own.fields.insert("text".into(), "{{ range .Alerts }}{{ .Nope }}{{ end }}".into());
    own.attachment_fields = vec![("pool".into(), "{{ .CommonLabels.pool }}".into(), None)];
    own.link_names = true;
    let templates =
        ["{{ define \"mine\" }}{{ .Status }} {{ .GroupLabels.SortedPairs.Values | join \",\" }}{{ end }}"
            .to_owned()];
    let got = sent(&both(), &Kind::Slack(Box::new(own)), &templates);
    assert_eq!(got["attachments"][0]["title"], "firing server-down");
    assert!(
        got["attachments"][0]["text"].as_str().unwrap().starts_with("<error expanding template"),
        "{got}"
    );
    assert_eq!(got["attachments"][0]["fields"], json!([{"title": "pool", "value": "app", "short": false}]));
    assert_eq!(got["link_names"], true);
}

#[test]
fn pagerduty() {
    let kind = Kind::PagerDuty(Box::new(pagerduty::defaults(Secret::new("R0UT"))));
    let got = sent(&message(vec![told("app/1", None)]), &kind, &[]);
    let expected = json!({
        "routing_key": "R0UT",
        "event_action": "trigger",
        "dedup_key": got["dedup_key"],
        "payload": {
            "summary": "[FIRING:1] server-down (app app/1 critical)",
            "source": "Bastide",
            "severity": "critical",
            "custom_details": {
                "firing": "- server <down>\n  pool=app\n  server=app/1\n  severity=critical\n  Since 2025-11-24 16:01:00 UTC\n  http://h:9600/graph?g0.expr=a+%3D%3D+0&g0.tab=1\n",
                "num_firing": "1",
                "num_resolved": "0",
                "resolved": "",
            },
        },
        "client": "Bastide",
        "client_url": "http://h:9600/#/alerts",
    });
    assert_eq!(got, expected);
    let over = sent(&message(vec![told("app/1", Some(T0 + 120_000))]), &kind, &[]);
    assert_eq!((&over["event_action"], &over["dedup_key"]), (&"resolve".into(), &got["dedup_key"]));

    // The first API, which the integration "Prometheus" has.
    let first = PagerDuty { first_api: true, ..pagerduty::defaults(Secret::new("S3RV")) };
    let first = Kind::PagerDuty(Box::new(first));
    let old = sent(&message(vec![told("app/1", None)]), &first, &[]);
    let expected = json!({
        "service_key": "S3RV",
        "event_type": "trigger",
        "incident_key": got["dedup_key"],
        "description": "[FIRING:1] server-down (app app/1 critical)",
        "details": got["payload"]["custom_details"],
        "client": "Bastide",
        "client_url": "http://h:9600/#/alerts",
    });
    assert_eq!(old, expected);
    let over = sent(&message(vec![told("app/1", Some(T0 + 120_000))]), &first, &[]);
    assert_eq!((&over["event_type"], over.get("client")), (&"resolve".into(), None));
}

#[test]
fn ntfy() {
    let ntfy = Ntfy { url: "https://ntfy.example".into(), topic: Secret::new("s3cret"), ..Ntfy::default() };
    let kind = Kind::Ntfy(Box::new(ntfy));
    let got = sent(&message(vec![told("app/1", Some(T0 + 120_000))]), &kind, &[]);
    let expected = json!({
        "topic": "s3cret",
        "title": "[RESOLVED] server-down (app app/1 critical)",
        "message": "- server <down>\n  pool=app\n  server=app/1\n  severity=critical\n  Since 2025-11-24 16:01:00 UTC, until 2025-11-24 16:02:00 UTC\n  http://h:9600/graph?g0.expr=a+%3D%3D+0&g0.tab=1",
        "priority": 3,
        "tags": ["white_check_mark"],
        "click": "http://h:9600/",
    });
    assert_eq!(got, expected);
    let many = sent(&message((0..200).map(|i| told(&format!("app/{i}"), None)).collect()), &kind, &[]);
    assert!(many["message"].as_str().unwrap().len() <= 4_000);
    assert_eq!(many["priority"], 5);
}

#[test]
fn mail() {
    let email = Email {
        to: "a@example.org, B <b@example.org>".into(),
        from: "bastide@example.org".into(),
        headers: vec![("X-Team".into(), "{{ .CommonLabels.pool }}\r\nBcc: evil@example.org".into())],
        html: "{{ template \"email.default.html\" . }}".into(),
        ..Email::default()
    };
    let message = both();
    let builder = Builder::new(&message, &[], "http://h:9600", T0);
    let Outgoing::Mail(mail) = builder.build(&Kind::Email(Box::new(email))).unwrap() else { panic!() };
    assert_eq!(mail.to, ["a@example.org", "B <b@example.org>"]);
    assert_eq!(mail.subject, "[FIRING:1] server-down (app critical)");
    assert_eq!(mail.headers, [("X-Team".to_owned(), "app  Bcc: evil@example.org".to_owned())]);
    assert!(
        mail.text.starts_with("Firing:\n- server <down>\n") && mail.text.contains("Resolved:\n- "),
        "{}",
        mail.text
    );
    let html = mail.html.unwrap();
    assert!(
        html.contains("server &lt;down&gt;") && !html.contains("<down>") && html.contains("<h2"),
        "{html}"
    );
}

#[test]
fn answers() {
    let webhook = Kind::Webhook { url: Secret::default(), max_alerts: 0 };
    let slack = Kind::Slack(Box::new(slack::defaults(Secret::default())));
    let pagerduty = Kind::PagerDuty(Box::new(pagerduty::defaults(Secret::default())));
    let cases = [
        (&webhook, 204, "", "taken"),
        (&webhook, 404, "", "never"),
        (&webhook, 429, "", "later"),
        (&webhook, 503, "", "later"),
        (&webhook, 301, "", "never"),
        (&slack, 200, "ok", "taken"),
        (&slack, 200, "{\"ok\":false,\"error\":\"channel_not_found\"}", "never"),
        (&pagerduty, 403, "", "later"),
        (&pagerduty, 400, "bad", "never"),
    ];
    for (kind, status, body, expected) in cases {
        let got = match verdict(kind, status, body.as_bytes()) {
            Verdict::Taken => "taken",
            Verdict::Later(_) => "later",
            Verdict::Never(_) => "never",
        };
        assert_eq!(got, expected, "{status} {body}");
    }
}
