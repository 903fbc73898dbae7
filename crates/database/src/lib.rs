//! `database`: see ARCHITECTURE.md.
