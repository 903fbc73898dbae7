//! `[firewall]`: who may reach the machine besides the site's visitors.

use crate::declare::table;
use crate::defaults;
use crate::diagnostic::quote;
use crate::read::{Text, Wrong};
use crate::span::Spanned;
use crate::values::text_value;
use base::Millis;
use base::net::IpNet;

table! {
    /// The kernel's firewall. What it lets through follows from the rest of the file: the site's ports, and
    /// between machines what they need; everything else is dropped, except what `allow` names.
    pub struct Firewall: "[firewall]";

    /// Whether the policy is put into the kernel (nftables, as root). Without it the policy is only shown
    /// (`bastide firewall show`), and bans are enforced by the edge alone.
    default apply: bool = false;
    why "the machine serves the public"; example "apply = true";

    /// What may be reached besides: `PORT[-PORT]/tcp|udp [from NETWORK|any]`. An entry here always beats a ban.
    default allow: Vec<Spanned<Allow>> = vec![];
    why "you log in by SSH, or another program serves others"; example r#"allow = ["22/tcp from 203.0.113.0/24", "51820/udp"]"#;

    /// A new policy falls back to the one before after this, unless `bastide firewall confirm` comes first:
    /// so that nobody locks themselves out.
    default revert_after: Millis = defaults::REVERT_AFTER, in Millis(5_000)..=Millis(3_600_000);
    why "you need longer to see whether you can still log in"; example r#"revert_after = "5m""#;
}

text_value!(Allow);

/// An entry of `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// The first port, 1 to 65535.
    pub first: u16,
    /// The last port, at least the first.
    pub last: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// From where; none is from anywhere.
    pub from: Option<IpNet>,
}

/// What an entry of `allow` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Text for Allow {
    const WHAT: &'static str = "a port to let through";
    const SAMPLE: &'static str = "\"22/tcp from 203.0.113.0/24\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = |what: String| {
            Wrong::new(what, "write `22/tcp`, `6000-6010/udp` or `22/tcp from 203.0.113.0/24`")
        };
        let mut words = text.split_whitespace();
        let (Some(what), from, net, None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(wrong(format!("{} cannot be read", quote(text))));
        };
        let Some((ports, protocol)) = what.split_once('/') else {
            return Err(wrong(format!("{} does not say `/tcp` or `/udp`", quote(what))));
        };
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(wrong(format!("{} is neither `tcp` nor `udp`", quote(other)))),
        };
        let port = |text: &str| {
            let number =
                text.parse::<u16>().ok().filter(|port| *port > 0 && text.bytes().all(|b| b.is_ascii_digit()));
            number.ok_or_else(|| wrong(format!("{} is not a port from 1 to 65535", quote(text))))
        };
        let (first, last) = match ports.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(ports)?, port(ports)?),
        };
        if first > last {
            return Err(wrong(format!("the ports `{first}-{last}` go downwards")));
        }
        let from = match (from, net) {
            (None, _) | (Some("from"), Some("any")) => None,
            (Some("from"), Some(net)) => Some(<IpNet as Text>::parse(net)?),
            (Some("from"), None) => return Err(wrong("`from` without a network".to_owned())),
            (Some(other), _) => {
                return Err(wrong(format!("{} stands where `from` is expected", quote(other))));
            }
        };
        Ok(Self { first, last, protocol, from })
    }

    fn text(&self) -> String {
        let ports = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        let from = self.from.map_or(String::new(), |net| format!(" from {net}"));
        format!("{ports}/{}{from}", self.protocol.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_and_print_the_same() {
        for text in ["22/tcp", "6000-6010/udp", "22/tcp from 203.0.113.0/24", "53/udp from 2001:db8::/32"] {
            assert_eq!(Allow::parse(text).unwrap().text(), text);
        }
        assert_eq!(Allow::parse("22/tcp from any").unwrap().text(), "22/tcp");
        assert_eq!(Allow::parse("22/tcp  from 10.0.0.1").unwrap().text(), "22/tcp from 10.0.0.1/32");
        let bad = "|22|22/|/tcp|0/tcp|+1/tcp|70000/tcp|22/sctp|9-8/tcp|-/tcp|22/tcp from|22/tcp to any|22/tcp from x|\
                   22/tcp from 10.0.0.1/24|22/tcp from any port|1-2-3/tcp|22/TCP";
        for text in bad.split('|') {
            assert!(Allow::parse(text).is_err(), "{text}");
        }
    }
}
