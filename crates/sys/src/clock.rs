//! The clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far [`now_ms`] is ahead of the machine's clock.
static PRETENDED_MS: AtomicI64 = AtomicI64::new(0);

/// Unix milliseconds now.
pub fn now_ms() -> u64 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    now_ms.saturating_add_signed(PRETENDED_MS.load(Ordering::Relaxed))
}

/// For tests of what a clock that jumps does: from now on this process takes it
/// to be later by `ahead_ms` than the machine's clock says, or earlier. The
/// machine's clock is everybody's, and Linux has no time namespace for it.
pub fn pretend(ahead_ms: i64) {
    PRETENDED_MS.store(ahead_ms, Ordering::Relaxed);
}

/// Milliseconds of a clock that never jumps, from an arbitrary start.
pub fn monotonic_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000 + time.tv_nsec as u64 / 1_000_000
}

/// Microseconds of the same clock.
pub fn monotonic_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// What the kernel says of its clock's discipline: `struct timex` of adjtimex(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timex {
    /// The call's result: `TIME_OK` (0) … `TIME_ERROR` (5).
    pub state: i32,
    /// `STA_*` bits.
    pub status: i32,
    /// Time offset, in ns with `STA_NANO`, else in µs.
    pub offset: i64,
    /// Frequency offset, in ppm with 16 bits after the point.
    pub freq: i64,
    /// Maximum error, in µs.
    pub maxerror: i64,
    /// Estimated error, in µs.
    pub esterror: i64,
    /// The phase-locked loop's time constant.
    pub constant: i64,
    /// µs between ticks.
    pub tick: i64,
    /// Pulse per second: frequency, in ppm with 16 bits after the point.
    pub ppsfreq: i64,
    /// Pulse per second: jitter, in ns with `STA_NANO`, else in µs.
    pub jitter: i64,
    /// Pulse per second: the interval's duration, as a power of two seconds.
    pub shift: i32,
    /// Pulse per second: stability, in ppm with 16 bits after the point.
    pub stabil: i64,
    /// Pulse per second: times that the jitter's limit was exceeded.
    pub jitcnt: i64,
    /// Pulse per second: calibration intervals.
    pub calcnt: i64,
    /// Pulse per second: calibration errors.
    pub errcnt: i64,
    /// Pulse per second: times that the stability's limit was exceeded.
    pub stbcnt: i64,
    /// TAI minus UTC, in seconds.
    pub tai: i32,
}

/// Asks the kernel how its clock is disciplined, and changes nothing.
#[allow(unsafe_code)]
#[allow(clippy::useless_conversion, reason = "`c_long` is 32 bits wide on some targets")]
pub fn adjtimex() -> std::io::Result<Timex> {
    // SAFETY: `timex` is a struct of integers, for which all zeros is a value;
    // `modes` is 0, so that the kernel only fills it in.
    let (state, found) = unsafe {
        let mut found: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut found), found)
    };
    if state < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(Timex {
        state,
        status: found.status,
        offset: found.offset.into(),
        freq: found.freq.into(),
        maxerror: found.maxerror.into(),
        esterror: found.esterror.into(),
        constant: found.constant.into(),
        tick: found.tick.into(),
        ppsfreq: found.ppsfreq.into(),
        jitter: found.jitter.into(),
        shift: found.shift,
        stabil: found.stabil.into(),
        jitcnt: found.jitcnt.into(),
        calcnt: found.calcnt.into(),
        errcnt: found.errcnt.into(),
        stbcnt: found.stbcnt.into(),
        tai: found.tai,
    })
}
