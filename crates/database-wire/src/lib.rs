//! `database-wire`: see ARCHITECTURE.md.
