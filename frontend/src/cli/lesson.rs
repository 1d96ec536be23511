//! `unhalted lesson`: runs one of the embedded lessons and compares what it counted with what one expects.

use super::{Failure, status};
use crate::load::Kind;
use crate::pc::{End, Limits, Machine, Quiet, Setup};
use crate::report;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use emu_core::Time;
use roms::Lesson;
use std::time::{Duration, Instant};

/// Run one lesson, or list them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Its name; without one, the lessons are listed
    name: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  unhalted lesson
  unhalted lesson freeze
  unhalted stat lesson rings -e instructions:u,instructions:k";

/// Memory of the machine that a lesson runs on.
const RAM_BYTES: u64 = 16 << 20;
/// A lesson that runs longer than this has gone astray.
const LIMITS: Limits = Limits { instructions: 2_000_000_000, time: Time::s(10) };

/// What came of a lesson.
pub struct Outcome {
    lesson: &'static Lesson,
    /// The numbers that it reported, in order.
    counted: Vec<(String, u64)>,
    end: End,
    /// Instructions retired on the way.
    pub instructions: u64,
    /// Host time that it took.
    pub host: Duration,
}

impl Outcome {
    /// Did the lesson report exactly what is expected, and say so itself?
    pub fn as_expected(&self) -> bool {
        let same = |((name, n), (what, m)): (&(&str, u64), &(String, u64))| name == what && n == m;
        matches!(self.end, End::Exit(1))
            && self.counted.len() == self.lesson.expected.len()
            && self.lesson.expected.iter().zip(&self.counted).all(same)
    }

    /// Title, explanation and table.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["", "expected", "counted", ""]);
        for (name, expected) in self.lesson.expected {
            let counted = self.counted.iter().find(|(what, _)| what == name).map(|(_, n)| *n);
            let verdict = if counted == Some(*expected) { "equal" } else { "DIFFERENT" };
            let counted = counted.map_or("nothing".to_owned(), report::grouped);
            table.add_row([(*name).to_owned(), report::grouped(*expected), counted, verdict.to_owned()]);
        }
        for column in table.column_iter_mut().skip(1).take(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let ended = match self.end {
            End::Exit(_) => String::new(),
            ref other => format!("\nThe lesson did not come to its end: {other:?}\n"),
        };
        let Lesson { name, title, text, .. } = self.lesson;
        format!("{title}  ({name})\n\n{}\n\n{table}\n{ended}", wrapped(text, 78))
    }
}

/// `text` in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if last.is_empty() {
            last.push_str(word);
        } else if last.len() + 1 + word.len() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

/// Runs `lesson` on a machine of its own.
///
/// # Errors
/// The host has no memory for the machine.
pub fn outcome(lesson: &'static Lesson) -> Result<Outcome, Failure> {
    let setup = Setup {
        ram_bytes: RAM_BYTES,
        processors: 1,
        quantum: super::guest::DEFAULT_QUANTUM,
        image: lesson.image,
        initrd: None,
        append: "",
        unpack: false,
        kind: Some(Kind::Rom),
        core_mhz: crate::pc::TSC_MHZ,
        limits: LIMITS,
        reboot: false,
        triple_fault_resets: false,
    };
    let mut machine = Machine::build(&setup)
        .map_err(|source| Failure::Build { path: format!("lesson {}", lesson.name).into(), source })?;
    let mut host = Quiet::default();
    let start = Instant::now();
    let end = machine.run(&mut host);
    let instructions = report::instructions(&machine.counts());
    let counted = reported(&String::from_utf8_lossy(&host.written));
    Ok(Outcome { lesson, counted, end, instructions, host: start.elapsed() })
}

/// The lines `@@ what=NAME expected=N counted=M` of a lesson's output, as (name, counted).
fn reported(output: &str) -> Vec<(String, u64)> {
    let line = |l: &str| {
        let mut words = l.trim().strip_prefix("@@ ")?.split(' ');
        let what = words.next()?.strip_prefix("what=")?.to_owned();
        words.next()?.strip_prefix("expected=")?;
        Some((what, words.next()?.strip_prefix("counted=")?.parse().ok()?))
    };
    output.lines().filter_map(line).collect()
}

/// The lessons whose name or title holds `filter`, in the order in which to read them.
pub fn list(filter: &str) -> String {
    let chosen = roms::lessons().iter().filter(|l| l.name.contains(filter) || l.title.contains(filter));
    chosen.map(|l| format!("{:<12} {}\n", l.name, l.title)).collect()
}

/// Runs the command.
///
/// # Errors
/// No such lesson; the host has no memory for the machine.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let Some(name) = &args.name else {
        print!("{}", list(""));
        return Ok(0);
    };
    let lesson = super::guest::lesson(name)?;
    let outcome = outcome(lesson)?;
    print!("{}", outcome.text());
    Ok(if outcome.as_expected() { 0 } else { status::DIFFERENT })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_lesson_are_read_and_others_are_not() {
        let output = "hello\r\n@@ what=branches expected=10 counted=11\r\n@@ what=x expected=y\n@@ END\n";
        assert_eq!(reported(output), [("branches".to_owned(), 11)]);
    }

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrapped("a bb  ccc d", 6), "a bb\nccc d");
        assert_eq!(wrapped("abcdefgh i", 3), "abcdefgh\ni");
    }

    #[test]
    fn every_lesson_counts_what_is_expected() {
        for lesson in roms::lessons() {
            let outcome = outcome(lesson).unwrap();
            assert!(outcome.as_expected(), "{}", outcome.text());
        }
    }
}
