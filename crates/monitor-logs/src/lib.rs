//! Access logs: followed, read, counted, and kept searchable for a while.
