//! `alertmanager.yml` as it is (Alertmanager's documentation, "Configuration").
//!
//! Routes, inhibitions, time intervals and the receivers that we have are read
//! whole; other receivers and settings that would change what is sent are
//! refused by name, so that nobody waits for a message that never comes.

use super::config::{
    Authorization, Config, Email, GROUP_INTERVAL, GROUP_WAIT, GroupBy, Http, Integration, Kind, MailTls,
    REPEAT_INTERVAL, RESOLVE_TIMEOUT, Receiver, Route,
};
use super::inhibit::InhibitRule;
use super::interval::TimeInterval;
use super::matcher::{self, MatcherText};
use crate::template::Template;
use crate::yaml::{self, Mistake, Node, Place, Reader};
use base::{Millis, Secret};
use std::collections::{BTreeMap, BTreeSet};

/// Routes within routes.
const MAX_DEPTH: usize = 20;

/// PagerDuty's own address of its Events API v2.
const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Gives the texts of the files that a path or pattern in the file names; the
/// error says why there are none.
pub type Files<'a> = &'a dyn Fn(&str) -> Result<Vec<String>, String>;

/// Reads the file `text`, named `file` in messages; all mistakes are given at once.
pub fn read(text: &str, file: &str, files: Files<'_>) -> Result<Config, Vec<Mistake>> {
    let documents = yaml::parse(text, file).map_err(|mistake| vec![mistake])?;
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
                "smtp_require_tls" => self.global.require_tls = self.reader.flag(value, key),
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
                "continue" => route.goes_on = self.reader.flag(value, key),
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

    fn receiver(&mut self, node: &Node, templates: &[String]) -> Receiver {
        let mut receiver =
            Receiver { name: String::new(), integrations: Vec::new(), repeat: REPEAT_INTERVAL };
        for (key, place, value) in self.reader.map(node, "a receiver") {
            if key == "name" {
                receiver.name = self.reader.text(value, key);
                continue;
            }
            let read = match key.as_str() {
                "webhook_configs" => Self::webhook,
                "email_configs" => Self::email,
                "slack_configs" => Self::slack,
                "pagerduty_configs" => Self::pagerduty,
                other if other.ends_with("_configs") => {
                    let what = other.trim_end_matches("_configs");
                    self.reader.wrong(
                        *place,
                        format!("receivers of kind `{what}` are not here; hint: webhook, email, slack and pagerduty are; many services take Slack's format or a webhook"),
                    );
                    continue;
                }
                _ => {
                    self.unknown(
                        *place,
                        key,
                        "a receiver",
                        "name, webhook_configs, email_configs, slack_configs, pagerduty_configs",
                    );
                    continue;
                }
            };
            for item in self.reader.list(value, key) {
                if let Some(integration) = read(self, item) {
                    self.check_templates(&integration.kind, item.place, templates);
                    receiver.integrations.push(integration);
                }
            }
        }
        if receiver.name.is_empty() {
            self.reader.wrong(node.place, "missing name in receiver");
        }
        receiver
    }

    fn check_templates(&mut self, kind: &Kind, place: Place, templates: &[String]) {
        for (what, text) in crate::receiver::templates(kind) {
            let all = crate::receiver::DEFAULTS
                .iter()
                .copied()
                .chain(templates.iter().map(String::as_str))
                .chain([text]);
            if let Err(error) = Template::messages(all) {
                self.reader.wrong(place, format!("`{what}`: {error}"));
            }
        }
    }

    /// What all integrations have; tells whether the key was one of it.
    fn common(&mut self, key: &str, value: &Node, integration: &mut Integration) -> bool {
        match key {
            "send_resolved" => integration.send_resolved = self.reader.flag(value, key),
            "http_config" => integration.http = self.http(value),
            "timeout" => {
                integration.timeout = match self.reader.duration(value, key) {
                    0 => Millis(10_000),
                    ms => Millis(ms),
                };
            }
            _ => return false,
        }
        true
    }

    fn start(&self, kind: Kind) -> Integration {
        Integration { http: self.global.http.clone(), ..Integration::new(kind) }
    }

    fn webhook(&mut self, node: &Node) -> Option<Integration> {
        let mut integration = self.start(Kind::Webhook { url: Secret::default(), max_alerts: 0 });
        let (mut url, mut max_alerts) = (None, 0);
        for (key, place, value) in self.reader.map(node, "a webhook") {
            match key.as_str() {
                "url" => url = Some(Secret::new(self.reader.text(value, key))),
                "url_file" => url = self.secret_file(value),
                "max_alerts" => max_alerts = self.reader.number(value, key).unwrap_or(0),
                _ if self.common(key, value, &mut integration) => {}
                _ => self.unknown(
                    *place,
                    key,
                    "a webhook",
                    "url, url_file, max_alerts, send_resolved, http_config, timeout",
                ),
            }
        }
        let url = self.needed(url, node.place, "one of url or url_file must be configured")?;
        integration.kind = Kind::Webhook { url, max_alerts };
        Some(integration)
    }

    fn needed(&mut self, value: Option<Secret>, place: Place, why: &str) -> Option<Secret> {
        let value = value.filter(|v| !v.reveal().is_empty());
        if value.is_none() {
            self.reader.wrong(place, why);
        }
        value
    }

    fn email(&mut self, node: &Node) -> Option<Integration> {
        let global = &self.global;
        let mut user = global.user.clone();
        let mut password = global.password.clone();
        let mut email = Email {
            from: global.from.clone(),
            smarthost: global.smarthost.clone(),
            hello: global.hello.clone(),
            html: "{{ template \"email.default.html\" . }}".to_owned(),
            ..Email::default()
        };
        let mut require_tls = global.require_tls;
        let mut integration = self.start(Kind::Email(Box::default()));
        integration.send_resolved = false; // Alertmanager's default for e-mail.
        for (key, place, value) in self.reader.map(node, "an e-mail receiver") {
            match key.as_str() {
                "to" => email.to = self.reader.text(value, key),
                "from" => email.from = self.reader.text(value, key),
                "smarthost" => email.smarthost = self.reader.text(value, key),
                "hello" => email.hello = self.reader.text(value, key),
                "auth_username" => user = self.reader.text(value, key),
                "auth_password" => password = Some(Secret::new(self.reader.text(value, key))),
                "auth_password_file" => password = self.secret_file(value),
                "require_tls" => require_tls = self.reader.flag(value, key),
                "tls_config" => integration.http = self.tls(value, integration.http.clone()),
                "headers" => email.headers = self.reader.pairs(value, key).into_iter().map(|(n, v, _)| (n, v)).collect(),
                "html" => email.html = self.reader.text(value, key),
                "text" => email.text = self.reader.text(value, key),
                "send_resolved" => integration.send_resolved = self.reader.flag(value, key),
                _ => self.unknown(
                    *place,
                    key,
                    "an e-mail receiver",
                    "to, from, smarthost, hello, auth_username, auth_password, auth_password_file, require_tls, tls_config, headers, html, text, send_resolved",
                ),
            }
        }
        for (what, text) in [("to", &email.to), ("from", &email.from), ("smarthost", &email.smarthost)] {
            if text.is_empty() {
                self.reader.wrong(node.place, format!("missing {what} in email config"));
            }
        }
        let port = email.smarthost.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() && !email.smarthost.is_empty() {
            self.reader.wrong(node.place, format!("`{}` is no `host:port`", email.smarthost));
        }
        email.tls = match (port, require_tls) {
            (Some(465), _) => MailTls::Implicit,
            (_, true) => MailTls::StartTls,
            (_, false) => MailTls::Opportunistic,
        };
        email.login = password.filter(|_| !user.is_empty()).map(|password| (user, password));
        integration.kind = Kind::Email(Box::new(email));
        Some(integration)
    }

    fn slack(&mut self, node: &Node) -> Option<Integration> {
        const FIELDS: &[&str] = &[
            "channel",
            "username",
            "color",
            "title",
            "title_link",
            "pretext",
            "text",
            "fallback",
            "callback_id",
            "footer",
            "icon_emoji",
            "icon_url",
            "image_url",
            "thumb_url",
        ];
        let mut url = self.global.slack.clone();
        let mut slack = crate::receiver::slack::defaults(Secret::default());
        let mut integration = self.start(Kind::Slack(Box::new(slack.clone())));
        integration.send_resolved = false; // Alertmanager's default for Slack.
        for (key, place, value) in self.reader.map(node, "a Slack receiver") {
            match key.as_str() {
                "api_url" => url = Some(Secret::new(self.reader.text(value, key))),
                "api_url_file" => url = self.secret_file(value),
                "short_fields" => slack.short_fields = self.reader.flag(value, key),
                "link_names" => slack.link_names = self.reader.flag(value, key),
                "mrkdwn_in" => {
                    let texts = self.reader.texts(value, key);
                    slack.fields.insert(key.clone(), texts.join(","));
                }
                "fields" => {
                    for item in self.reader.list(value, key) {
                        slack.attachment_fields.push(self.slack_field(item));
                    }
                }
                "actions" => {
                    for item in self.reader.list(value, key) {
                        let pairs = self.reader.pairs(item, key);
                        for (name, _, place) in &pairs {
                            if !matches!(name.as_str(), "type" | "text" | "url" | "style" | "name" | "value") {
                                self.unknown(*place, name, "a Slack action", "type, text, url, style, name, value");
                            }
                        }
                        slack.actions.push(pairs.into_iter().map(|(n, v, _)| (n, v)).collect());
                    }
                }
                name if FIELDS.contains(&name) => {
                    let text = self.reader.text(value, key);
                    slack.fields.insert(key.clone(), text);
                }
                _ if self.common(key, value, &mut integration) => {}
                _ => self.unknown(*place, key, "a Slack receiver", "api_url, api_url_file, channel, username, color, title, title_link, pretext, text, fallback, callback_id, footer, icon_emoji, icon_url, image_url, thumb_url, fields, short_fields, actions, link_names, mrkdwn_in, send_resolved, http_config, timeout"),
            }
        }
        slack.api_url =
            self.needed(url, node.place, "no global Slack API URL set either inline or in a file")?;
        integration.kind = Kind::Slack(Box::new(slack));
        Some(integration)
    }

    fn slack_field(&mut self, node: &Node) -> (String, String, Option<bool>) {
        let mut field = (String::new(), String::new(), None);
        for (key, place, value) in self.reader.map(node, "a Slack field") {
            match key.as_str() {
                "title" => field.0 = self.reader.text(value, key),
                "value" => field.1 = self.reader.text(value, key),
                "short" => field.2 = Some(self.reader.flag(value, key)),
                _ => self.unknown(*place, key, "a Slack field", "title, value, short"),
            }
        }
        if field.0.is_empty() || field.1.is_empty() {
            self.reader.wrong(node.place, "missing title or value in Slack field configuration");
        }
        field
    }

    fn pagerduty(&mut self, node: &Node) -> Option<Integration> {
        const FIELDS: &[&str] =
            &["client", "client_url", "description", "severity", "class", "component", "group", "source"];
        let mut pagerduty = crate::receiver::pagerduty::defaults(Secret::default());
        pagerduty.url.clone_from(&self.global.pagerduty);
        let mut routing_key = None;
        let mut integration = self.start(Kind::PagerDuty(Box::new(pagerduty.clone())));
        for (key, place, value) in self.reader.map(node, "a PagerDuty receiver") {
            match key.as_str() {
                "routing_key" => routing_key = Some(Secret::new(self.reader.text(value, key))),
                "routing_key_file" => routing_key = self.secret_file(value),
                "service_key" | "service_key_file" => self.reader.wrong(
                    *place,
                    "`service_key` belongs to PagerDuty's first API; hint: make an integration of type \"Events API v2\" and give its `routing_key`",
                ),
                "url" => pagerduty.url = self.reader.text(value, key),
                "details" => {
                    let pairs = self.reader.pairs(value, key);
                    pagerduty.details.extend(pairs.into_iter().map(|(n, v, _)| (n, v)));
                }
                "links" | "images" => {
                    for item in self.reader.list(value, key) {
                        let pairs: BTreeMap<String, String> =
                            self.reader.pairs(item, key).into_iter().map(|(n, v, _)| (n, v)).collect();
                        let get = |name: &str| pairs.get(name).cloned().unwrap_or_default();
                        if key == "links" {
                            pagerduty.links.push((get("href"), get("text")));
                        } else {
                            pagerduty.images.push((get("src"), get("href"), get("alt")));
                        }
                    }
                }
                name if FIELDS.contains(&name) => {
                    let text = self.reader.text(value, key);
                    pagerduty.fields.insert(key.clone(), text);
                }
                _ if self.common(key, value, &mut integration) => {}
                _ => self.unknown(*place, key, "a PagerDuty receiver", "routing_key, routing_key_file, url, client, client_url, description, severity, class, component, group, source, details, links, images, send_resolved, http_config, timeout"),
            }
        }
        pagerduty.routing_key =
            self.needed(routing_key, node.place, "missing routing key in PagerDuty config")?;
        integration.kind = Kind::PagerDuty(Box::new(pagerduty));
        Some(integration)
    }

    fn http(&mut self, node: &Node) -> Http {
        let mut http = Http::default();
        for (key, place, value) in self.reader.map(node, "`http_config`") {
            match key.as_str() {
                "authorization" => {
                    let (mut scheme, mut credentials) = ("Bearer".to_owned(), None);
                    for (key, place, value) in self.reader.map(value, "`authorization`") {
                        match key.as_str() {
                            "type" => scheme = self.reader.text(value, key),
                            "credentials" => credentials = Some(Secret::new(self.reader.text(value, key))),
                            "credentials_file" => credentials = self.secret_file(value),
                            _ => self.unknown(*place, key, "`authorization`", "type, credentials, credentials_file"),
                        }
                    }
                    let credentials = self.needed(credentials, value.place, "`authorization` needs `credentials`");
                    http.authorization = credentials.map(|credentials| Authorization::Token { scheme, credentials });
                }
                "bearer_token" | "bearer_token_file" => {
                    let credentials = match key.as_str() {
                        "bearer_token" => Some(Secret::new(self.reader.text(value, key))),
                        _ => self.secret_file(value),
                    };
                    http.authorization =
                        credentials.map(|credentials| Authorization::Token { scheme: "Bearer".to_owned(), credentials });
                }
                "basic_auth" => {
                    let (mut user, mut password) = (String::new(), None);
                    for (key, place, value) in self.reader.map(value, "`basic_auth`") {
                        match key.as_str() {
                            "username" => user = self.reader.text(value, key),
                            "password" => password = Some(Secret::new(self.reader.text(value, key))),
                            "password_file" => password = self.secret_file(value),
                            _ => self.unknown(*place, key, "`basic_auth`", "username, password, password_file"),
                        }
                    }
                    http.authorization = Some(Authorization::Basic { user, password: password.unwrap_or_default() });
                }
                "tls_config" => http = self.tls(value, http),
                // HTTP/1.1 is spoken, which any receiver takes.
                "enable_http2" => drop(self.reader.flag(value, key)),
                "follow_redirects" => {
                    if self.reader.flag(value, key) {
                        self.reader.wrong(*place, "redirects are not followed: a message could go astray; hint: give the address it redirects to, and leave `follow_redirects` out");
                    }
                }
                _ => self.reader.wrong(
                    *place,
                    format!("`{key}` of `http_config` is not here; hint: authorization, basic_auth, bearer_token, tls_config are"),
                ),
            }
        }
        http
    }

    fn tls(&mut self, node: &Node, mut http: Http) -> Http {
        for (key, place, value) in self.reader.map(node, "`tls_config`") {
            match key.as_str() {
                "ca" => http.ca = Some(self.reader.text(value, key)),
                "ca_file" => http.ca = self.secret_file(value).map(|pem| pem.reveal().to_owned()),
                "insecure_skip_verify" => http.insecure = self.reader.flag(value, key),
                _ => self.reader.wrong(
                    *place,
                    format!(
                        "`{key}` of `tls_config` is not here; hint: ca, ca_file and insecure_skip_verify are"
                    ),
                ),
            }
        }
        http
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{service_key: x}]}]",
                "first API",
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
