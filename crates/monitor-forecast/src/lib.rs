//! What comes next: how traffic grows, which band is normal for this hour of the
//! week, which resource runs out first and when.
//!
//! [`forecast`] continues hourly values by weeks: three memories (the last week,
//! a short and a long one) are averaged, and growth from week to week is added
//! where it stands out from the noise. [`Bands`] say what is normal for an hour,
//! and whether traffic vanished. [`runway`] says when a use meets its ceiling,
//! [`answer`] puts that into words.
//!
//! Pure: no I/O, no clock; times are hours and seconds since the epoch. Where
//! there is too little history or no ceiling, it says nothing rather than guess.
//!
//! Sources: Theil (1950) and Sen (1968) for the slope; Hyndman and
//! Athanasopoulos, "Forecasting: Principles and Practice", for the seasonal naive
//! forecast and rolling origins. How it was measured: [`backtest`] and
//! `docs/decisions/forecasts.md`.

mod answer;
pub mod backtest;
mod band;
mod hourly;
mod model;
mod numbers;
mod runway;

pub use answer::{Answer, Finding, answer};
pub use band::{Band, Bands, HIGHEST, LOWEST};
pub use hourly::{HOUR_MS, Hourly, TooLittle, WEEK_HOURS};
pub use model::{Forecast, Peak, forecast, weekly_growth};
pub use runway::{Cost, HORIZON_HOURS, Kind, Resource, Runway, Unit, cost_per_request, runway};
