//! The edge as its clients, its web servers and its operator see it: real
//! sockets on ports the kernel chooses, real TLS, in one process.

mod answers;
mod balance;
mod files;
mod harness;
mod limits;
mod operate;
mod refusals;
mod streams;
mod waf;
mod waf_crs;
mod waf_phases;
mod waf_websocket;
