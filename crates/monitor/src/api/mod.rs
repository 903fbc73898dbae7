//! The HTTP APIs: Prometheus' ([`prometheus`]) and ours ([`ours`]).

pub(crate) mod alerts;
pub(crate) mod encode;
pub(crate) mod json;
pub(crate) mod logs;
pub(crate) mod ours;
pub(crate) mod params;
pub(crate) mod prometheus;

/// The parameters of query and form, decoded, in order.
#[derive(Debug)]
pub(crate) struct Params(pub(crate) Vec<(String, String)>);

impl Params {
    /// The first value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}
