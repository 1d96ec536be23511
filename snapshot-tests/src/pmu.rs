//! A PMU as text for snapshots: what it is in the header, then a line a number, sorted by key.

use cpu_x86::Ring;
use pmu_model::catalog::{EVENTS, SLOTS_PER_CYCLE, Validity};
use pmu_model::{Now, Unit};

/// Registers that say how the unit is programmed: number, name, how many there are.
const REGISTERS: [(u32, &str, u32); 5] = [
    (0x186, "PERFEVTSEL", 8),
    (0x38d, "FIXED_CTR_CTRL", 1),
    (0x38e, "PERF_GLOBAL_STATUS", 1),
    (0x38f, "PERF_GLOBAL_CTRL", 1),
    (0x329, "PERF_METRICS", 1),
];

/// Asserts that a unit at an instruction boundary is as the snapshot of this name says: counters, registers, and every event
/// of the catalog by ring. Parameters of the run, if any, stand in the header, so that a snapshot says what it is of.
///
/// A unit needs no processor: what retired and what a model observed are numbers that a test writes by hand.
///
/// ```
/// use cpu_x86::Counts;
/// use pmu_model::signal::{Signal, Signals};
/// use pmu_model::{Now, Profile, Unit};
///
/// let mut unit = Unit::new(Profile::SAPPHIRE_RAPIDS);
/// let (mut counts, mut signals) = (Counts::default(), Signals::default());
///
/// // Counter 0 counts the loads of user programs (D0h/81h). The WRMSR retires, and the unit is told.
/// let now = Now { counts: &counts, signals: Some(&signals) };
/// unit.msr_write(0x186, 0x41_81d0, now).expect("a register of the unit").expect("a legal value");
/// counts.kernel.instructions += 1;
/// counts.pass(1);
/// unit.settle(Now { counts: &counts, signals: Some(&signals) });
///
/// // A user program of ten instructions, of which three load.
/// counts.user.instructions += 10;
/// counts.pass(10);
/// signals.user[Signal::Loads] += 3;
///
/// let now = Now { counts: &counts, signals: Some(&signals) };
/// # let assert_it = |unit: &Unit, now: Now<'_>| {
/// snapshot_tests::assert_pmu_snapshot!("three_loads", unit, now, "guest" => "by hand", "loads" => 3);
/// # };
/// // What the snapshot holds:
/// let text = snapshot_tests::pmu::text(&unit, now, &[("guest", "by hand".to_owned())]);
/// assert!(text.starts_with("# model: Sapphire Rapids (6/8Fh/8), PMU version 5\n"));
/// assert!(text.contains("# guest: by hand\n"));
/// assert!(text.contains("counter.general.0 MEM_INST_RETIRED.ALL_LOADS = 3\n"));
/// assert!(text.contains("event.INST_RETIRED.ANY_P:user = 10\n"));
/// ```
#[macro_export]
macro_rules! assert_pmu_snapshot {
    ($name:expr, $unit:expr, $now:expr $(, $key:expr => $value:expr)* $(,)?) => {{
        let counted = $crate::pmu::text(&$unit, $now, &[$(($key, ::std::string::ToString::to_string(&$value))),*]);
        $crate::insta::assert_snapshot!($name, counted)
    }};
}

/// The text of a snapshot. Numbers are integers; those that are 0, and events that are not modelled, have no line.
pub fn text<'a>(unit: &Unit, now: impl Into<Now<'a>>, parameters: &[(&str, String)]) -> String {
    let now = now.into();
    let mut lines: Vec<(String, u64)> = counters(unit, now);
    lines.extend(registers(unit, now));
    lines.extend(events(now));
    lines.retain(|(_, n)| *n != 0);
    lines.sort();
    let lines = lines.into_iter().map(|(key, n)| format!("{key} = {n}\n"));
    header(unit, now, parameters).into_iter().map(|line| format!("# {line}\n")).chain(lines).collect()
}

/// What was measured, by what, with which parameters (sorted by key).
fn header(unit: &Unit, now: Now<'_>, parameters: &[(&str, String)]) -> Vec<String> {
    let profile = unit.profile();
    let mut given: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    given.sort();
    let mut lines = vec![
        "model: Sapphire Rapids (6/8Fh/8), PMU version 5".to_owned(),
        format!("timing: atomic, 1 instruction a cycle, {SLOTS_PER_CYCLE} slots a cycle"),
        format!("capabilities: {:#x}", profile.capabilities),
        format!("constrained counters: {}", profile.constrained),
        format!("observed: {}", now.signals.is_some()),
    ];
    lines.append(&mut given);
    lines
}

fn counters(unit: &Unit, now: Now<'_>) -> Vec<(String, u64)> {
    let key = |selector: u32| match selector >> 30 {
        0 => format!("counter.general.{selector}"),
        _ => format!("counter.fixed.{}", selector & 0xffff),
    };
    let line = |v: pmu_model::View| (format!("{} {}", key(v.selector), v.event.unwrap_or("unnamed")), v.value);
    unit.views(now).into_iter().map(line).collect()
}

fn registers(unit: &Unit, now: Now<'_>) -> Vec<(String, u64)> {
    let mut unit = unit.clone();
    let all =
        REGISTERS.into_iter().flat_map(|(first, name, count)| (0..count).map(move |n| (first + n, name, n, count)));
    let read = all.filter_map(|(number, name, n, count)| {
        let v = unit.msr_read(number, now)?.ok()?;
        Some((if count > 1 { format!("register.{name}{n}") } else { format!("register.{name}") }, v))
    });
    read.collect()
}

fn events(now: Now<'_>) -> Vec<(String, u64)> {
    let mut lines = Vec::new();
    for e in EVENTS.iter().filter(|e| e.validity != Validity::NotModelled) {
        for (ring, name) in [(Ring::Kernel, "kernel"), (Ring::User, "user")] {
            lines.push((format!("event.{}:{name}", e.name), e.count(now, ring).unwrap_or(0)));
        }
    }
    lines
}
