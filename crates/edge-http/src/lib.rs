//! What the rest of the edge knows of HTTP: the request head that routing, WAF
//! and limits see, and the limits that every connection obeys.
//!
//! The types here borrow from whichever engine parsed the request. In this
//! version the engine is hyper; what hyper cannot give is written beside
//! [`head::RequestHead`].

pub mod head;
pub mod settings;

pub use head::{RequestHead, Version};
pub use settings::{Limits, Timeouts};
