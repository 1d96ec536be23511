//! Task state segments: the stacks they hold, and task switches.
//!
//! Up to the point where the new task register is loaded a fault belongs to the old task and nothing has changed; after
//! it, to the new one, whose state then stands in the registers. Source: SDM vol. 3A, ch. 8 (8.3 for the order of
//! steps), 8.7 (64-bit mode).

use crate::alu::flag;
use crate::debug::{dr6, dr7};
use crate::deliver::Event;
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::segment::{Descriptor, code, is_null, kind, null_segment, v86_segment};
use crate::stack::Stack;
use crate::state::{Cpu, Seg, Segment, cr0};

/// Why tasks are switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// JMP: the old task ends.
    Jump,
    /// CALL, interrupt or exception: the old task stays busy and is linked to.
    Call,
    /// IRET with NT: back to the task linked to.
    Return,
}

/// Where the state saved by a switch lies in a TSS.
struct Layout {
    bytes: u32,
    ip: u64,
    flags: u64,
    regs: u64,
    segments: u64,
    segment_count: usize,
    ldt: u64,
    smallest_limit: u32,
}

/// Source: SDM vol. 3A, figures 8-10 and 8-2.
const LAYOUT16: Layout =
    Layout { bytes: 2, ip: 14, flags: 16, regs: 18, segments: 34, segment_count: 4, ldt: 42, smallest_limit: 0x2b };
const LAYOUT32: Layout =
    Layout { bytes: 4, ip: 32, flags: 36, regs: 40, segments: 72, segment_count: 6, ldt: 96, smallest_limit: 0x67 };
const CR3: u64 = 28;
const TRAP: u64 = 100;
const SEGMENTS: [Seg; 6] = [Seg::Es, Seg::Cs, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs];

/// What a TSS says of the task to come.
#[derive(Default)]
struct State {
    cr3: Option<u64>,
    ip: u64,
    flags: u64,
    regs: [u64; 8],
    selectors: [u16; 6],
    ldt: u16,
    trap: bool,
}

fn layout(kind: u8) -> &'static Layout {
    if kind & 8 != 0 { &LAYOUT32 } else { &LAYOUT16 }
}

impl Cpu {
    /// The stack that the current TSS holds for privilege `cpl`, outside IA-32e mode.
    ///
    /// # Errors
    /// #TS with the task register's selector or that of the stack; #SS(selector) when it is not present; #PF.
    pub(crate) fn inner_stack(&mut self, cpl: u8, ext: u32) -> Result<Stack, Stop> {
        let bytes = if self.tr.kind() & 8 != 0 { 4 } else { 2 };
        let at = u64::from(bytes) * (2 * u64::from(cpl) + 1);
        if at + u64::from(bytes) + 1 > u64::from(self.tr.limit) {
            return Err(Stop::ts(code(self.tr.selector, ext)));
        }
        let at = self.tr.base.wrapping_add(at);
        let pointer = self.load_system(at, bytes)?;
        let selector = self.load_system(at.wrapping_add(u64::from(bytes)), 2)? as u16;
        let ss = self.checked_stack(selector, cpl, ext, Stop::ts)?;
        Ok(Stack::inner(self, ss, pointer, cpl, Stop::ss(code(selector, ext))))
    }

    /// The stack pointer at `offset` in the 64-bit TSS: RSP0 to RSP2 or IST1 to IST7.
    ///
    /// # Errors
    /// #TS with the task register's selector; #SS when it is not canonical; #PF.
    pub(crate) fn task_stack64(&mut self, offset: u64, ext: u32) -> Result<u64, Stop> {
        if offset + 7 > u64::from(self.tr.limit) {
            return Err(Stop::ts(code(self.tr.selector, ext)));
        }
        let pointer = self.load_system(self.tr.base.wrapping_add(offset), 8)?;
        if self.canonical(pointer) { Ok(pointer) } else { Err(Stop::ss(ext)) }
    }

    /// Is software interrupt `vector` left to the 8086 program by the redirection bitmap, which lies below the I/O
    /// permission map? Source: SDM vol. 3A, 20.3.3.
    ///
    /// # Errors
    /// #GP(0) when the bitmap is beyond the TSS; #PF.
    pub(crate) fn is_redirected(&mut self, vector: u8) -> Result<bool, Stop> {
        if self.tr.limit < 0x67 {
            return Err(Stop::gp(0));
        }
        let map = self.load_system(self.tr.base.wrapping_add(102), 2)?;
        let at = map.wrapping_sub(32).wrapping_add(u64::from(vector / 8));
        if map < 32 || at > u64::from(self.tr.limit) {
            return Err(Stop::gp(0));
        }
        let byte = self.load_system(self.tr.base.wrapping_add(at), 1)?;
        Ok(byte >> (vector % 8) & 1 == 0)
    }

    /// Delivers `event` through a task gate.
    pub(crate) fn deliver_task(&mut self, event: &Event, gate: &Descriptor) -> Done {
        let ext = event.ext();
        let flags = self.pushed_flags(event);
        self.switch_through(gate.gate_selector(), Cause::Call, ext, event.back, flags)?;
        let Some(error) = event.error else { return Ok(()) };
        let mut stack =
            Stack::new(self, *self.segment(Seg::Ss), self.regs[4], self.stack_mask(), self.cpl, Stop::ss(ext));
        stack.push(layout(self.tr.kind()).bytes, u64::from(error))?;
        stack.commit(self)?;
        self.regs[4] = stack.pointer();
        Ok(())
    }

    /// Switches to the task that a task gate names.
    ///
    /// # Errors
    /// #GP with the TSS selector if it is not an available TSS of the GDT; #NP; those of [`Cpu::switch_task`].
    pub(crate) fn switch_through(&mut self, tss: u16, cause: Cause, ext: u32, back: u64, flags: u64) -> Done {
        if tss & 4 != 0 {
            return Err(Stop::gp(code(tss, ext)));
        }
        let d = self.descriptor(tss, ext, Stop::gp)?;
        if !d.is_system() || !matches!(d.kind(), kind::TSS16 | kind::TSS32) {
            return Err(Stop::gp(code(tss, ext)));
        }
        self.switch_task(tss, &d, cause, ext, back, flags)
    }

    /// IRET with NT set: back to the task that the current one links to.
    ///
    /// # Errors
    /// #TS with the link if it is not a busy TSS of the GDT; those of [`Cpu::switch_task`].
    pub(crate) fn return_to_task(&mut self) -> Done {
        let link = self.load_system(self.tr.base, 2)? as u16;
        if link & 4 != 0 {
            return Err(Stop::ts(code(link, 0)));
        }
        let d = self.descriptor(link, 0, Stop::ts)?;
        if !d.is_system() || !matches!(d.kind(), kind::TSS16_BUSY | kind::TSS32_BUSY) {
            return Err(Stop::ts(code(link, 0)));
        }
        let (back, flags) = (self.next_rip, self.flags());
        self.switch_task(link, &d, Cause::Return, 0, back, flags)
    }

    /// Switches to the task whose TSS descriptor is `d`; its type was checked. `back` and `flags` are saved for the old
    /// task.
    ///
    /// # Errors
    /// #NP or #TS with the new TSS selector, #PF: in the old task. #TS, #NP, #SS, #GP: in the new one.
    pub(crate) fn switch_task(
        &mut self,
        tss: u16,
        d: &Descriptor,
        cause: Cause,
        ext: u32,
        back: u64,
        flags: u64,
    ) -> Done {
        let to = layout(d.kind());
        if !d.is_present() {
            return Err(Stop::np(code(tss, ext)));
        }
        if d.limit() < to.smallest_limit {
            return Err(Stop::ts(code(tss, ext)));
        }
        let mut state = self.load_task(d.base(), to)?;
        self.as_privilege(0, |cpu| {
            cpu.probe(cpu.tr.base, layout(cpu.tr.kind()).smallest_limit + 1, Access::Write)?;
            cpu.probe(d.base(), to.smallest_limit + 1, Access::Write)?;
            cpu.probe(d.at, 8, Access::Write)
        })?;
        let saved = if cause == Cause::Return { flags & !flag::NT } else { flags };
        self.save_task(back, saved)?;
        if cause != Cause::Call {
            self.set_busy(self.gdt_entry(self.tr.selector), false)?;
        }
        if cause == Cause::Call {
            self.store_system(d.base(), 2, u64::from(self.tr.selector))?;
            state.flags |= flag::NT;
        }
        if cause != Cause::Return {
            self.set_busy(d.at, true)?;
        }
        self.tr = d.segment(tss);
        self.tr.attr |= u32::from(kind::BUSY);
        self.enter_task(&state, ext)
    }

    /// Linear address of entry `selector` of the GDT.
    fn gdt_entry(&self, selector: u16) -> u64 {
        self.gdtr.base.wrapping_add(u64::from(selector & 0xfff8)) & 0xffff_ffff
    }

    /// Sets or clears the busy bit of the TSS descriptor at `at`.
    fn set_busy(&mut self, at: u64, busy: bool) -> Done {
        let at = at.wrapping_add(5);
        let rights = self.load_system(at, 1)?;
        let bit = u64::from(kind::BUSY);
        self.store_system(at, 1, if busy { rights | bit } else { rights & !bit })
    }

    /// Saves the registers in the current TSS; its pages were probed.
    fn save_task(&mut self, back: u64, flags: u64) -> Done {
        let (base, to) = (self.tr.base, layout(self.tr.kind()));
        self.store_system(base.wrapping_add(to.ip), to.bytes, back)?;
        self.store_system(base.wrapping_add(to.flags), to.bytes, flags)?;
        for n in 0..8 {
            let at = base.wrapping_add(to.regs + u64::from(to.bytes) * n as u64);
            self.store_system(at, to.bytes, self.regs[n])?;
        }
        for (n, &s) in SEGMENTS[..to.segment_count].iter().enumerate() {
            let at = base.wrapping_add(to.segments + u64::from(to.bytes) * n as u64);
            self.store_system(at, 2, u64::from(self.segment(s).selector))?;
        }
        Ok(())
    }

    /// Reads the TSS at `base`.
    fn load_task(&mut self, base: u64, from: &Layout) -> Result<State, Stop> {
        let mut state = State { ip: self.load_system(base.wrapping_add(from.ip), from.bytes)?, ..State::default() };
        state.flags = self.load_system(base.wrapping_add(from.flags), from.bytes)?;
        for (n, reg) in state.regs.iter_mut().enumerate() {
            *reg = self.load_system(base.wrapping_add(from.regs + u64::from(from.bytes) * n as u64), from.bytes)?;
        }
        for (n, selector) in state.selectors[..from.segment_count].iter_mut().enumerate() {
            let at = base.wrapping_add(from.segments + u64::from(from.bytes) * n as u64);
            *selector = self.load_system(at, 2)? as u16;
        }
        state.ldt = self.load_system(base.wrapping_add(from.ldt), 2)? as u16;
        if from.bytes == 4 {
            state.cr3 = Some(self.load_system(base.wrapping_add(CR3), 4)?);
            state.trap = self.load_system(base.wrapping_add(TRAP), 2)? & 1 != 0;
        }
        Ok(state)
    }

    /// Loads the new task's registers, then checks and loads its segments.
    fn enter_task(&mut self, state: &State, ext: u32) -> Done {
        if let (Some(cr3), true) = (state.cr3, self.cr0 & cr0::PG != 0) {
            self.switch_cr3(cr3, code(self.tr.selector, ext))?;
        }
        self.cr0 |= cr0::TS;
        self.dr[7] &= !dr7::LOCAL;
        self.rip = state.ip;
        self.next_rip = state.ip;
        self.regs[..8].copy_from_slice(&state.regs);
        let known = flag::STATUS | 0x3f_7700;
        self.set_flags(state.flags & known);
        if state.trap {
            self.pending_debug |= dr6::BT;
        }
        if self.v86() {
            self.ldtr = null_segment(state.ldt, 0);
            for (&s, &selector) in SEGMENTS.iter().zip(&state.selectors) {
                self.set_segment(s, v86_segment(selector));
            }
            self.set_cpl(3);
            return self.load_task_ldtr(state.ldt, ext);
        }
        self.set_cpl(state.selectors[Seg::Cs as usize] as u8);
        for (&s, &selector) in SEGMENTS.iter().zip(&state.selectors) {
            self.set_segment(s, null_segment(selector, 0));
        }
        self.load_task_ldtr(state.ldt, ext)?;
        self.load_task_segments(state, ext)
    }

    fn load_task_ldtr(&mut self, selector: u16, ext: u32) -> Done {
        self.ldtr = null_segment(selector, 0);
        if is_null(selector) {
            return Ok(());
        }
        let fault = Stop::ts(code(selector, ext));
        if selector & 4 != 0 {
            return Err(fault);
        }
        let d = self.descriptor(selector, ext, Stop::ts)?;
        if !d.is_system() || d.kind() != kind::LDT || !d.is_present() {
            return Err(fault);
        }
        self.ldtr = d.segment(selector);
        Ok(())
    }

    fn load_task_segments(&mut self, state: &State, ext: u32) -> Done {
        let selector = state.selectors[Seg::Cs as usize];
        let d = self.descriptor(selector, ext, Stop::ts)?;
        let privileged = if d.is_conforming() { d.dpl() <= self.cpl } else { d.dpl() == self.cpl };
        if !d.is_code() || !privileged {
            return Err(Stop::ts(code(selector, ext)));
        }
        if !d.is_present() {
            return Err(Stop::np(code(selector, ext)));
        }
        let ss = self.checked_stack(state.selectors[Seg::Ss as usize], self.cpl, ext, Stop::ts)?;
        self.mark_accessed(&d)?;
        self.set_code(selector, &d, self.cpl);
        self.set_segment(Seg::Ss, ss);
        for s in [Seg::Ds, Seg::Es, Seg::Fs, Seg::Gs] {
            let to = self.checked_data(state.selectors[s as usize], Stop::ts)?;
            self.set_segment(s, to);
        }
        if state.ip > u64::from(d.limit()) { Err(Stop::gp(ext)) } else { Ok(()) }
    }
}

/// The register that a 16-bit TSS does not have keeps nothing: FS and GS are null after a switch to one.
const _: () = assert!(LAYOUT16.segment_count == 4 && Segment::UNUSABLE == 1 << 16);
