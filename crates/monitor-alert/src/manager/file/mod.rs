//! `alertmanager.yml` as it is (Alertmanager's documentation, "Configuration").
//!
//! Routes, inhibitions, time intervals and the receivers that we have are read
//! whole; other receivers and settings that would change what is sent are
//! refused by name, so that nobody waits for a message that never comes.

mod receivers;

use crate::duration::ReadDuration as _;
use crate::manager::config::{
    Config, GROUP_INTERVAL, GROUP_WAIT, GroupBy, Http, REPEAT_INTERVAL, RESOLVE_TIMEOUT, Route,
};
use crate::manager::inhibit::InhibitRule;
use crate::manager::interval::TimeInterval;
use crate::manager::matcher::{self, MatcherText};
use crate::template::Template;
use base::{Millis, Secret};
use std::collections::BTreeSet;
use yaml_tree::{Mistake, Node, Place, Reader};

/// Routes within routes.
const MAX_DEPTH: usize = 20;

/// PagerDuty's own address of its Events API v2.
const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Gives the texts of the files that a path or pattern in the file names; the
/// error says why there are none.
pub type Files<'a> = &'a dyn Fn(&str) -> Result<Vec<String>, String>;

/// Reads the file `text`, named `file` in messages; all mistakes are given at once.
pub fn read(text: &str, file: &str, files: Files<'_>) -> Result<Config, Vec<Mistake>> {
    let documents = yaml_tree::parse(text, file).map_err(|mistake| vec![mistake])?;
    let mut this = File { reader: Reader::new(file), files, global: Global::default() };
    let mut config = Config { resolve_timeout: RESOLVE_TIMEOUT, ..Config::default() };
    let start = Place { line: 1, column: 1 };
    match documents.as_slice() {
        [document] => this.whole(document, &mut config),
        [] => this.reader.wrong(start, "the file is empty; hint: it needs at least `route` and `receivers`"),
        [_, second, ..] => this.reader.wrong(second.place, "a second document"),
    }
    if this.reader.mistakes.is_empty()
        && let Err(why) = config.check()
    {
        this.reader.wrong(start, why);
    }
    if this.reader.mistakes.is_empty() {
        Ok(config)
    } else {
        this.reader.mistakes.sort_by_key(|m| (m.line, m.column));
        Err(this.reader.mistakes)
    }
}

/// `global`.
struct Global {
    smarthost: String,
    from: String,
    hello: String,
    user: String,
    password: Option<Secret>,
    require_tls: bool,
    slack: Option<Secret>,
    pagerduty: String,
    http: Http,
    resolve_timeout: Millis,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            smarthost: String::new(),
            from: String::new(),
            hello: "localhost".to_owned(),
            user: String::new(),
            password: None,
            require_tls: true,
            slack: None,
            pagerduty: PAGERDUTY_URL.to_owned(),
            http: Http::default(),
            resolve_timeout: RESOLVE_TIMEOUT,
        }
    }
}

struct File<'a> {
    reader: Reader,
    files: Files<'a>,
    global: Global,
}

impl File<'_> {
    fn unknown(&mut self, place: Place, key: &str, within: &str, known: &str) {
        self.reader.wrong(place, format!("field {key} not found in {within}; hint: one of {known}"));
    }

    fn whole(&mut self, document: &Node, config: &mut Config) {
        let entries = self.reader.map(document, "the file");
        for (key, place, node) in entries {
            match key.as_str() {
                "global" => self.global(node),
                "route"
                | "receivers"
                | "templates"
                | "inhibit_rules"
                | "time_intervals"
                | "mute_time_intervals" => {}
                _ => self.unknown(
                    *place,
                    key,
                    "the file",
                    "global, templates, route, inhibit_rules, receivers, time_intervals",
                ),
            }
        }
        config.resolve_timeout = self.global.resolve_timeout;
        for (key, _, node) in entries {
            match key.as_str() {
                "templates" => {
                    for item in self.reader.list(node, key) {
                        let pattern = self.reader.text(item, key);
                        match (self.files)(&pattern) {
                            Ok(texts) => config.templates.extend(texts),
                            Err(why) => self.reader.wrong(item.place, why),
                        }
                    }
                    if let Err(error) = Template::messages(config.templates.iter().map(String::as_str)) {
                        self.reader.wrong(node.place, format!("templates: {error}"));
                    }
                }
                "time_intervals" | "mute_time_intervals" => self.intervals(node, config),
                "inhibit_rules" => {
                    for item in self.reader.list(node, key) {
                        let rule = self.inhibit(item);
                        config.inhibit.push(rule);
                    }
                }
                _ => {}
            }
        }
        for (key, _, node) in entries {
            match key.as_str() {
                "receivers" => {
                    let mut names = BTreeSet::new();
                    for item in self.reader.list(node, key) {
                        let receiver = self.receiver(item, &config.templates);
                        if !names.insert(receiver.name.clone()) {
                            self.reader.wrong(
                                item.place,
                                format!("notification config name {:?} is not unique", receiver.name),
                            );
                        }
                        config.receivers.push(receiver);
                    }
                }
                "route" => {
                    let route = self.route(node, None, 0);
                    if route.receiver.is_empty() {
                        self.reader.wrong(node.place, "root route must specify a default receiver");
                    }
                    if !(route.matchers.is_empty() && route.mute.is_empty() && route.active.is_empty()) {
                        self.reader
                            .wrong(node.place, "root route must not have any matchers or time intervals");
                    }
                    config.route = Some(route);
                }
                _ => {}
            }
        }
        if config.route.is_none() {
            self.reader.wrong(document.place, "no route provided in config");
        }
    }

    fn global(&mut self, node: &Node) {
        for (key, place, value) in self.reader.map(node, "`global`") {
            match key.as_str() {
                "resolve_timeout" => self.global.resolve_timeout = Millis(self.reader.duration(value, key)),
                "smtp_smarthost" => self.global.smarthost = self.reader.text(value, key),
                "smtp_from" => self.global.from = self.reader.text(value, key),
                "smtp_hello" => self.global.hello = self.reader.text(value, key),
                "smtp_auth_username" => self.global.user = self.reader.text(value, key),
                "smtp_auth_password" => self.global.password = Some(Secret::new(self.reader.text(value, key))),
                "smtp_auth_password_file" => self.global.password = self.secret_file(value),
                "smtp_require_tls" => self.global.require_tls = self.reader.flag(value, key).unwrap_or(false),
                "slack_api_url" => self.global.slack = Some(Secret::new(self.reader.text(value, key))),
                "slack_api_url_file" => self.global.slack = self.secret_file(value),
                "pagerduty_url" => self.global.pagerduty = self.reader.text(value, key),
                "http_config" => self.global.http = self.http(value),
                // Addresses of receivers that are refused where they are used.
                "opsgenie_api_url" | "opsgenie_api_key" | "opsgenie_api_key_file" | "victorops_api_url"
                | "victorops_api_key" | "victorops_api_key_file" | "wechat_api_url" | "wechat_api_secret"
                | "wechat_api_corp_id" | "telegram_api_url" | "webex_api_url" | "rocketchat_api_url" => {}
                _ => self.unknown(
                    *place,
                    key,
                    "`global`",
                    "resolve_timeout, smtp_smarthost, smtp_from, smtp_hello, smtp_auth_username, smtp_auth_password, smtp_auth_password_file, smtp_require_tls, slack_api_url, slack_api_url_file, pagerduty_url, http_config",
                ),
            }
        }
    }

    fn secret_file(&mut self, node: &Node) -> Option<Secret> {
        let path = self.reader.text(node, "path");
        match (self.files)(&path) {
            Ok(texts) => texts.first().map(|text| Secret::new(text.trim())),
            Err(why) => {
                self.reader.wrong(node.place, why);
                None
            }
        }
    }

    fn intervals(&mut self, node: &Node, config: &mut Config) {
        for item in self.reader.list(node, "time_intervals") {
            let (mut name, mut found) = (String::new(), Vec::new());
            for (key, place, value) in self.reader.map(item, "a named interval") {
                match key.as_str() {
                    "name" => name = self.reader.text(value, key),
                    "time_intervals" => {
                        for one in self.reader.list(value, key) {
                            found.push(TimeInterval::read(&mut self.reader, one));
                        }
                    }
                    _ => self.unknown(*place, key, "a named interval", "name, time_intervals"),
                }
            }
            if name.is_empty() {
                self.reader.wrong(item.place, "missing name in time interval");
            } else if config.intervals.insert(name.clone(), found).is_some() {
                self.reader.wrong(item.place, format!("time interval {name:?} is not unique"));
            }
        }
    }

    fn matchers(&mut self, node: &Node, what: &str) -> Vec<MatcherText> {
        let mut found = Vec::new();
        for item in self.reader.list(node, what) {
            let text = self.reader.text(item, what);
            match matcher::parse(&text) {
                Ok(matchers) => found.extend(matchers),
                Err(why) => self.reader.wrong(item.place, why),
            }
        }
        found
    }

    /// The older `match` and `match_re`.
    fn match_map(&mut self, node: &Node, what: &str, is_regex: bool) -> Vec<MatcherText> {
        let mut found = Vec::new();
        for (name, value, place) in self.reader.pairs(node, what) {
            let matcher = MatcherText { name, value, is_regex, is_equal: true };
            if let Err(why) = matcher.compile() {
                self.reader.wrong(place, why);
            }
            found.push(matcher);
        }
        found
    }

    fn inhibit(&mut self, node: &Node) -> InhibitRule {
        let mut rule = InhibitRule::default();
        for (key, place, value) in self.reader.map(node, "an inhibit rule") {
            match key.as_str() {
                "source_matchers" => rule.source.extend(self.matchers(value, key)),
                "target_matchers" => rule.target.extend(self.matchers(value, key)),
                "source_match" => rule.source.extend(self.match_map(value, key, false)),
                "source_match_re" => rule.source.extend(self.match_map(value, key, true)),
                "target_match" => rule.target.extend(self.match_map(value, key, false)),
                "target_match_re" => rule.target.extend(self.match_map(value, key, true)),
                "equal" => rule.equal = self.reader.texts(value, key),
                "name" => drop(self.reader.text(value, key)),
                _ => self.unknown(
                    *place,
                    key,
                    "an inhibit rule",
                    "source_matchers, target_matchers, equal, name",
                ),
            }
        }
        rule
    }

    fn route(&mut self, node: &Node, parent: Option<&Route>, depth: usize) -> Route {
        // What a child has from its parent: all but matchers, intervals and `continue`.
        let mut route = Route {
            receiver: parent.map_or_else(String::new, |p| p.receiver.clone()),
            group_by: parent.map_or(GroupBy::Labels(Vec::new()), |p| p.group_by.clone()),
            group_wait: parent.map_or(GROUP_WAIT, |p| p.group_wait),
            group_interval: parent.map_or(GROUP_INTERVAL, |p| p.group_interval),
            repeat_interval: parent.map_or(REPEAT_INTERVAL, |p| p.repeat_interval),
            ..Route::default()
        };
        if depth > MAX_DEPTH {
            self.reader.wrong(node.place, format!("routes nested deeper than {MAX_DEPTH}"));
            return route;
        }
        let mut children = None;
        for (key, place, value) in self.reader.map(node, "a route") {
            match key.as_str() {
                "receiver" => route.receiver = self.reader.text(value, key),
                "group_by" => {
                    let names = self.reader.texts(value, key);
                    route.group_by = match names.iter().any(|name| name == "...") {
                        true if names.len() > 1 => {
                            self.reader.wrong(value.place, "cannot have wildcard group_by (`...`) and other labels at the same time");
                            GroupBy::All
                        }
                        true => GroupBy::All,
                        false => GroupBy::Labels(names),
                    };
                }
                "group_wait" => route.group_wait = Millis(self.reader.duration(value, key)),
                "group_interval" | "repeat_interval" => {
                    let ms = self.reader.duration(value, key);
                    if ms == 0 {
                        self.reader.wrong(value.place, format!("{key} cannot be zero"));
                    }
                    match key.as_str() {
                        "group_interval" => route.group_interval = Millis(ms),
                        _ => route.repeat_interval = Millis(ms),
                    }
                }
                "matchers" => route.matchers.extend(self.matchers(value, key)),
                "match" => route.matchers.extend(self.match_map(value, key, false)),
                "match_re" => route.matchers.extend(self.match_map(value, key, true)),
                "continue" => route.goes_on = self.reader.flag(value, key).unwrap_or(false),
                "mute_time_intervals" => route.mute = self.reader.texts(value, key),
                "active_time_intervals" => route.active = self.reader.texts(value, key),
                "routes" => children = Some(value),
                _ => self.unknown(
                    *place,
                    key,
                    "a route",
                    "receiver, group_by, group_wait, group_interval, repeat_interval, matchers, continue, mute_time_intervals, active_time_intervals, routes",
                ),
            }
        }
        // As Alertmanager orders them, so that group keys do not depend on the file's order.
        route.matchers.sort();
        if let Some(children) = children {
            for child in self.reader.list(children, "routes") {
                let child = self.route(child, Some(&route), depth + 1);
                route.routes.push(child);
            }
        }
        route
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::config::{Kind, MailTls};

    fn files(path: &str) -> Result<Vec<String>, String> {
        match path {
            "secret" => Ok(vec!["s3cret\n".into()]),
            "t/*.tmpl" => Ok(vec!["{{ define \"mine\" }}{{ .Status }}{{ end }}".into()]),
            other => Err(format!("cannot read `{other}`: no such file")),
        }
    }

    /// The documentation's example in its outlines.
    const EXAMPLE: &str = r#"
global:
  resolve_timeout: 10m
  smtp_smarthost: 'localhost:25'
  smtp_from: 'alertmanager@example.org'
  smtp_auth_username: 'alertmanager'
  smtp_auth_password: 'password'
  slack_api_url_file: secret
templates: ['t/*.tmpl']
route:
  group_by: ['alertname', 'cluster']
  group_wait: 10s
  repeat_interval: 3h
  receiver: team-X-mails
  routes:
  - matchers: [ 'service=~"foo1|foo2|baz"' ]
    receiver: team-X-mails
    routes:
    - match: {severity: critical}
      receiver: team-X-pager
      continue: true
      mute_time_intervals: [offhours]
  - matchers: [ service="files", owner!="me" ]
    receiver: team-Y
    group_by: ['...']
inhibit_rules:
- source_matchers: [ severity="critical" ]
  target_match: {severity: warning}
  equal: [alertname, cluster]
time_intervals:
- name: offhours
  time_intervals:
  - weekdays: ['saturday', 'sunday']
receivers:
- name: 'team-X-mails'
  email_configs:
  - to: 'team-X+alerts@example.org'
    require_tls: false
    headers: {Subject: '{{ template "mine" . }}'}
- name: 'team-X-pager'
  pagerduty_configs:
  - routing_key_file: secret
    details: {more: '{{ .CommonLabels.x }}'}
- name: 'team-Y'
  slack_configs:
  - channel: '#y'
    fields: [{title: a, value: b, short: true}]
  webhook_configs:
  - url: http://127.0.0.1:9/
    max_alerts: 3
    http_config: {basic_auth: {username: u, password_file: secret}, tls_config: {insecure_skip_verify: true}}
"#;

    #[test]
    fn the_documented_file() {
        let config = read(EXAMPLE, "am.yml", &files).unwrap();
        let root = config.route.as_ref().unwrap();
        assert_eq!(
            (root.group_wait.0, root.group_interval, root.repeat_interval.0),
            (10_000, GROUP_INTERVAL, 3 * 3_600_000)
        );
        let pager = &root.routes[0].routes[0];
        assert_eq!(
            (pager.receiver.as_str(), pager.goes_on, pager.group_wait.0),
            ("team-X-pager", true, 10_000)
        );
        assert_eq!(pager.mute, ["offhours"]);
        assert_eq!(root.routes[1].group_by, GroupBy::All);
        assert_eq!(config.resolve_timeout.0, 600_000);
        let Kind::Email(email) = &config.receivers[0].integrations[0].kind else { panic!() };
        assert_eq!((email.tls, email.smarthost.as_str()), (MailTls::Opportunistic, "localhost:25"));
        assert_eq!(email.login.as_ref().unwrap().0, "alertmanager");
        let Kind::PagerDuty(pagerduty) = &config.receivers[1].integrations[0].kind else { panic!() };
        assert_eq!((pagerduty.routing_key.reveal(), pagerduty.url.as_str()), ("s3cret", PAGERDUTY_URL));
        assert!(
            !config.receivers[2].integrations[1].send_resolved
                || config.receivers[2].integrations[1].kind.name() == "webhook"
        );
        let slack = config.receivers[2].integrations.iter().find(|i| i.kind.name() == "slack").unwrap();
        assert!(!slack.send_resolved);
        let webhook = config.receivers[2].integrations.iter().find(|i| i.kind.name() == "webhook").unwrap();
        assert!(webhook.http.insecure && webhook.send_resolved);
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn every_mistake_has_its_place() {
        let cases = [
            ("{}", "no route provided"),
            ("", "the file is empty"),
            ("route: {receiver: a}\nreceivers: []", "undefined receiver \"a\""),
            (
                "route: {receiver: a, group_by: ['...', b]}\nreceivers: [{name: a}]",
                "1:32: cannot have wildcard",
            ),
            (
                "route: {receiver: a, group_interval: 0s}\nreceivers: [{name: a}]",
                "group_interval cannot be zero",
            ),
            ("route: {receiver: a, matchers: ['x=y']}\nreceivers: [{name: a}]", "must not have any matchers"),
            ("route: {receiver: a, routes: [{matchers: ['x']}]}\nreceivers: [{name: a}]", "1:43: `x`: after"),
            (
                "route: {receiver: a, routes: [{mute_time_intervals: [b]}]}\nreceivers: [{name: a}]",
                "undefined time interval \"b\"",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a}, {name: a}]",
                "2:24: notification config name \"a\" is not unique",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, opsgenie_configs: [{}]}]",
                "2:23: receivers of kind `opsgenie` are not here",
            ),
            ("route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{}]}]", "one of url or url_file"),
            (
                "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: x, proxy: y}]}]",
                "field proxy not found",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url_file: gone}]}]",
                "cannot read `gone`",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{api_url: x, text: '{{ nope }}'}]}]",
                "`text`: line 1: function `nope`",
            ),
            ("route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: x}]}]", "missing smarthost"),
            (
                "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{service_key: x, routing_key: y}]}]",
                "has a routing key and a service key",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a}]\nglobal: {http_config: {oauth2: {}}}",
                "`oauth2` of `http_config` is not here",
            ),
            ("route: {receiver: a}\nreceivers: [{name: a}]\nfoo: 1", "3:1: field foo not found"),
        ];
        for (text, expected) in cases {
            let mistakes = read(text, "am.yml", &files).unwrap_err();
            let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            assert!(all.iter().any(|m| m.contains(expected)), "{text}: {all:?}");
        }
    }
}
