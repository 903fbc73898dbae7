//! `[receiver.NAME]`: who is told of alerts, and how.

use super::Lowering;
use base::Secret;
use config::{Code, Named, Span};
use monitor_alert::manager::config::{Email, MailTls, Ntfy};
use monitor_alert::manager::{Integration, Kind, Receiver};
use monitor_alert::receiver;

impl Lowering<'_> {
    /// All ways in which somebody is told.
    pub(super) fn receiver(&mut self, keys: &Named<config::Receiver>) -> Option<Receiver> {
        let mut kinds = Vec::new();
        if let Some(url) = &keys.webhook {
            kinds.push(Kind::Webhook { url: self.url_or_secret(url)?, max_alerts: 0 });
        }
        if let Some(email) = &keys.email {
            kinds.push(Kind::Email(Box::new(self.email(email)?)));
        }
        if let Some(url) = &keys.slack {
            kinds.push(Kind::Slack(Box::new(receiver::slack::defaults(self.url_or_secret(url)?))));
        }
        if let Some(key) = &keys.pagerduty {
            let mut pagerduty = receiver::pagerduty::defaults(self.secret(&key.value, key.span)?);
            if let Some(url) = &keys.pagerduty_url {
                pagerduty.url.clone_from(&url.value.0);
            }
            kinds.push(Kind::PagerDuty(Box::new(pagerduty)));
        }
        if let Some(url) = &keys.ntfy {
            let span = url.span;
            let url = self.url_or_secret(url)?;
            kinds.push(Kind::Ntfy(Box::new(self.topic(&url, span)?)));
        }
        if let Some(url) = &keys.alertmanager {
            kinds.push(Kind::Alertmanager { url: self.url_or_secret(url)? });
        }
        let integration = |kind| Integration { send_resolved: keys.resolved.value, ..Integration::new(kind) };
        Some(Receiver {
            name: keys.name.value.0.clone(),
            integrations: kinds.into_iter().map(integration).collect(),
            repeat: keys.repeat.value,
        })
    }

    fn email(&mut self, keys: &config::Email) -> Option<Email> {
        let login = match (&keys.user, &keys.password) {
            (Some(user), Some(password)) => {
                Some((user.value.clone(), self.secret(&password.value, password.span)?))
            }
            _ => None,
        };
        let server = keys.server.value.to_string();
        let tls = match (server.ends_with(":465"), keys.plain.value) {
            (true, _) => MailTls::Implicit,
            (false, true) => MailTls::Opportunistic,
            (false, false) => MailTls::StartTls,
        };
        Some(Email {
            to: keys.to.iter().map(|to| to.value.as_str()).collect::<Vec<_>>().join(", "),
            from: keys.from.value.clone(),
            smarthost: server,
            login,
            tls,
            ..Email::default()
        })
    }

    /// An ntfy URL's server and topic: `https://ntfy.sh/shop-alerts`.
    fn topic(&mut self, url: &Secret, span: Span) -> Option<Ntfy> {
        let text = url.reveal().trim_end_matches('/');
        let parts =
            text.rsplit_once('/').filter(|(server, topic)| !topic.is_empty() && !server.ends_with('/'));
        let Some((server, topic)) = parts else {
            let message = "the URL of `ntfy` has no topic";
            self.error(Code::BadValue, span, message, "write it as `https://ntfy.sh/TOPIC`");
            return None;
        };
        Some(Ntfy { url: server.to_owned(), topic: Secret::new(topic), ..Ntfy::default() })
    }
}
