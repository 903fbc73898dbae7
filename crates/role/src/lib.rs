//! `role`: see ARCHITECTURE.md.
