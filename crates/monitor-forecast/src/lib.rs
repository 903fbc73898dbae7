//! What comes next: growth, bands for the hour of the week, how long a resource lasts.
