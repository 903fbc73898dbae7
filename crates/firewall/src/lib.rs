//! The firewall of every machine, derived from the site's topology.
//!
//! [`policy()`] turns settings and topology into a typed [`Policy`] for any
//! machine of the site: everything inbound is dropped but the site's ports, what
//! the site's own machines need of one another, the operator's allow-list,
//! loopback, replies and ICMP. [`ruleset`] writes it as nftables rules,
//! [`Policy::rows`] as a table that says why each rule exists. These are pure.
//!
//! [`kernel`] puts a policy and bans into the kernel through `nft(8)`, in one
//! table of our own, `inet bastide`. It never touches another table, never
//! filters what is sent or forwarded, and never trusts that a process of ours
//! will be alive later: a policy on trial ends by itself, in the kernel.
//!
//! Limits: TCP and UDP ports only; ports that a container runtime forwards never
//! pass the input hook; another table that drops a packet has the last word.
//!
//! Sources: nft(8) ("Sets", "Maps", "Verdict statement"); RFC 4890 §4.4 for the
//! ICMPv6 that a host must accept; RFC 8415 §7.2 for DHCPv6's ports. Why `nft`
//! and not netlink: `docs/decisions/firewall-through-nft.md`.

pub mod kernel;
pub mod message;
pub mod policy;
mod render;
pub mod settings;
mod show;

pub use kernel::serve_one;
pub use message::{Ban, Request, Response, Status};
pub use policy::{Opening, Policy, Source, policy};
pub use render::ruleset;
pub use settings::{Allow, Machine, PortRange, Protocol, Role, Settings, Topology};
pub use show::Row;
