//! What tests need and the product does not. A dev-dependency only.
//!
//! [`site`]: a whole site under the real binary. [`load`]: load with exact counts.
//! [`netns`]: virtual hosts, joined by virtual cables, for tests of what only a
//! kernel can prove. They need root and `ip(8)`; where these are missing, a test
//! says so and is skipped, it does not fail.
//! [`postgres`]: real PostgreSQL members under a user of their own.

pub mod customer;
pub mod load;
pub mod netns;
pub mod postgres;
pub mod site;
