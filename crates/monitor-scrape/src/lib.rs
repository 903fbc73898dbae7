//! What is scraped and when: relabelling, discovered target groups, schedules, limits.
