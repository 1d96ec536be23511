//! Counts as text: a table in perf's manner, Markdown, CSV with a header.

use super::about::About;
use super::event::{Event, worth};
use super::grouped;
use super::meter::{Kind, Span, Values, add};
use super::processes::Process;
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
    /// Rows for each process, too.
    pub per_process: bool,
}

/// A row of a table: which process and processor (`None`: all), which event, user and kernel counts.
struct Row<'a> {
    process: Option<&'a Process>,
    processor: Option<usize>,
    event: &'a Event,
    counts: [u64; 2],
}

/// Columns of the table: title, and does it hold numbers?
const COLUMNS: [(&str, bool); 7] =
    [("", false), ("user", true), ("kernel", true), ("all", true), ("event", false), ("worth", false), ("", false)];

impl Report {
    /// The rows of `span`: all processes together, then each, if that is wanted, the busiest first.
    fn rows<'a>(&'a self, span: &'a Span) -> Vec<Row<'a>> {
        let mut rows = self.rows_of(None, &span.counts);
        if self.per_process {
            let mut each: Vec<&(Process, Vec<Values>)> = span.processes.iter().collect();
            let first = |counts: &[Values]| -> u64 { counts.iter().filter_map(|v| v.first()).flatten().sum() };
            each.sort_by_key(|(_, counts)| std::cmp::Reverse(first(counts)));
            rows.extend(each.into_iter().flat_map(|(process, counts)| self.rows_of(Some(process), counts)));
        }
        rows
    }

    /// `counts`, by processor where that is wanted.
    fn rows_of<'a>(&'a self, process: Option<&'a Process>, counts: &[Values]) -> Vec<Row<'a>> {
        let rows = |processor, values: &Values| -> Vec<Row<'a>> {
            let row = |(event, counts): (_, &[u64; 2])| Row { process, processor, event, counts: *counts };
            self.events.iter().zip(values).map(row).collect()
        };
        if self.per_vcpu {
            return counts.iter().enumerate().flat_map(|(n, values)| rows(Some(n), values)).collect();
        }
        let mut sum = vec![[0; 2]; self.events.len()];
        counts.iter().for_each(|values| add(&mut sum, values));
        rows(None, &sum)
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
        let shown = |n: usize| self.per_vcpu || self.per_process || n > 0;
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
            (r.process, r.processor) == (row.process, row.processor)
                && (r.event.user, r.event.kernel) == (row.event.user, row.event.kernel)
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

    /// Comma-separated values with a header; `processor` is a number or `all`, a count that is not modelled is empty, and so
    /// are the columns of the process in the rows of all.
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "span,number,entered,begin_ticks,end_ticks,ticks,pid,process,root,processor,event,name,encoding,validity,user,kernel\n",
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
        let process = self.process.map(Process::label);
        let processor = self.processor.map(|n| format!("vCPU {n}"));
        let who = process.into_iter().chain(processor).collect::<Vec<_>>().join(" ");
        [who, user, kernel, all, self.event.label.clone(), worth(self.event.validity).to_owned()]
    }

    fn csv(&self) -> String {
        let processor = self.processor.map_or("all".to_owned(), |n| n.to_string());
        let [user, kernel, _] = self.numbers().map(|n| n.map_or(String::new(), |n| n.to_string()));
        let Event { label, name, encoding, validity, .. } = self.event;
        let (name, bits) = (name.unwrap_or(""), encoding.bits());
        let pid = self.process.and_then(|p| p.pid).map_or(String::new(), |n| n.to_string());
        let process = quoted(self.process.and_then(|p| p.name.as_deref()).unwrap_or(""));
        let root = self.process.map_or(String::new(), |p| format!("{:#x}", p.root));
        let label = quoted(label);
        format!("{pid},{process},{root},{processor},{label},{name},{bits:#x},{},{user},{kernel}", worth(*validity))
    }
}

/// As a field of CSV.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Does any of `events` count nothing?
pub fn warning(events: &[Event]) -> Option<String> {
    let missing: Vec<&str> =
        events.iter().filter(|e| e.validity == Validity::NotModelled).map(|e| e.label.as_str()).collect();
    (!missing.is_empty()).then(|| format!("not modelled, so not counted: {}", missing.join(", ")))
}
