//! The processor as a sampling PMU sees it, between two instructions.

use crate::door::{Registers, Sampled};
use crate::state::Cpu;

impl Sampled for Cpu {
    fn registers(&self) -> Registers {
        let mut general = [0; 16];
        general.copy_from_slice(&self.regs[..16]);
        Registers { flags: self.flags(), ip: self.code_address(self.rip), general }
    }

    fn tsc(&self) -> u64 {
        self.shown_clock.max(self.counts().clock).wrapping_add(self.msr.tsc_adjust)
    }

    fn xmm(&self, n: usize) -> u128 {
        let mut low = [0; 16];
        low.copy_from_slice(&self.vec[n].0[..16]);
        u128::from_le_bytes(low)
    }

    fn read(&mut self, linear: u64, to: &mut [u8]) -> bool {
        self.load_as_system(linear, to).is_ok()
    }

    fn write(&mut self, linear: u64, from: &[u8]) -> bool {
        self.store_as_system(linear, from).is_ok()
    }
}
