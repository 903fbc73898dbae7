//! The file's tables, one file an area. Every key is declared here and nowhere else.

pub mod alert;
pub mod database;
pub mod firewall;
pub mod machine;
pub mod monitor;
pub mod pool;
pub mod route;
pub mod site;
pub mod waf;
