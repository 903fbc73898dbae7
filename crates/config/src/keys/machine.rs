//! `[machine.NAME]`: what runs where.

use crate::declare::table;
use crate::diagnostic::quote;
use crate::read::{Text, Wrong};
use crate::span::Spanned;
use crate::values::{Name, text_value};
use std::net::IpAddr;

table! {
    /// A machine and what runs on it. Without any such table everything runs on this one. `check`, `plan` and
    /// `firewall show` understand several machines; `up` starts one.
    pub struct Machine: "[machine.NAME]";

    /// The address at which the other machines reach it.
    required address: IpAddr;
    why "always"; example r#"address = "10.0.0.2""#;

    /// What runs on it: `edge`, `monitor`, the name of a pool, or `database.NAME`.
    required runs: Vec<Spanned<Part>>;
    why "always"; example r#"runs = ["edge", "monitor"]"#;
}

text_value!(Part);

/// What can run on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The edge.
    Edge,
    /// The monitor.
    Monitor,
    /// A pool's web servers.
    Pool(Name),
    /// A member of a database.
    Database(Name),
}

impl Text for Part {
    const WHAT: &'static str = "a part of the site";
    const SAMPLE: &'static str = "\"edge\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(name) = text.strip_prefix("database.") {
            return Name::parse(name).map(Self::Database);
        }
        match text {
            "edge" => Ok(Self::Edge),
            "monitor" => Ok(Self::Monitor),
            name => match Name::parse(name.strip_prefix("pool.").unwrap_or(name)) {
                Ok(name) => Ok(Self::Pool(name)),
                Err(_) => Err(Wrong::new(
                    format!("{} is no part of the site", quote(text)),
                    "write `edge`, `monitor`, the name of a pool, or `database.NAME`",
                )),
            },
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Edge => "edge".to_owned(),
            Self::Monitor => "monitor".to_owned(),
            Self::Pool(name) => name.0.clone(),
            Self::Database(name) => format!("database.{name}"),
        }
    }
}
