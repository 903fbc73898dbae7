//! The clock: the time, its zone, the kernel's clock sources, and how well it is
//! disciplined (collectors `time`, `timex`; adjtimex(2)).

use crate::Fault;
use crate::files::Files;
use crate::text::{Text, Type};
use jiff::Timestamp;
use jiff::tz::TimeZone;

const DIR: &str = "devices/system/clocksource";

/// The zone is looked up again after so many readings: it changes by hand.
const LOOK_AFTER: u32 = 60;

/// The machine's time zone, as `TZ` or `/etc/localtime` names it.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    zone: Option<TimeZone>,
    readings: u32,
}

impl Zone {
    fn current(&mut self) -> &TimeZone {
        if self.readings.is_multiple_of(LOOK_AFTER) {
            self.zone = None;
        }
        self.readings = self.readings.wrapping_add(1);
        self.zone.get_or_insert_with(|| {
            let from_file = |path: &std::path::Path| TimeZone::tzif("", &std::fs::read(path).ok()?).ok();
            // As the C library (tzset(3)): an empty TZ is UTC.
            let zone = match std::env::var("TZ").as_deref().map(|tz| tz.trim_start_matches(':')) {
                Ok("" | "UTC") => None,
                Ok(name) if name.starts_with('/') => from_file(name.as_ref()),
                // No way out of the folder.
                Ok(name) if name.split('/').any(|part| part == "..") => None,
                Ok(name) => from_file(&std::path::Path::new("/usr/share/zoneinfo").join(name)),
                Err(_) => from_file("/etc/localtime".as_ref()),
            };
            zone.unwrap_or(TimeZone::UTC)
        })
    }
}

pub(crate) fn read(files: &mut Files, zone: &mut Zone, now_s: f64, text: &mut Text<'_>) -> Result<(), Fault> {
    clock_sources(files, text);
    text.single("node_time_seconds", Type::Gauge, "System time in seconds since epoch (1970).", now_s);
    let now = Timestamp::from_millisecond((now_s * 1000.0) as i64).unwrap_or(Timestamp::UNIX_EPOCH);
    let info = zone.current().to_offset_info(now);
    let name = "node_time_zone_offset_seconds";
    text.family(name, Type::Gauge, "System time zone offset in seconds.");
    text.sample(name, &[("time_zone", info.abbreviation())], f64::from(info.offset().seconds()));
    Ok(())
}

fn clock_sources(files: &mut Files, text: &mut Text<'_>) {
    let mut available: Vec<(String, String)> = Vec::new();
    let mut current: Vec<(String, String)> = Vec::new();
    let Ok(folders) = files.devices(DIR) else { return };
    for folder in folders.iter() {
        let Some(device) = folder.strip_prefix("clocksource") else { continue };
        let words = files.word(&[DIR, folder, "available_clocksource"]).unwrap_or_default();
        let mut words: Vec<&str> = words.split_ascii_whitespace().collect();
        words.sort_unstable();
        words.dedup();
        available.extend(words.into_iter().map(|word| (device.to_owned(), word.to_owned())));
        if let Some(word) = files.word(&[DIR, folder, "current_clocksource"]).filter(|w| !w.is_empty()) {
            current.push((device.to_owned(), word.to_owned()));
        }
    }
    let mut family = |name: &str, help: &str, rows: &[(String, String)]| {
        if !rows.is_empty() {
            text.family(name, Type::Gauge, help);
        }
        for (device, source) in rows {
            text.sample(name, &[("clocksource", source), ("device", device)], 1.0);
        }
    };
    let help = "Available clocksources read from '/sys/devices/system/clocksource'.";
    family("node_time_clocksource_available_info", help, &available);
    let help = "Current clocksource read from '/sys/devices/system/clocksource'.";
    family("node_time_clocksource_current_info", help, &current);
}

/// `linux/timex.h`: the clock is not synchronised.
const TIME_ERROR: i32 = 5;
/// `linux/timex.h`: offset and jitter are in nanoseconds, not in microseconds.
const STA_NANO: i32 = 0x2000;

pub(crate) fn timex(text: &mut Text<'_>) -> Result<(), Fault> {
    let found = sys::clock::adjtimex();
    let found =
        found.map_err(|error| Fault::System { what: "ask the kernel's clock (`adjtimex`)", error })?;
    let micro = 1e6;
    let fine = if found.status & STA_NANO != 0 { 1e9 } else { micro };
    // Parts per million with 16 bits after the point.
    let ppm = 1e6 * 65_536.0;
    let mut gauge = |name: &str, help: &str, value: f64| text.single(name, Type::Gauge, help, value);
    gauge("node_timex_estimated_error_seconds", "Estimated error in seconds.", found.esterror as f64 / micro);
    let ratio = 1.0 + found.freq as f64 / ppm;
    gauge("node_timex_frequency_adjustment_ratio", "Local clock frequency adjustment.", ratio);
    let help = "Phase-locked loop time constant.";
    gauge("node_timex_loop_time_constant", help, found.constant as f64);
    gauge("node_timex_maxerror_seconds", "Maximum error in seconds.", found.maxerror as f64 / micro);
    let help = "Time offset in between local system and reference clock.";
    gauge("node_timex_offset_seconds", help, found.offset as f64 / fine);
    gauge("node_timex_pps_frequency_hertz", "Pulse per second frequency.", found.ppsfreq as f64 / ppm);
    gauge("node_timex_pps_jitter_seconds", "Pulse per second jitter.", found.jitter as f64 / fine);
    gauge("node_timex_pps_shift_seconds", "Pulse per second interval duration.", f64::from(found.shift));
    let help = "Pulse per second stability, average of recent frequency changes.";
    gauge("node_timex_pps_stability_hertz", help, found.stabil as f64 / ppm);
    gauge("node_timex_status", "Value of the status array bits.", f64::from(found.status));
    let synchronised = f64::from(u8::from(found.state != TIME_ERROR));
    let help = "Is clock synchronized to a reliable server (1 = yes, 0 = no).";
    gauge("node_timex_sync_status", help, synchronised);
    let help = "International Atomic Time (TAI) offset.";
    gauge("node_timex_tai_offset_seconds", help, f64::from(found.tai));
    gauge("node_timex_tick_seconds", "Seconds between clock ticks.", found.tick as f64 / micro);
    let mut counter =
        |name: &str, help: &str, value: i64| text.single(name, Type::Counter, help, value as f64);
    let help = "Pulse per second count of calibration intervals.";
    counter("node_timex_pps_calibration_total", help, found.calcnt);
    counter("node_timex_pps_error_total", "Pulse per second count of calibration errors.", found.errcnt);
    let help = "Pulse per second count of jitter limit exceeded events.";
    counter("node_timex_pps_jitter_total", help, found.jitcnt);
    let help = "Pulse per second count of stability limit exceeded events.";
    counter("node_timex_pps_stability_exceeded_total", help, found.stbcnt);
    Ok(())
}
