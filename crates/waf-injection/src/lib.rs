//! SQL injection and cross-site scripting in a value, recognised by its tokens.
//!
//! [`sqli()`] asks: if this value stood in a statement of SQL (bare, within `'…'`, within `"…"`),
//! would its tokens spell an attack? It cuts the value into tokens, folds what means the same
//! (`1+1` is a number, `a, b` a name), and looks the first five kinds up among the fingerprints
//! of known attacks. [`xss()`] asks the same of a page: standing between tags, as an attribute, or
//! within an attribute's quotes, would the value open a tag, an event handler or a URL that runs
//! a script?
//!
//! Both follow libinjection by Nick Galbreath, version 3.9.2 (the one within libmodsecurity
//! 3.0.9): its method as he described it (Black Hat USA 2012) and its data, the words and the
//! fingerprints in `data/`, under the licence in `NOTICE`. The code is ours, and built for
//! values that are no attack, since nearly all are not: most are told from their bytes or
//! their first tokens alone (`plain` and `Marks`), which tests hold to be no more than a
//! short cut. Where we see attacks that 3.9.2 overlooks, and why nothing else differs, is told
//! in `docs/decisions/waf-injection.md`; `examples/differential.rs` compares against the C
//! library.
//!
//! Never: allocation, recursion, a panic, or a time that grows faster than the value does.
//! No transformation either: that is the rule's business (`t:urlDecodeUni`, …).
//! Limits: the first 4 GiB of a value are read.

mod bytes;
mod sqli;
mod xss;

pub use sqli::{Fingerprint, sqli};
pub use xss::xss;
