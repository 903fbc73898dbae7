//! `site`: see ARCHITECTURE.md.
