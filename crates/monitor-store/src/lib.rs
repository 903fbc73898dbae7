//! `monitor-store`: see ARCHITECTURE.md.
