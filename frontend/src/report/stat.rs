//! Counts as text: a table in perf's manner, Markdown, CSV with a header.

use super::about::About;
use super::event::{Event, worth};
use super::grouped;
use super::meter::{Kind, Span, Values};
use crate::pc::time;
use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{CellAlignment, Table, TableStyle};
use pmu_model::Validity;

/// What `unhalted stat` has to say.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was run.
    pub about: About,
    /// Why it ended: a word, and the exit status.
    pub end: (String, u8),
    /// The events, in the order of [`Values`].
    pub events: Vec<Event>,
    /// The spans, the whole first.
    pub spans: Vec<Span>,
    /// Rows for each processor, in the texts.
    pub per_vcpu: bool,
}

/// A row of a table: which processor (`None`: all), which event, user and kernel counts.
struct Row<'a> {
    processor: Option<usize>,
    event: &'a Event,
    counts: [u64; 2],
}

/// Columns of the table: title, and does it hold numbers?
const COLUMNS: [(&str, bool); 7] =
    [("", false), ("user", true), ("kernel", true), ("all", true), ("event", false), ("worth", false), ("", false)];

impl Report {
    fn rows(&self, span: &Span) -> Vec<Row<'_>> {
        let rows = |processor, values: &Values| -> Vec<Row<'_>> {
            let row = |(event, counts): (_, &[u64; 2])| Row { processor, event, counts: *counts };
            self.events.iter().zip(values).map(row).collect()
        };
        if self.per_vcpu {
            return span.counts.iter().enumerate().flat_map(|(n, values)| rows(Some(n), values)).collect();
        }
        let sum = |k: usize, ring: usize| span.counts.iter().map(|v| v[k][ring]).fold(0, u64::wrapping_add);
        rows(None, &(0..self.events.len()).map(|k| [sum(k, 0), sum(k, 1)]).collect())
    }

    /// The table for a terminal.
    pub fn table(&self) -> String {
        let mut text = format!(" Counted from outside: {}\n", self.about.image.path);
        for span in &self.spans {
            text.push_str(&format!("\n {}\n\n{}\n", self.heading(span), self.table_of(span, NOTHING, false)));
        }
        text
    }

    /// The same as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("## Counts of {}\n", self.about.image.path);
        for span in &self.spans {
            text.push_str(&format!("\n### {}\n\n{}\n", self.heading(span), self.table_of(span, ASCII_MARKDOWN, true)));
        }
        text
    }

    fn table_of(&self, span: &Span, style: TableStyle, plain: bool) -> Table {
        let mut table = Table::new();
        table.load_style(style);
        let shown = |n: usize| self.per_vcpu || n > 0;
        table.set_header(COLUMNS.iter().enumerate().filter(|(n, _)| shown(*n)).map(|(_, c)| c.0));
        let rows = self.rows(span);
        for row in &rows {
            let cells = row.cells(plain).into_iter().chain([self.remark(row, &rows)]);
            table.add_row(cells.enumerate().filter(|(n, _)| shown(*n)).map(|(_, cell)| cell));
        }
        let columns = COLUMNS.iter().enumerate().filter(|(n, _)| shown(*n)).map(|(_, c)| c.1);
        for (column, number) in table.column_iter_mut().zip(columns) {
            if number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// What perf puts behind a count: instructions a cycle, misses of all.
    fn remark(&self, row: &Row<'_>, rows: &[Row<'_>]) -> String {
        const RATIOS: [(u64, u64, &str); 3] =
            [(0xc0, 0x3c, "instructions a cycle"), (0x11c4, 0xc4, "of all branches"), (0xc5, 0xc4, "of all branches")];
        let code = row.event.encoding.bits();
        let Some((_, of, text)) = RATIOS.iter().find(|r| r.0 == code && row.event.is_modelled()) else {
            return String::new();
        };
        let same = |r: &&Row<'_>| {
            r.processor == row.processor && (r.event.user, r.event.kernel) == (row.event.user, row.event.kernel)
        };
        let whole = rows.iter().filter(same).find(|r| r.event.encoding.bits() == *of).map_or(0, Row::all);
        if whole == 0 { String::new() } else { format!("# {:.2} {text}", row.all() as f64 / whole as f64) }
    }

    /// What a span is, and how long.
    fn heading(&self, span: &Span) -> String {
        let seconds = |ticks| time(ticks).as_ns() as f64 / 1e9;
        let what = match span.kind {
            Kind::Run => "the whole run".to_owned(),
            Kind::Window => "the window".to_owned(),
            Kind::Interval(n) => format!("interval {n}"),
            Kind::Region { number, entered, open } => {
                let open = if open { ", the last time not left" } else { "" };
                format!("region {number}, entered {}x{open}", grouped(entered))
            }
        };
        let place = match span.place {
            Some((a, b)) => format!(", {:.9} to {:.9} s", seconds(a), seconds(b)),
            None => String::new(),
        };
        format!("{what}{place}: {:.9} s of guest time", seconds(span.ticks))
    }

    /// Comma-separated values with a header; `processor` is a number or `all`, a count that is not modelled is empty.
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "span,number,entered,begin_ticks,end_ticks,ticks,processor,event,name,encoding,validity,user,kernel\n",
        );
        for span in &self.spans {
            let (word, number, entered) = span.kind.words();
            let optional = |n: Option<u64>| n.map_or(String::new(), |n| n.to_string());
            let (begin, end) = (optional(span.place.map(|p| p.0)), optional(span.place.map(|p| p.1)));
            let prefix = format!("{word},{},{},{begin},{end},{}", optional(number), optional(entered), span.ticks);
            for row in self.rows(span) {
                text.push_str(&format!("{prefix},{}\n", row.csv()));
            }
        }
        text
    }
}

impl Kind {
    /// The word for it, its number, and how often it was entered.
    pub fn words(&self) -> (&'static str, Option<u64>, Option<u64>) {
        match *self {
            Kind::Run => ("run", None, None),
            Kind::Window => ("window", None, None),
            Kind::Interval(n) => ("interval", Some(n), None),
            Kind::Region { number, entered, .. } => ("region", Some(number.into()), Some(entered)),
        }
    }
}

impl Row<'_> {
    fn all(&self) -> u64 {
        self.counts[0].wrapping_add(self.counts[1])
    }

    /// User, kernel and all counts, where they are counted.
    fn numbers(&self) -> [Option<u64>; 3] {
        let counted = self.event.is_modelled();
        let one = |counts: bool, n| (counted && counts).then_some(n);
        let both = self.event.user && self.event.kernel;
        [one(self.event.user, self.counts[0]), one(self.event.kernel, self.counts[1]), one(both, self.all())]
    }

    fn cells(&self, plain: bool) -> [String; 6] {
        let write = |n: Option<u64>| match n {
            Some(n) if plain => n.to_string(),
            Some(n) => grouped(n),
            None => "-".to_owned(),
        };
        let [user, kernel, all] = self.numbers().map(write);
        let processor = self.processor.map_or(String::new(), |n| format!("vCPU {n}"));
        [processor, user, kernel, all, self.event.label.clone(), worth(self.event.validity).to_owned()]
    }

    fn csv(&self) -> String {
        let processor = self.processor.map_or("all".to_owned(), |n| n.to_string());
        let [user, kernel, _] = self.numbers().map(|n| n.map_or(String::new(), |n| n.to_string()));
        let Event { label, name, encoding, validity, .. } = self.event;
        let (name, bits) = (name.unwrap_or(""), encoding.bits());
        // Only the label can hold a comma.
        let label = if label.contains(',') { format!("\"{label}\"") } else { label.clone() };
        format!("{processor},{label},{name},{bits:#x},{},{user},{kernel}", worth(*validity))
    }
}

/// Does any of `events` count nothing?
pub fn warning(events: &[Event]) -> Option<String> {
    let missing: Vec<&str> =
        events.iter().filter(|e| e.validity == Validity::NotModelled).map(|e| e.label.as_str()).collect();
    (!missing.is_empty()).then(|| format!("not modelled, so not counted: {}", missing.join(", ")))
}
