//! The general way: one instruction at a time, by its meaning; and what comes of an instruction that stopped.

use super::op::lane;
use super::run::Missing;
use super::translate::{self, is_branch, is_conditional};
use crate::alu::flag;
use crate::exec;
use crate::fault::{Done, Stop};
use crate::state::{Cpu, cell};

/// Cycles that 2^20 elements of a repeated instruction take: 32 a cycle. Source: spec/timing.md 3.10.
const REPETITION_CYCLES: u64 = 1 << 15;

impl Cpu {
    /// Runs the one instruction at `rip` the general way.
    pub(super) fn general(&mut self) -> Result<(), Box<Missing>> {
        let i = match self.fetch_within_code() {
            Ok(i) => i,
            Err(stop) => return self.stopped(stop),
        };
        self.next_rip = self.rip.wrapping_add(i.len() as u64) & self.code_frame().1;
        self.regs[cell::PAGE] = self.code_address(self.rip) & !0xfff;
        let facts =
            1 << lane::INSTRUCTIONS | i64::from(is_branch(&i)) << lane::BRANCHES | i64::from(is_conditional(&i));
        self.hot.countdown += facts;
        if self.hot.watched {
            let page = self.fetch_page(self.code_address(self.rip));
            self.engine.alone = true;
            self.tell_single(&i, page.unwrap_or(0));
        }
        let done: Done = match exec::lookup(&i) {
            Some(meaning) => (meaning.run)(self, &i),
            None => translate::without_meaning(self, &i),
        };
        self.engine.alone = false;
        match done {
            Ok(()) => {
                self.rip = self.next_rip;
                Ok(())
            }
            Err(stop) => {
                self.hot.countdown -= facts;
                self.tell_cut(0);
                self.stopped(stop)
            }
        }
    }

    /// An instruction at `rip` stopped: delivers its exception, or reports what is missing.
    pub(super) fn stopped(&mut self, stop: Stop) -> Result<(), Box<Missing>> {
        match stop {
            Stop::Again => self.pass_repetition(),
            Stop::Exception(e) => {
                self.raise(e);
            }
            Stop::Unimplemented => return Err(self.missing()),
        }
        Ok(())
    }

    /// An event is about to be delivered. When nothing has retired since the last one, a cycle must have passed: no guest
    /// whose handlers fault, begin at a breakpoint or are interrupted at once can hold back its timers, or the end of
    /// the window.
    pub(crate) fn pass_event(&mut self) {
        self.settle();
        let retired = self.settled.kernel.instructions + self.settled.user.instructions;
        if std::mem::replace(&mut self.engine.retired_at_event, retired) == retired {
            self.pass_idly(1);
            self.engine.look = true;
        }
    }

    /// A repeated instruction stopped to be resumed. It has not retired, but unless it was TF or a data breakpoint that stopped it, it has done
    /// so much that time must have passed: no guest can hold back its timers, or the end of the window.
    /// RF says that its breakpoint is past. Source: SDM vol. 3B, 18.3.1.1.
    fn pass_repetition(&mut self) {
        self.system_flags |= flag::RF;
        if self.system_flags & flag::TF == 0 && self.pending_debug == 0 {
            self.settle();
            self.pass_idly(REPETITION_CYCLES);
            self.engine.look = true;
        }
    }

    fn missing(&mut self) -> Box<Missing> {
        let linear = self.code_address(self.rip);
        let (mut what, mut bytes) = ("code outside memory".to_owned(), Vec::new());
        if let Ok(i) = self.fetch_instruction() {
            what = format!("{:?}", i.code());
            let mut b = [0; 15];
            let n = (i.len()).clamp(1, 15);
            if self.load_bytes(linear, &mut b[..n]).is_ok() {
                bytes = b[..n].to_vec();
            }
        }
        Box::new(Missing { what, rip: self.rip, linear, bytes })
    }
}
