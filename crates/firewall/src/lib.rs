//! `firewall`: see ARCHITECTURE.md.
