//! What Bastide promises, tried on the real binary, a real PostgreSQL, real
//! sockets. Each test has a site, ports and folders of its own.

mod alerts;
mod bad_input;
mod bans_and_rules;
mod browser;
mod command_line;
mod counters;
mod database;
mod documents;
mod firewall;
mod full_disk;
mod kill_nine;
mod reload;
mod shop;
mod waf_commands;
mod web_servers;
