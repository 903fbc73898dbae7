//! `monitor-agent`: see ARCHITECTURE.md.
