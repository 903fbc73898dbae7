//! Endpoints, their health, and the choice of one. The edge uses it for web
//! servers, the database router for members. Pure.

pub mod settings;
