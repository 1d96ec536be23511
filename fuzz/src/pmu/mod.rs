//! The PMU: a guest that misuses it in every way, with what the manual says of each step.
//!
//! A guest is a list of steps made from the input ([`guest`]): WRMSR, RDMSR and RDPMC of anything from any ring, counters
//! that overflow at once, PEBS into any memory, LBRs in and out of XSAVE areas, interrupts and NMIs that a handler brings
//! about again. Whatever it does, the processor goes on until its time is over. As long as it does not overwrite itself,
//! each step faults exactly where [`law`] says so, and the end does not depend on how the run was cut.

mod code;
mod guest;
mod law;
mod machine;
mod place;

use guest::{Guest, Step, guest};
pub use law::MSRS;
use law::State;
use machine::{After, Machine};

/// Runs the guest that `data` stands for. Returns how many of its steps were held to the law.
///
/// # Panics
/// When a step does not end as it should, or the machine is not sound: that is what the fuzzer looks for.
pub fn check(data: &[u8]) -> usize {
    let guest = guest(data);
    let whole = Machine::new(&guest).run(u64::MAX / 2);
    whole.check_registers(&guest);
    if guest.wild {
        return 0;
    }
    let steps = check_log(&guest, &whole);
    if guest.is_exact() {
        let cut = Machine::new(&guest).run(7);
        assert!(whole.same(&cut), "cut:\n{}\nwhole:\n{}\n{:x?}", cut.text(), whole.text(), guest.steps);
    }
    steps
}

impl Guest {
    /// Is every event that it programs one whose overflow is seen at its instruction? Those of microcode and strings
    /// may be seen late, when the processor is next looked at.
    fn is_exact(&self) -> bool {
        let firm = |select: u64| {
            let formula = pmu_model::catalog::programmed(select, &Default::default()).formula;
            formula.is_none_or(|f| f.most().firm) && !matches!(select & 0xffff, 0x12a | 0x12b | 0x1cd)
        };
        self.selects.iter().all(|s| firm(*s))
    }
}

/// Each step ended as the law says; those behind the last one that began have not run. Returns how many ran.
fn check_log(guest: &Guest, after: &After) -> usize {
    let mut state = State::default();
    let ran = after.log.iter().take_while(|l| **l != 0).count();
    assert!(after.log[ran..].iter().all(|l| *l == 0));
    for (n, (&(step, ring), &log)) in guest.steps.iter().zip(&after.log).enumerate().take(ran) {
        let refused = 0x80 | 13;
        let want = |allowed: bool| if allowed { 1 } else { refused };
        let what = || format!("step {n} {step:x?} in ring {ring}\n{:x?}", guest.steps);
        match step {
            Step::Write(msr, v) => {
                let mut after = state;
                assert_eq!(log, want(ring == 0 && law::writes(msr, v, &mut after)), "{}", what());
                state = if log == 1 { after } else { state };
            }
            Step::Read(msr) => {
                assert_eq!(log, want(ring == 0 && law::reads(msr, state)), "{}", what());
                let shown = if log == 1 { after.results[n] } else { 0 };
                assert_eq!(shown & !law::shows(msr, state), 0, "{shown:x} {}", what());
            }
            Step::Rdpmc(ecx) => {
                assert_eq!(log, want(law::rdpmc(ecx, ring, guest.pce)), "{}", what());
                let most = if ecx == 1 << 29 { u64::MAX } else { 0xffff_ffff_ffff };
                assert!(log != 1 || after.results[n] <= most, "{}", what());
            }
            Step::Sound => assert_eq!(log, 1, "{}", what()),
            Step::Any => assert!(matches!(log, 1 | 0x80..0xa0), "{}", what()),
        }
    }
    ran
}
