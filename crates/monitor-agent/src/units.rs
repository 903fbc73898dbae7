//! systemd's units (collector `systemd`): states, restarts, memory, timers and
//! sockets, asked of systemd over D-Bus (org.freedesktop.systemd1(5)), under
//! node_exporter's names.
//!
//! The system's bus answers any user; where there is none, systemd's own socket
//! answers root. Without systemd there is nothing, which is no failure.

use crate::Fault;
use crate::dbus::{Body, Call, Connection, Value};
use crate::settings::Filter;
use crate::text::{Text, Type};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A reading takes no longer.
const LIMIT: Duration = Duration::from_secs(5);

/// Units that are given, at most.
const MAX_UNITS: usize = 5_000;

/// Calls sent before their answers are read: more would fill the socket on both
/// sides.
const AT_ONCE: usize = 64;

const STATES: [&str; 5] = ["active", "activating", "deactivating", "failed", "inactive"];

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Where systemd is asked: a path, and whether a bus listens there.
#[derive(Clone, Debug)]
pub(crate) struct Places(pub(crate) Vec<(PathBuf, bool)>);

impl Default for Places {
    fn default() -> Self {
        Self(vec![("/run/dbus/system_bus_socket".into(), true), ("/run/systemd/private".into(), false)])
    }
}

/// What is remembered between readings.
#[derive(Debug, Default)]
pub(crate) struct Known {
    places: Places,
    connection: Option<Connection>,
    /// A service's type hardly ever changes.
    types: FxHashMap<String, String>,
}

/// A row of `ListUnits`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unit {
    name: String,
    state: String,
    path: String,
}

/// Suffix of the unit's name, interface, property, metric, kind, help.
const PROPERTIES: [(&str, &str, &str, &str, Type, &str); 5] = [
    (
        ".service",
        "org.freedesktop.systemd1.Service",
        "NRestarts",
        "node_systemd_service_restart_total",
        Type::Counter,
        "Service unit count of Restart triggers",
    ),
    (
        ".service",
        "org.freedesktop.systemd1.Service",
        "MemoryCurrent",
        "node_systemd_unit_memory_bytes",
        Type::Gauge,
        "Memory that the unit's control group uses, in bytes",
    ),
    (
        ".socket",
        "org.freedesktop.systemd1.Socket",
        "NAccepted",
        "node_systemd_socket_accepted_connections_total",
        Type::Counter,
        "Total number of accepted socket connections",
    ),
    (
        ".socket",
        "org.freedesktop.systemd1.Socket",
        "NConnections",
        "node_systemd_socket_current_connections",
        Type::Gauge,
        "Current number of socket connections",
    ),
    (
        ".timer",
        "org.freedesktop.systemd1.Timer",
        "LastTriggerUSec",
        "node_systemd_timer_last_trigger_seconds",
        Type::Gauge,
        "Seconds since epoch of last trigger.",
    ),
];

impl Known {
    #[cfg(test)]
    fn at(places: Places) -> Self {
        Self { places, ..Self::default() }
    }
}

/// Gives how many units were left out because there are more than is given.
pub(crate) fn read(known: &mut Known, filter: &mut Filter, text: &mut Text<'_>) -> Result<usize, Fault> {
    let deadline = Instant::now() + LIMIT;
    let outcome = asked(known, filter, deadline, text);
    if outcome.is_err() {
        known.connection = None;
    }
    outcome
}

fn asked(
    known: &mut Known,
    filter: &mut Filter,
    deadline: Instant,
    text: &mut Text<'_>,
) -> Result<usize, Fault> {
    let fault = |error| Fault::System { what: "ask systemd over D-Bus", error };
    let connection = match &mut known.connection {
        Some(connection) => connection,
        None => known.connection.insert(connect(&known.places, deadline)?),
    };
    let list = Call {
        destination: SYSTEMD,
        path: MANAGER_PATH,
        interface: MANAGER,
        member: "ListUnits",
        arguments: &[],
    };
    let body = match connection.call(&list, deadline).map_err(fault)? {
        Ok(body) => body,
        // A bus without systemd: the machine was started by something else.
        Err(name) if name.ends_with(".ServiceUnknown") || name.ends_with(".NameHasNoOwner") => {
            return Err(Fault::Absent { path: PathBuf::from(SYSTEMD) });
        }
        Err(name) => return Err(fault(io::Error::other(name))),
    };
    let mut units =
        units(&body).ok_or_else(|| fault(io::Error::other("`ListUnits` gives no list of units")))?;
    units.retain(|unit| filter.takes(&unit.name));
    units.sort_by(|a, b| a.name.cmp(&b.name));
    units.dedup_by(|a, b| a.name == b.name);
    let left_out = units.len().saturating_sub(MAX_UNITS);
    units.truncate(MAX_UNITS);
    known.types.retain(|name, _| units.binary_search_by(|unit| unit.name.as_str().cmp(name)).is_ok());

    let mut wanted: Vec<(usize, &str, &str, Option<usize>)> = Vec::new();
    for (at, unit) in units.iter().enumerate() {
        if unit.name.ends_with(".service") && !known.types.contains_key(&unit.name) {
            wanted.push((at, PROPERTIES[0].1, "Type", None));
        }
        for (number, (suffix, interface, property, ..)) in PROPERTIES.iter().enumerate() {
            // What is not loaded to run has no numbers worth asking for.
            if unit.name.ends_with(suffix) && unit.state != "inactive" {
                wanted.push((at, interface, property, Some(number)));
            }
        }
    }
    let mut readings: [BTreeMap<&str, f64>; PROPERTIES.len()] = Default::default();
    for some in wanted.chunks(AT_ONCE) {
        let calls: Vec<(&str, &str, &str)> = some
            .iter()
            .map(|(at, interface, property, _)| (&*units[*at].path, *interface, *property))
            .collect();
        let values = properties(connection, &calls, deadline).map_err(fault)?;
        for ((at, _, _, number), value) in some.iter().zip(values) {
            let name = units[*at].name.as_str();
            match (number, value) {
                (None, Some(Value::Text(kind))) => {
                    known.types.insert(name.to_owned(), kind);
                }
                // All ones: not known.
                (Some(number), Some(Value::Number(value))) if value != u64::MAX => {
                    let micro = PROPERTIES[*number].2.ends_with("USec");
                    readings[*number].insert(name, value as f64 / if micro { 1e6 } else { 1.0 });
                }
                _ => {}
            }
        }
    }
    let manager = [(MANAGER_PATH, MANAGER, "SystemState"), (MANAGER_PATH, MANAGER, "Version")];
    let manager = properties(connection, &manager, deadline).map_err(fault)?;
    give(&units, &known.types, &readings, &manager, text);
    Ok(left_out)
}

fn connect(places: &Places, deadline: Instant) -> Result<Connection, Fault> {
    let mut last = Fault::Absent { path: SYSTEMD.into() };
    for (path, is_bus) in &places.0 {
        match Connection::open(path, *is_bus, deadline) {
            Ok(connection) => return Ok(connection),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A socket that nobody listens on any more, or one for root alone.
            Err(error) => last = Fault::of(path, error),
        }
    }
    Err(last)
}

/// The values of properties, in their order; None where there is none.
fn properties(
    connection: &mut Connection,
    wanted: &[(&str, &str, &str)],
    deadline: Instant,
) -> io::Result<Vec<Option<Value>>> {
    let mut serials = Vec::with_capacity(wanted.len());
    for (path, interface, property) in wanted {
        let call = Call {
            destination: SYSTEMD,
            path,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments: &[interface, property],
        };
        serials.push(connection.start(&call, deadline)?);
    }
    let mut values = vec![None; wanted.len()];
    // A unit may be unloaded meanwhile: then its answer is an error.
    connection.answers(&serials, deadline, |at, answer| {
        values[at] = answer.ok().and_then(|body| body.reader().variant());
    })?;
    Ok(values)
}

/// `ListUnits` gives `a(ssssssouso)`: name, description, load, active and sub
/// state, followed unit, object path, and the job's id, type and path.
fn units(body: &Body) -> Option<Vec<Unit>> {
    let mut reader = body.reader();
    let length = reader.number()? as usize;
    reader.pad(8);
    let end = reader.position() + length;
    let mut units = Vec::new();
    while !reader.is_at(end) {
        reader.pad(8);
        let (name, _description, _load) = (reader.text()?, reader.text()?, reader.text()?);
        let (state, _sub, _following) = (reader.text()?, reader.text()?, reader.text()?);
        let path = reader.text()?;
        let (_job, _kind, _job_path) = (reader.number()?, reader.text()?, reader.text()?);
        units.push(Unit { name, state, path });
    }
    Some(units)
}

fn give(
    units: &[Unit],
    types: &FxHashMap<String, String>,
    readings: &[BTreeMap<&str, f64>; PROPERTIES.len()],
    manager: &[Option<Value>],
    text: &mut Text<'_>,
) {
    let name = "node_systemd_unit_state";
    if !units.is_empty() {
        text.family(name, Type::Gauge, "Systemd unit");
    }
    for unit in units {
        let kind = types.get(&unit.name).map_or("", String::as_str);
        for state in STATES {
            let value = f64::from(u8::from(unit.state == state));
            text.sample(name, &[("name", &unit.name), ("state", state), ("type", kind)], value);
        }
    }
    let count = |state: &str| units.iter().filter(|unit| unit.state == state).count() as f64;
    let rows = STATES.iter().map(|state| (state, count(state)));
    text.rows("node_systemd_units", Type::Gauge, "Summary of systemd unit states", "state", rows);
    for ((_, _, _, name, kind, help), rows) in PROPERTIES.iter().zip(readings) {
        text.rows(name, *kind, help, "name", rows.iter().map(|(unit, value)| (unit, *value)));
    }
    if let Some(Some(Value::Text(state))) = manager.first() {
        let help = "Whether the system is operational (see 'systemctl is-system-running')";
        let running = f64::from(u8::from(state == "running"));
        text.single("node_systemd_system_running", Type::Gauge, help, running);
    }
    if let Some(Some(Value::Text(version))) = manager.get(1) {
        let major = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
        if let Some(value) = crate::files::finite(major) {
            let name = "node_systemd_version";
            text.family(name, Type::Gauge, "Detected systemd version");
            text.sample(name, &[("version", version)], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pattern;
    use crate::dbus::tests::{answer, body, put_number, put_pad, put_text};
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};

    /// A systemd of three units at a socket, which answers until it is closed.
    fn systemd(dir: &std::path::Path) -> Places {
        let path = dir.join("private");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream);
            }
        });
        Places(vec![(dir.join("no-bus"), true), (path, false)])
    }

    fn serve(mut stream: UnixStream) -> io::Result<()> {
        let mut input = Vec::new();
        let mut bytes = [0; 4096];
        let mut greeted = false;
        loop {
            let count = stream.read(&mut bytes)?;
            if count == 0 {
                return Ok(());
            }
            input.extend_from_slice(&bytes[..count]);
            if !greeted && input.ends_with(b"\r\n") {
                assert!(input.starts_with(b"\0AUTH EXTERNAL "));
                stream.write_all(b"OK 0123456789abcdef\r\n")?;
                input.clear();
                greeted = true;
                continue;
            }
            if input.starts_with(b"BEGIN\r\n") {
                input.drain(..7);
            }
            while let Some((call, size)) = call_of(&input) {
                input.drain(..size);
                stream.write_all(&reply(&call.0, call.1))?;
            }
        }
    }

    /// What is asked, as the texts that the message holds, and its serial number.
    fn call_of(input: &[u8]) -> Option<((String, u32), usize)> {
        let number = |at: usize| Some(u32::from_le_bytes(*input.get(at..)?.first_chunk::<4>()?));
        let size = (16 + number(12)? as usize).next_multiple_of(8) + number(4)? as usize;
        let message = input.get(..size)?;
        Some(((String::from_utf8_lossy(message).into_owned(), number(8)?), size))
    }

    fn reply(call: &str, serial: u32) -> Vec<u8> {
        let variant = |kind: &str, put: &dyn Fn(&mut Vec<u8>)| {
            body(|b| {
                b.extend([1, kind.as_bytes()[0], 0]);
                put(b);
            })
        };
        let text = |text: &'static str| variant("s", &|b| put_text(b, text));
        let bytes = if call.contains("ListUnits") {
            list()
        } else if call.contains("NRestarts") {
            variant("u", &|b| put_number(b, 3))
        } else if call.contains("MemoryCurrent") {
            variant("t", &|b| {
                put_pad(b, 8);
                b.extend(u64::MAX.to_le_bytes());
            })
        } else if call.contains("LastTriggerUSec") {
            variant("t", &|b| {
                put_pad(b, 8);
                b.extend(1_500_000u64.to_le_bytes());
            })
        } else if call.contains("SystemState") {
            text("degraded")
        } else if call.contains("Version") {
            text("252.22-1~deb12u1")
        } else if call.contains("Type") {
            text("notify")
        } else {
            return answer(3, serial, &[]);
        };
        answer(2, serial, &bytes)
    }

    fn list() -> Vec<u8> {
        let units =
            [("a.service", "active"), ("b.timer", "active"), ("c.service", "failed"), ("d.mount", "active")];
        let rows = body(|b| {
            for (name, state) in units {
                put_pad(b, 8);
                for text in
                    [name, "described", "loaded", state, "sub", "", "/org/freedesktop/systemd1/unit/x"]
                {
                    put_text(b, text);
                }
                put_number(b, 0);
                put_text(b, "");
                put_text(b, "/");
            }
        });
        body(|b| {
            put_number(b, rows.len() as u32);
            put_pad(b, 8);
            b.extend(rows);
        })
    }

    #[test]
    fn units_are_given_as_node_exporter_gives_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut known = Known::at(systemd(dir.path()));
        let mut filter = Filter::new("test", &Pattern::without(r".+\.mount$")).unwrap();
        for _ in 0..2 {
            let mut out = String::new();
            assert_eq!(read(&mut known, &mut filter, &mut Text::new(&mut out)).unwrap(), 0);
            for expected in [
                "node_systemd_unit_state{name=\"a.service\",state=\"active\",type=\"notify\"} 1",
                "node_systemd_unit_state{name=\"a.service\",state=\"failed\",type=\"notify\"} 0",
                "node_systemd_unit_state{name=\"c.service\",state=\"failed\",type=\"notify\"} 1",
                "node_systemd_unit_state{name=\"b.timer\",state=\"active\",type=\"\"} 1",
                "node_systemd_units{state=\"active\"} 2",
                "node_systemd_service_restart_total{name=\"a.service\"} 3",
                "node_systemd_timer_last_trigger_seconds{name=\"b.timer\"} 1.5",
                "node_systemd_system_running 0",
                "node_systemd_version{version=\"252.22-1~deb12u1\"} 252",
            ] {
                assert!(out.lines().any(|line| line == expected), "{expected} is not in\n{out}");
            }
            assert!(!out.contains("memory_bytes") && !out.contains("d.mount"), "{out}");
        }
    }

    #[test]
    fn without_systemd_there_is_nothing() {
        let mut known = Known::at(Places(vec![("/nowhere/bus".into(), true)]));
        let mut filter = Filter::new("test", &Pattern::default()).unwrap();
        let fault = read(&mut known, &mut filter, &mut Text::new(&mut String::new())).unwrap_err();
        assert!(fault.is_absence(), "{fault}");
    }
}
