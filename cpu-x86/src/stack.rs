//! A stack being pushed to or popped from: nothing is stored, and no register moves, before all of it is known to work.

use crate::fault::{Done, Stop};
use crate::paging::canonical_in;
use crate::state::{Cpu, Seg, Segment};

/// What most deliveries push at most: SS, ESP, EFLAGS, CS, EIP, error code. From virtual-8086 mode four segments more; a
/// call gate copies up to 31 parameters.
const FEW: usize = 8;

/// The pushes and pops of one instruction or delivery.
pub(crate) struct Stack {
    ss: Segment,
    /// Which bits of the pointer move: those of SP, ESP or RSP.
    mask: u64,
    pointer: u64,
    /// Privilege that the accesses have.
    cpl: u8,
    /// What a push outside the segment raises.
    fault: Stop,
    /// CR4.LA57: how many bits a canonical address has.
    la57: bool,
    writes: [(u64, u64); FEW],
    count: usize,
    /// All of them, once they are more than a few.
    many: Vec<(u64, u64)>,
    bytes: u32,
}

impl Stack {
    /// The stack that is in use.
    pub fn current(cpu: &Cpu) -> Stack {
        Stack::new(cpu, *cpu.segment(Seg::Ss), cpu.regs[4], cpu.stack_mask(), cpu.cpl, Stop::ss(0))
    }

    /// Another stack: `mask` is all ones for a 64-bit one.
    pub fn new(cpu: &Cpu, ss: Segment, pointer: u64, mask: u64, cpl: u8, fault: Stop) -> Stack {
        Stack {
            ss,
            mask,
            pointer,
            cpl,
            fault,
            la57: cpu.la57(),
            writes: [(0, 0); FEW],
            count: 0,
            many: Vec::new(),
            bytes: 0,
        }
    }

    /// The stack at `pointer` in segment `ss` outside 64-bit mode.
    pub fn inner(cpu: &Cpu, ss: Segment, pointer: u64, cpl: u8, fault: Stop) -> Stack {
        let mask = if ss.attr & Segment::DB != 0 { 0xffff_ffff } else { 0xffff };
        Stack::new(cpu, ss, pointer, mask, cpl, fault)
    }

    /// What RSP becomes: SP keeps the bits above it, ESP clears them.
    pub fn pointer(&self) -> u64 {
        if self.mask == 0xffff_ffff { self.pointer & self.mask } else { self.pointer }
    }

    /// The segment it is in.
    pub fn segment(&self) -> Segment {
        self.ss
    }

    /// Moves the pointer by `by` bytes.
    pub fn skip(&mut self, by: u64) {
        self.pointer = self.pointer & !self.mask | self.pointer.wrapping_add(by) & self.mask;
    }

    /// Linear address of `bytes` at the pointer.
    fn linear(&self, bytes: u32) -> Result<u64, Stop> {
        let (offset, last) = (self.pointer & self.mask, u64::from(bytes - 1));
        let end = offset.wrapping_add(last);
        if self.mask == u64::MAX {
            let reachable = canonical_in(offset, self.la57) && canonical_in(end, self.la57);
            return if reachable { Ok(offset) } else { Err(self.fault) };
        }
        let top = if self.ss.attr & Segment::DB != 0 { 0xffff_ffff } else { 0xffff };
        let inside = if self.ss.kind() & 12 == 4 {
            offset > u64::from(self.ss.limit) && end <= top
        } else {
            end <= u64::from(self.ss.limit)
        };
        if !inside || self.ss.attr & Segment::UNUSABLE != 0 {
            return Err(self.fault);
        }
        Ok(self.ss.base.wrapping_add(offset) & 0xffff_ffff)
    }

    /// Pushes `bytes` of `v`; stored by [`Stack::commit`].
    ///
    /// # Errors
    /// #SS with the error code given when it does not fit.
    pub fn push(&mut self, bytes: u32, v: u64) -> Done {
        self.skip(u64::from(bytes).wrapping_neg());
        let at = self.linear(bytes)?;
        self.bytes = bytes;
        if let Some(slot) = self.writes.get_mut(self.count) {
            *slot = (at, v);
            self.count += 1;
        } else {
            if self.many.is_empty() {
                self.many.extend(self.writes);
            }
            self.many.push((at, v));
        }
        Ok(())
    }

    /// Pops `bytes`, zero-extended.
    ///
    /// # Errors
    /// #SS, #AC, #PF.
    pub fn pop(&mut self, cpu: &mut Cpu, bytes: u32) -> Result<u64, Stop> {
        let at = self.linear(bytes)?;
        let v = cpu.as_privilege(self.cpl, |cpu| cpu.load(at, bytes))?;
        self.skip(u64::from(bytes));
        Ok(v)
    }

    /// Stores what was pushed: all of it or nothing. The stack pointer register is the caller's to set.
    ///
    /// # Errors
    /// #AC, #PF.
    pub fn commit(&self, cpu: &mut Cpu) -> Done {
        cpu.as_privilege(self.cpl, |cpu| self.store(cpu))
    }

    fn store(&self, cpu: &mut Cpu) -> Done {
        let writes = if self.many.is_empty() { &self.writes[..self.count] } else { &self.many };
        for &(at, _) in writes {
            cpu.check_alignment(at, self.bytes)?;
        }
        let bytes = self.bytes as usize;
        let joined = writes.windows(2).all(|w| w[0].0.wrapping_sub(w[1].0) == bytes as u64);
        if let (true, true, Some(&(lowest, _))) = (joined, writes.len() <= FEW, writes.last()) {
            let mut image = [0; 8 * FEW];
            for (to, (_, v)) in image.chunks_exact_mut(bytes).zip(writes.iter().rev()) {
                to.copy_from_slice(&v.to_le_bytes()[..bytes]);
            }
            if cpu.store_bytes(lowest, &image[..bytes * writes.len()]).is_ok() {
                return Ok(());
            }
            // Nothing was stored: what follows finds the first push that faults, whose address CR2 gets.
        }
        for &(at, _) in writes {
            cpu.probe(at, self.bytes, crate::Access::Write)?;
        }
        writes.iter().try_for_each(|&(at, v)| cpu.store(at, self.bytes, v))
    }
}

impl Cpu {
    /// Runs `f` with the memory privilege of `cpl`.
    pub(crate) fn as_privilege<T>(&mut self, cpl: u8, f: impl FnOnce(&mut Cpu) -> T) -> T {
        let own = self.cpl;
        if own == cpl {
            return f(self);
        }
        self.set_cpl(cpl);
        let r = f(self);
        self.set_cpl(own);
        r
    }

    /// Sets the part of RSP that the current stack uses: SP keeps the rest, ESP clears it.
    pub(crate) fn set_stack_pointer(&mut self, v: u64) {
        self.regs[4] = match self.stack_mask() {
            0xffff => self.regs[4] & !0xffff | v & 0xffff,
            mask => v & mask,
        };
    }
}
