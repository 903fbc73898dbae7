//! The receivers of `alertmanager.yml`.

use super::File;
use crate::duration::ReadDuration as _;
use crate::manager::config::{
    Authorization, Email, Http, Integration, Kind, MailTls, REPEAT_INTERVAL, Receiver,
};
use crate::receiver::pagerduty::FIRST_API;
use crate::template::Template;
use base::{Millis, Secret};
use std::collections::BTreeMap;
use yaml_tree::{Node, Place};

impl File<'_> {
    pub(super) fn receiver(&mut self, node: &Node, templates: &[String]) -> Receiver {
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
            "send_resolved" => integration.send_resolved = self.reader.flag(value, key).unwrap_or(false),
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
                "require_tls" => require_tls = self.reader.flag(value, key).unwrap_or(false),
                "tls_config" => integration.http = self.tls(value, integration.http.clone()),
                "headers" => email.headers = self.reader.pairs(value, key).into_iter().map(|(n, v, _)| (n, v)).collect(),
                "html" => email.html = self.reader.text(value, key),
                "text" => email.text = self.reader.text(value, key),
                "send_resolved" => integration.send_resolved = self.reader.flag(value, key).unwrap_or(false),
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
                "short_fields" => slack.short_fields = self.reader.flag(value, key).unwrap_or(false),
                "link_names" => slack.link_names = self.reader.flag(value, key).unwrap_or(false),
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
                "short" => field.2 = Some(self.reader.flag(value, key).unwrap_or(false)),
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
        let (mut routing_key, mut service_key) = (None, None);
        let mut integration = self.start(Kind::PagerDuty(Box::new(pagerduty.clone())));
        for (key, place, value) in self.reader.map(node, "a PagerDuty receiver") {
            match key.as_str() {
                "routing_key" => routing_key = Some(Secret::new(self.reader.text(value, key))),
                "routing_key_file" => routing_key = self.secret_file(value),
                "service_key" => service_key = Some(Secret::new(self.reader.text(value, key))),
                "service_key_file" => service_key = self.secret_file(value),
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
                _ => self.unknown(*place, key, "a PagerDuty receiver", "routing_key, routing_key_file, service_key, service_key_file, url, client, client_url, description, severity, class, component, group, source, details, links, images, send_resolved, http_config, timeout"),
            }
        }
        if routing_key.is_some() && service_key.is_some() {
            let both = "a PagerDuty receiver has a routing key and a service key; hint: keep `routing_key` for an integration of type \"Events API v2\", `service_key` for \"Prometheus\"";
            self.reader.wrong(node.place, both);
        }
        if service_key.is_some() {
            pagerduty.first_api = true;
            FIRST_API.clone_into(&mut pagerduty.url);
        }
        let key = routing_key.or(service_key);
        pagerduty.routing_key =
            self.needed(key, node.place, "missing service or routing key in PagerDuty config")?;
        integration.kind = Kind::PagerDuty(Box::new(pagerduty));
        Some(integration)
    }

    pub(super) fn http(&mut self, node: &Node) -> Http {
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
                "enable_http2" => drop(self.reader.flag(value, key).unwrap_or(false)),
                "follow_redirects" => {
                    if self.reader.flag(value, key).unwrap_or(false) {
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
                "insecure_skip_verify" => http.insecure = self.reader.flag(value, key).unwrap_or(false),
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
