//! Rows on their way to the store.

use crate::sink::Sink;
use monitor_model::{Exemplar, Histogram, Labels};
use monitor_scrape::{Appender, Scrape};
use monitor_store::{Batch, ExemplarRow, FloatRow, HistogramRow, SeriesRef};
use std::sync::Arc;

/// Gathers the rows of a scrape.
pub(super) struct Rows<'s> {
    sink: &'s Sink,
    batch: Batch,
}

impl<'s> Rows<'s> {
    /// `room`: how many numbers there will be, as far as is known.
    pub(super) fn new(sink: &'s Sink, room: usize) -> Self {
        let batch = Batch { floats: Vec::with_capacity(room), ..Batch::default() };
        Self { sink, batch }
    }

    /// Appends what was gathered. Series that the store has forgotten meanwhile
    /// are asked for again, once.
    pub(super) fn append(self, scrape: &mut Scrape<SeriesRef>) {
        let Some(report) = self.sink.append_batch(&self.batch) else { return };
        let floats = report.forgotten_floats.iter().filter_map(|at| self.batch.floats.get(*at));
        let histograms = report.forgotten_histograms.iter().filter_map(|at| self.batch.histograms.get(*at));
        let exemplars = report.forgotten_exemplars.iter().filter_map(|at| self.batch.exemplars.get(*at));
        let mut again = Batch {
            floats: floats.copied().collect(),
            histograms: histograms.cloned().collect(),
            exemplars: exemplars.cloned().collect(),
        };
        if again.is_empty() {
            return;
        }
        let series =
            again.floats.iter().map(|row| row.series).chain(again.histograms.iter().map(|row| row.series));
        let mut forgotten: Vec<SeriesRef> =
            series.chain(again.exemplars.iter().map(|row| row.series)).collect();
        forgotten.dedup();
        for (old, labels) in scrape.labels_of(&forgotten) {
            let Ok(new) = self.sink.store().series(&labels) else { continue };
            scrape.rename(old, new);
            again.floats.iter_mut().filter(|row| row.series == old).for_each(|row| row.series = new);
            again.histograms.iter_mut().filter(|row| row.series == old).for_each(|row| row.series = new);
            again.exemplars.iter_mut().filter(|row| row.series == old).for_each(|row| row.series = new);
        }
        self.sink.append_batch(&again);
    }
}

impl Appender for Rows<'_> {
    type Series = SeriesRef;

    fn series(&mut self, labels: &Labels) -> Result<SeriesRef, String> {
        self.sink.store().series(labels).map_err(|refusal| refusal.to_string())
    }

    fn float(&mut self, series: SeriesRef, at_ms: i64, value: f64, start_ms: i64) {
        self.batch.floats.push(FloatRow { series, at_ms, value, start_ms });
    }

    fn histogram(&mut self, series: SeriesRef, at_ms: i64, value: Arc<Histogram>, start_ms: i64) {
        self.batch.histograms.push(HistogramRow { series, at_ms, value, start_ms });
    }

    fn exemplar(&mut self, series: SeriesRef, exemplar: Exemplar, at_ms: i64) {
        self.batch.exemplars.push(ExemplarRow { series, exemplar, at_ms });
    }

    fn clear(&mut self) {
        self.batch.clear();
    }
}
