//! Interrupts and exceptions: from an event to the first instruction of its handler.
//!
//! [`Cpu::raise`] delivers what an instruction raised and never fails: it escalates to #DF and, at worst, shuts the
//! processor down. `boundary` takes what waits at an instruction boundary. Everything is
//! checked before anything is stored. Source: SDM vol. 3A, ch. 6 (and 6.14 for 64-bit mode), 20.2 and 20.3 (virtual-8086 mode); vol. 2,
//! INT n (the operation section, which has every error code).

use crate::alu::flag;
use crate::debug::{BTF, dr6, dr7};
use crate::fault::{Done, Exception, Stop, vector};
use crate::segment::{Descriptor, code, is_null, kind, null_segment, v86_segment};
use crate::stack::Stack;
use crate::state::{Activity, Cpu, Seg, Segment};

/// Flags that delivery through a gate clears.
const CLEARED: u64 = flag::TF | flag::NT | flag::RF | flag::VM;
/// How many exceptions may meet in one delivery: more can only be #AC upon #AC.
const MOST_NESTED: u32 = 8;

/// Something to deliver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// Which gate.
    pub vector: u8,
    /// Error code to push.
    pub error: Option<u32>,
    /// INT n, INT3 or INTO: the gate's DPL is checked, and faults have EXT clear.
    pub software: bool,
    /// Offset in CS to return to.
    pub back: u64,
    /// Is RF set in the flags pushed, as it is for faults?
    pub resume: bool,
    /// An interrupt from outside.
    pub external: bool,
}

impl Event {
    /// Exception `e` of the instruction at `back`.
    fn exception(e: Exception, back: u64) -> Event {
        let trap = matches!(e.vector, vector::DB | vector::NMI | vector::BP | vector::OF | vector::MC);
        Event { vector: e.vector, error: e.error, software: false, back, resume: !trap, external: false }
    }

    /// The EXT bit of error codes.
    pub(crate) fn ext(&self) -> u32 {
        u32::from(!self.software)
    }

    /// Error code that names this event's gate.
    fn gate_code(&self) -> u32 {
        u32::from(self.vector) * 8 + 2 + self.ext()
    }
}

/// Classes of exceptions. Source: SDM vol. 3A, table 6-4.
#[derive(PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

fn class(vector: u8) -> Class {
    match vector {
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP | vector::CP => Class::Contributory,
        vector::PF => Class::PageFault,
        vector::DF => Class::DoubleFault,
        _ => Class::Benign,
    }
}

/// What to deliver when `second` arises in the delivery of an exception with vector `first`; `None`: shut down.
/// An external or software interrupt is benign, whatever its vector. Source: SDM vol. 3A, table 6-5.
fn escalate(first: Class, second: Exception) -> Option<Exception> {
    let double = Exception::with(vector::DF, 0);
    match (first, class(second.vector)) {
        (Class::DoubleFault, Class::Contributory | Class::PageFault) => None,
        (Class::Contributory, Class::Contributory) => Some(double),
        (Class::PageFault, Class::Contributory | Class::PageFault) => Some(double),
        _ => Some(second),
    }
}

impl Cpu {
    /// Delivers exception `e`, raised by the instruction at `rip`, with all that follows from failing to.
    pub(crate) fn raise(&mut self, e: Exception) {
        tracing::trace!(vector = e.vector, error = e.error, cr2 = e.cr2, rip = self.rip, "exception");
        // What the instruction met before it faulted is met again when it is restarted.
        self.pending_debug &= dr6::BT;
        self.inhibit = 0;
        self.note(&e);
        self.deliver_or_shut_down(Event::exception(e, self.rip), class(e.vector));
    }

    /// What an exception changes before its delivery: CR2 for #PF; DR7.GD and IA32_DEBUGCTL.BTF for #DB.
    fn note(&mut self, e: &Exception) {
        if let Some(at) = e.cr2 {
            self.cr2 = at;
        }
        if e.vector == vector::DB {
            self.dr[7] &= !dr7::GD;
            self.msr.debugctl &= !BTF;
        }
    }

    /// Delivers an external interrupt or NMI at the boundary before `rip`, with all that follows from failing to.
    pub(crate) fn deliver_external(&mut self, vector: u8) {
        let event = Event { vector, error: None, software: false, back: self.rip, resume: false, external: true };
        self.deliver_or_shut_down(event, Class::Benign);
    }

    fn deliver_or_shut_down(&mut self, first: Event, first_class: Class) {
        self.pass_event();
        let (mut event, mut of, from) = (first, first_class, self.code_address(self.rip));
        for _ in 0..MOST_NESTED {
            let Err(stop) = self.deliver(&event) else {
                self.rip = self.next_rip;
                self.activity = Activity::Active;
                self.delivered(from, event.vector, first.external);
                return;
            };
            let Stop::Exception(second) = stop else { break };
            self.note(&second);
            let Some(next) = escalate(of, second) else { break };
            of = class(next.vector);
            event = Event::exception(next, self.rip);
        }
        tracing::warn!(vector = first.vector, rip = self.rip, cr2 = self.cr2, "triple fault");
        self.activity = Activity::Shutdown;
    }

    /// Delivers `event`: on success `next_rip` is the handler's first instruction.
    ///
    /// # Errors
    /// What delivery raises; then nothing was pushed and no register changed (but see `task` for task gates).
    pub(crate) fn deliver(&mut self, event: &Event) -> Done {
        if !self.protected() {
            return self.deliver_real(event);
        }
        let gate = self.interrupt_gate(event)?;
        if gate.kind() == kind::TASK {
            self.deliver_task(event, &gate)
        } else if self.long_mode() {
            self.deliver_long(event, &gate)
        } else {
            self.deliver_protected(event, &gate)
        }
    }

    /// Through the interrupt vector table at IDTR.base; error codes are not pushed.
    fn deliver_real(&mut self, event: &Event) -> Done {
        let index = u64::from(event.vector) * 4;
        if index + 3 > u64::from(self.idtr.limit) {
            return Err(Stop::gp(event.gate_code()));
        }
        let base = self.idtr.base;
        self.deliver_vector_table(event, base, self.flags())?;
        self.set_flags(self.flags() & !(flag::IF | flag::TF | flag::AC | flag::RF));
        Ok(())
    }

    /// Pushes `flags`, CS and IP and goes where the table of 4-byte vectors at `base` says.
    fn deliver_vector_table(&mut self, event: &Event, base: u64, flags: u64) -> Done {
        let entry = self.load_system(base.wrapping_add(u64::from(event.vector) * 4), 4)?;
        let mut stack = Stack::current(self);
        stack.push(2, flags)?;
        stack.push(2, u64::from(self.segment(Seg::Cs).selector))?;
        stack.push(2, event.back)?;
        stack.commit(self)?;
        self.regs[4] = stack.pointer();
        let selector = (entry >> 16) as u16;
        let cs = if self.v86() { v86_segment(selector) } else { self.real_segment(Seg::Cs, selector) };
        self.set_segment(Seg::Cs, cs);
        self.next_rip = entry & 0xffff;
        Ok(())
    }

    /// INT n in virtual-8086 mode redirected by the VME bitmap to the program's own vector table: with IOPL below 3 the
    /// program sees VIF as its IF. Source: SDM vol. 3A, 20.3.3, methods 5 and 6.
    pub(crate) fn deliver_redirected(&mut self, event: &Event) -> Done {
        let (virtual_if, stepping) = (self.iopl() < 3, self.system_flags & flag::TF != 0);
        let mut flags = self.flags();
        if virtual_if {
            flags = flags & !flag::IF | flag::IOPL | (flags & flag::VIF) >> 10;
        }
        self.deliver_vector_table(event, 0, flags)?;
        self.no_step = stepping;
        let cleared = if virtual_if { flag::VIF } else { flag::IF };
        self.set_flags(self.flags() & !(cleared | flag::TF | flag::NT | flag::RF));
        Ok(())
    }

    /// The gate for `event`, its type, privilege and presence checked.
    fn interrupt_gate(&mut self, event: &Event) -> Result<Descriptor, Stop> {
        let long = self.long_mode();
        let bytes = if long { 16 } else { 8 };
        let index = u64::from(event.vector) * bytes;
        if index + bytes - 1 > u64::from(self.idtr.limit) {
            return Err(Stop::gp(event.gate_code()));
        }
        let at = self.idtr.base.wrapping_add(index);
        let raw = self.load_system(at, 8)?;
        let high = if long { self.load_system(at.wrapping_add(8), 8)? } else { 0 };
        let gate = Descriptor { raw, high, at };
        let known = match gate.kind() {
            kind::INTERRUPT32 | kind::TRAP32 => true,
            kind::TASK | kind::INTERRUPT16 | kind::TRAP16 => !long,
            _ => false,
        };
        if !gate.is_system() || !known || event.software && gate.dpl() < self.cpl {
            return Err(Stop::gp(event.gate_code()));
        }
        if !gate.is_present() {
            return Err(Stop::np(event.gate_code()));
        }
        Ok(gate)
    }

    /// The code segment that an interrupt or trap gate leads to, and the privilege of the handler.
    fn gate_target(&mut self, gate: &Descriptor, ext: u32) -> Result<(Descriptor, u8), Stop> {
        let selector = gate.gate_selector();
        if is_null(selector) {
            return Err(Stop::gp(ext));
        }
        let d = self.descriptor(selector, ext, Stop::gp)?;
        let cpl = if d.is_conforming() { self.cpl } else { d.dpl() };
        let wrong_mode = self.long_mode() && (!d.is_long() || d.is_big());
        if !d.is_code() || d.dpl() > self.cpl || wrong_mode || self.v86() && cpl != 0 {
            return Err(Stop::gp(code(selector, ext)));
        }
        if !d.is_present() {
            return Err(Stop::np(code(selector, ext)));
        }
        Ok((d, cpl))
    }

    /// The flags as they are pushed.
    pub(crate) fn pushed_flags(&self, event: &Event) -> u64 {
        self.flags() | if event.resume { flag::RF } else { 0 }
    }

    /// Through an interrupt or trap gate of 16 or 32 bits.
    fn deliver_protected(&mut self, event: &Event, gate: &Descriptor) -> Done {
        let ext = event.ext();
        let (target, cpl) = self.gate_target(gate, ext)?;
        let wide = gate.kind() & 8 != 0;
        let (bytes, to) = if wide { (4, gate.gate_offset()) } else { (2, gate.gate_offset() & 0xffff) };
        let inward = cpl < self.cpl;
        let mut stack = if inward {
            self.inner_stack(cpl, ext)?
        } else {
            Stack::new(self, *self.segment(Seg::Ss), self.regs[4], self.stack_mask(), cpl, Stop::ss(ext))
        };
        if self.v86() {
            for s in [Seg::Gs, Seg::Fs, Seg::Ds, Seg::Es] {
                stack.push(bytes, u64::from(self.segment(s).selector))?;
            }
        }
        if inward {
            stack.push(bytes, u64::from(self.segment(Seg::Ss).selector))?;
            stack.push(bytes, self.regs[4])?;
        }
        self.push_return(&mut stack, bytes, event)?;
        if !self.can_enter(&target, to) {
            return Err(Stop::gp(ext));
        }
        self.mark_accessed(&target)?;
        stack.commit(self)?;
        if self.v86() {
            for s in [Seg::Gs, Seg::Fs, Seg::Ds, Seg::Es] {
                self.set_segment(s, null_segment(0, 0));
            }
        }
        if inward {
            self.set_segment(Seg::Ss, stack.segment());
        }
        self.enter_handler(gate, &target, cpl, stack.pointer(), to);
        Ok(())
    }

    /// Pushes flags, CS, the return address and the error code.
    fn push_return(&self, stack: &mut Stack, bytes: u32, event: &Event) -> Done {
        stack.push(bytes, self.pushed_flags(event))?;
        stack.push(bytes, u64::from(self.segment(Seg::Cs).selector))?;
        stack.push(bytes, event.back)?;
        event.error.map_or(Ok(()), |e| stack.push(bytes, u64::from(e)))
    }

    /// The last steps, which cannot fail.
    fn enter_handler(&mut self, gate: &Descriptor, target: &Descriptor, cpl: u8, pointer: u64, to: u64) {
        self.set_code(gate.gate_selector(), target, cpl);
        self.regs[4] = pointer;
        self.next_rip = to;
        let interrupt = gate.kind() & 1 == 0;
        self.set_flags(self.flags() & !(CLEARED | if interrupt { flag::IF } else { 0 }));
    }

    /// Through a gate of IA-32e mode: a stack of the interrupt stack table, of the new privilege, or the same one; it is
    /// aligned to 16 bytes and always holds SS and RSP.
    fn deliver_long(&mut self, event: &Event, gate: &Descriptor) -> Done {
        let ext = event.ext();
        let (target, cpl) = self.gate_target(gate, ext)?;
        let inward = cpl < self.cpl;
        let pointer = match gate.raw >> 32 & 7 {
            0 if inward => self.task_stack64(u64::from(cpl) * 8 + 4, ext)?,
            0 => self.regs[4],
            ist => self.task_stack64(ist * 8 + 28, ext)?,
        };
        let to = gate.gate_offset();
        if !self.canonical(to) {
            return Err(Stop::gp(ext));
        }
        let mut stack = Stack::new(self, Segment::default(), pointer & !15, u64::MAX, cpl, Stop::ss(ext));
        stack.push(8, u64::from(self.segment(Seg::Ss).selector))?;
        stack.push(8, self.regs[4])?;
        self.push_return(&mut stack, 8, event)?;
        self.mark_accessed(&target)?;
        stack.commit(self)?;
        if inward {
            self.set_segment(Seg::Ss, null_segment(u16::from(cpl), cpl));
        }
        self.enter_handler(gate, &target, cpl, stack.pointer(), to);
        Ok(())
    }

    /// INT n, INT3, INTO: traps to the instruction after this one.
    ///
    /// # Errors
    /// What delivery raises, with EXT clear.
    pub(crate) fn software_interrupt(&mut self, vector: u8) -> Done {
        let event = Event { vector, error: None, software: true, back: self.next_rip, resume: false, external: false };
        let stepping = self.system_flags & flag::TF != 0;
        self.deliver(&event)?;
        self.no_step = stepping;
        Ok(())
    }

    /// A debug exception disables architectural last branch records; the PMU does so itself where it is told of a delivery.
    /// Source: SDM vol. 3B, 20.1.4.
    fn disable_branch_records(&mut self) {
        const LBR_CTL: u32 = 0x14ce;
        if self.offered().lbr {
            self.with_doors(|doors, now| {
                if let Some(Ok(ctl)) = doors.pmu().msr_read(LBR_CTL, now) {
                    let _ = doors.pmu().msr_write(LBR_CTL, ctl & !1, now);
                }
            });
        }
    }

    /// INT1 (ICEBP): #DB without a privilege check and without a mark in DR6.
    ///
    /// # Errors
    /// What delivery raises, with EXT set.
    pub(crate) fn ice_breakpoint(&mut self) -> Done {
        let e = Exception::plain(vector::DB);
        let event = Event { back: self.next_rip, ..Event::exception(e, 0) };
        let stepping = self.system_flags & flag::TF != 0;
        self.deliver(&event)?;
        // Traps that MOV SS held back are reported by this same exception.
        let held = std::mem::take(&mut self.pending_debug);
        self.report_debug(held);
        self.note(&e);
        self.disable_branch_records();
        self.no_step = stepping;
        Ok(())
    }
}
