//! The monitor end to end: real sockets, targets and receivers that a test speaks for.

// A test says what it leaves out.
#![allow(clippy::print_stderr)]

mod agent;
mod alerts;
mod api;
mod common;
mod disk;
mod histograms;
mod killed;
mod logs;
mod probes;
mod push;
mod ready_made;
mod scrape_and_query;
mod scraping;
mod told;
