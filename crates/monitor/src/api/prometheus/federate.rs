//! `/federate`: the newest values of series, for another Prometheus to scrape.
//! Source: Prometheus manual, "Federation".

use super::{Asked, Failure, selectors};
use crate::server::Reply;
use crate::state::State;
use hyper::{StatusCode, header};
use monitor_exposition::{Writer, best_for};
use monitor_model::MetricType;
use monitor_promql::{Error, Labels, LabelsBuilder, Matcher, Options, Selection, SeriesData, Source, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Answers `/federate`.
pub(crate) async fn answer(state: &Arc<State>, asked: &Asked<'_>) -> Reply {
    let any_of = match selectors(&asked.params) {
        Ok(any_of) => any_of,
        Err(why) => return Reply::text(StatusCode::BAD_REQUEST, why + "\n"),
    };
    match newest(state, any_of).await {
        Ok(found) => {
            let accept = asked.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
            let (body, content_type) = write(&found, accept);
            Reply { content_type, ..Reply::json(body) }
        }
        Err(failure) => Reply::text(failure.status(), failure.why + "\n"),
    }
}

/// When and what.
type Newest = (i64, Value);

async fn newest(state: &State, any_of: Vec<Vec<Matcher>>) -> Result<BTreeMap<Labels, Newest>, Failure> {
    let settings = state.queries.settings();
    let (timeout, lookback_ms) = (settings.timeout.duration(), settings.lookback_ms());
    let external = state.plan().site.external_labels.clone();
    let now_ms = sys::clock::now_ms() as i64;
    let found = state.queries.run(timeout, move |store, options| {
        let mut found = BTreeMap::new();
        for matchers in &any_of {
            // The oldest value that a query would not look at any more is left out.
            let selection = Selection::new(matchers, now_ms - lookback_ms + 1, now_ms);
            collect(store, &selection, &external, options, &mut found)?;
        }
        Ok(found)
    });
    Ok(found.await?)
}

fn collect(
    store: &impl Source,
    selection: &Selection<'_>,
    external: &[(String, String)],
    options: &Options<'_>,
    found: &mut BTreeMap<Labels, Newest>,
) -> Result<(), Error> {
    let mut stream = store.select(selection)?;
    let mut series = SeriesData::default();
    while stream.next_into(&mut series)? {
        if found.len() >= options.max_series {
            return Err(Error::Limit(format!(
                "more than {} series match\nhint: narrow `match[]`",
                options.max_series
            )));
        }
        match (options.stop)() {
            Some(monitor_promql::Stop::Deadline) => return Err(Error::Timeout),
            Some(monitor_promql::Stop::Cancelled) => return Err(Error::Cancelled),
            None => {}
        }
        let Some(newest) = last_of(&series) else { continue };
        // Labels of this monitor, where the series has none of that name.
        let mut labels = LabelsBuilder::from(&series.labels);
        for (name, value) in external {
            if series.labels.get(name).is_none() {
                labels.set(name, value);
            }
        }
        found.insert(labels.build(), newest);
    }
    Ok(())
}

/// The newest sample, unless it says that the series has ended.
fn last_of(series: &SeriesData) -> Option<Newest> {
    let float = series.points.last();
    let histogram = series.histograms.last();
    match (float, histogram) {
        (Some(p), h) if h.is_none_or(|h| h.at_ms < p.at_ms) => {
            (!monitor_promql::is_stale(p.value)).then_some((p.at_ms, Value::Float(p.value)))
        }
        (_, Some(h)) => (!h.value.is_stale()).then(|| (h.at_ms, Value::Histogram(h.value.clone()))),
        _ => None,
    }
}

/// By name; numbers and histograms of a name are families of their own.
fn write(found: &BTreeMap<Labels, Newest>, accept: &str) -> (Vec<u8>, &'static str) {
    let (format, content_type, utf8) = best_for(accept);
    let mut writer = Writer::new(format, utf8);
    let mut by_name: BTreeMap<(&str, bool), Vec<(&Labels, &Newest)>> = BTreeMap::new();
    for (labels, newest) in found {
        let native = matches!(newest.1, Value::Histogram(_));
        by_name.entry((labels.name().unwrap_or_default(), native)).or_default().push((labels, newest));
    }
    for ((name, native), series) in by_name {
        let kind = if native { MetricType::Histogram } else { MetricType::Unknown };
        writer.family(name, kind, "", "");
        for (labels, (at_ms, value)) in series {
            match value {
                Value::Float(value) => writer.sample(labels, *value, Some(*at_ms), None),
                Value::Histogram(value) => writer.histogram(labels, value, Some(*at_ms)),
            }
        }
    }
    (writer.finish(), content_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_by_name() {
        let of = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        let found = BTreeMap::from([
            (of(&[("__name__", "up"), ("job", "b")]), (1_000, Value::Float(0.0))),
            (of(&[("__name__", "a"), ("job", "b")]), (2_500, Value::Float(f64::INFINITY))),
            (of(&[("__name__", "up"), ("job", "a")]), (1_000, Value::Float(1.0))),
        ]);
        let (body, content_type) = write(&found, "");
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "# TYPE a untyped\na{job=\"b\"} +Inf 2500\n# TYPE up untyped\nup{job=\"a\"} 1 1000\nup{job=\"b\"} 0 1000\n"
        );
    }
}
