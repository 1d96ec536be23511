//! Segment descriptors, and the loading of segment registers with all its checks.
//!
//! Every check takes the fault to raise, for a task switch raises #TS where an instruction raises #GP; `ext` is the EXT
//! bit of the error code. Source: SDM vol. 3A, 3.4.5 (descriptors), 5.4 to 5.10 (checks), 3.5.2 (64-bit mode).

use crate::alu::flag;
use crate::fault::{Done, Stop};
use crate::paging::storable;
use crate::state::{Cpu, Seg, Segment};

/// Which exception a failed check raises, given its error code.
pub(crate) type Fault = fn(u32) -> Stop;

/// System descriptor types. Source: SDM vol. 3A, table 3-2.
pub(crate) mod kind {
    pub const TSS16: u8 = 1;
    pub const LDT: u8 = 2;
    pub const TSS16_BUSY: u8 = 3;
    pub const CALL16: u8 = 4;
    pub const TASK: u8 = 5;
    pub const INTERRUPT16: u8 = 6;
    pub const TRAP16: u8 = 7;
    pub const TSS32: u8 = 9;
    pub const TSS32_BUSY: u8 = 11;
    pub const CALL32: u8 = 12;
    pub const INTERRUPT32: u8 = 14;
    pub const TRAP32: u8 = 15;
    /// The bit that makes an available TSS a busy one.
    pub const BUSY: u8 = 2;
}

/// Error code that names `selector`: index and TI, and the EXT bit.
pub(crate) const fn code(selector: u16, ext: u32) -> u32 {
    selector as u32 & 0xfffc | ext
}

/// Is `selector` null (index 0 of the GDT, any RPL)?
pub(crate) const fn is_null(selector: u16) -> bool {
    selector & 0xfffc == 0
}

/// A descriptor as it stands in a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    /// Its first eight bytes.
    pub raw: u64,
    /// The next eight, for the sixteen-byte ones of IA-32e mode; else zero.
    pub high: u64,
    /// Linear address it was read from.
    pub at: u64,
}

impl Descriptor {
    /// Type field.
    pub const fn kind(&self) -> u8 {
        (self.raw >> 40) as u8 & 15
    }
    /// A gate, TSS or LDT rather than code or data?
    pub const fn is_system(&self) -> bool {
        self.raw & 1 << 44 == 0
    }
    /// A code segment?
    pub const fn is_code(&self) -> bool {
        !self.is_system() && self.kind() & 8 != 0
    }
    /// A code segment that runs with its caller's privilege?
    pub const fn is_conforming(&self) -> bool {
        self.is_code() && self.kind() & 4 != 0
    }
    /// A data segment that may be written?
    pub const fn is_writable(&self) -> bool {
        !self.is_system() && self.kind() & 10 == 2
    }
    /// Data, or code that may be read?
    pub const fn is_readable(&self) -> bool {
        !self.is_system() && (self.kind() & 8 == 0 || self.kind() & 2 != 0)
    }
    /// Descriptor privilege level.
    pub const fn dpl(&self) -> u8 {
        (self.raw >> 45) as u8 & 3
    }
    /// Present?
    pub const fn is_present(&self) -> bool {
        self.raw & 1 << 47 != 0
    }
    /// 64-bit code?
    pub const fn is_long(&self) -> bool {
        self.raw & 1 << 53 != 0
    }
    /// Default size 32 bits (the D or B bit)?
    pub const fn is_big(&self) -> bool {
        self.raw & 1 << 54 != 0
    }
    /// Base; 64 bits for a sixteen-byte descriptor.
    pub const fn base(&self) -> u64 {
        self.raw >> 16 & 0xff_ffff | self.raw >> 32 & 0xff00_0000 | self.high << 32
    }
    /// Limit in bytes, granularity applied.
    pub const fn limit(&self) -> u32 {
        let units = (self.raw & 0xffff | self.raw >> 32 & 0xf_0000) as u32;
        if self.raw & 1 << 55 != 0 { units << 12 | 0xfff } else { units }
    }
    /// Selector that a gate leads to.
    pub const fn gate_selector(&self) -> u16 {
        (self.raw >> 16) as u16
    }
    /// Offset that a gate leads to; the caller cuts it for a 16-bit gate.
    pub const fn gate_offset(&self) -> u64 {
        self.raw & 0xffff | self.raw >> 32 & 0xffff_0000 | self.high << 32
    }
    /// The register loaded from it; accessed is set in it, as it is by then in the table.
    pub const fn segment(&self, selector: u16) -> Segment {
        let accessed = if self.is_system() { 0 } else { 1 };
        let attr = (self.raw >> 40) as u32 & 0xf0ff | accessed;
        Segment { selector, base: self.base(), limit: self.limit(), attr }
    }
}

/// A segment register after a null selector was loaded: FS and GS lose their base (Intel).
pub(crate) const fn null_segment(selector: u16, dpl: u8) -> Segment {
    Segment { selector, base: 0, limit: 0, attr: Segment::UNUSABLE | (dpl as u32) << 5 }
}

/// A segment register as virtual-8086 mode has it. Source: SDM vol. 3A, 20.2.1.
pub(crate) const fn v86_segment(selector: u16) -> Segment {
    Segment { selector, base: (selector as u64) << 4, limit: 0xffff, attr: 0xf3 }
}

impl Cpu {
    /// Sets the current privilege level: the only place outside [`Cpu::new`] that does.
    pub(crate) fn set_cpl(&mut self, cpl: u8) {
        self.cpl = cpl & 3;
        self.tell_next();
    }

    /// Linear address of the `bytes`-byte descriptor that `selector` names, if it is within its table.
    fn descriptor_address(&self, selector: u16, bytes: u64) -> Option<u64> {
        let index = u64::from(selector & 0xfff8);
        let (base, limit) = if selector & 4 == 0 {
            (self.gdtr.base, u64::from(self.gdtr.limit))
        } else if self.ldtr.attr & Segment::UNUSABLE == 0 && self.ldtr.attr & Segment::P != 0 {
            (self.ldtr.base, u64::from(self.ldtr.limit))
        } else {
            return None;
        };
        let at = base.wrapping_add(index);
        (index + bytes - 1 <= limit).then_some(if self.long_mode() { at } else { at & 0xffff_ffff })
    }

    /// The descriptor that `selector` names.
    ///
    /// # Errors
    /// `fault` with the selector when it is null or beyond its table; #PF.
    pub(crate) fn descriptor(&mut self, selector: u16, ext: u32, fault: Fault) -> Result<Descriptor, Stop> {
        let at = self.descriptor_address(selector, 8).filter(|_| !is_null(selector));
        let at = at.ok_or_else(|| fault(code(selector, ext)))?;
        Ok(Descriptor { raw: self.load_system(at, 8)?, high: 0, at })
    }

    /// The upper half of a system descriptor that is sixteen bytes long in IA-32e mode; elsewhere nothing to do.
    ///
    /// # Errors
    /// `fault` when it is beyond the table or its type field is not zero; #PF.
    pub(crate) fn widen(&mut self, d: Descriptor, selector: u16, fault: Fault) -> Result<Descriptor, Stop> {
        if !self.long_mode() {
            return Ok(d);
        }
        self.descriptor_address(selector, 16).ok_or_else(|| fault(code(selector, 0)))?;
        let high = self.load_system(d.at.wrapping_add(8), 8)?;
        if high >> 40 & 0x1f != 0 {
            return Err(fault(code(selector, 0)));
        }
        Ok(Descriptor { high, ..d })
    }

    /// Sets the accessed bit of a code or data descriptor in its table.
    ///
    /// # Errors
    /// #PF.
    pub(crate) fn mark_accessed(&mut self, d: &Descriptor) -> Done {
        if d.is_system() || d.kind() & 1 != 0 {
            return Ok(());
        }
        self.store_system(d.at.wrapping_add(5), 1, d.raw >> 40 & 0xff | 1)
    }

    /// What SS becomes when `selector` is loaded at privilege `cpl`; the accessed bit is set.
    ///
    /// # Errors
    /// `fault`(selector) for a null selector, wrong RPL or DPL, or not writable data; #SS(selector) if not present.
    pub(crate) fn checked_stack(&mut self, selector: u16, cpl: u8, ext: u32, fault: Fault) -> Result<Segment, Stop> {
        if is_null(selector) {
            return Err(fault(ext));
        }
        let d = self.descriptor(selector, ext, fault)?;
        if selector as u8 & 3 != cpl || !d.is_writable() || d.dpl() != cpl {
            return Err(fault(code(selector, ext)));
        }
        if !d.is_present() {
            return Err(Stop::ss(code(selector, ext)));
        }
        self.mark_accessed(&d)?;
        Ok(d.segment(selector))
    }

    /// What DS, ES, FS or GS becomes when `selector` is loaded; the accessed bit is set.
    ///
    /// # Errors
    /// `fault`(selector) when not readable or not privileged enough; #NP(selector).
    pub(crate) fn checked_data(&mut self, selector: u16, fault: Fault) -> Result<Segment, Stop> {
        if is_null(selector) {
            return Ok(null_segment(selector, 0));
        }
        let d = self.descriptor(selector, 0, fault)?;
        let privileged = d.is_conforming() || d.dpl() >= self.cpl.max(selector as u8 & 3);
        if !d.is_readable() || !privileged {
            return Err(fault(code(selector, 0)));
        }
        if !d.is_present() {
            return Err(Stop::np(code(selector, 0)));
        }
        self.mark_accessed(&d)?;
        Ok(d.segment(selector))
    }

    /// What segment register `s` (not CS) becomes when an instruction loads `selector`, in the current mode.
    ///
    /// # Errors
    /// #GP, #SS, #NP with the selector.
    pub(crate) fn checked_segment(&mut self, s: Seg, selector: u16) -> Result<Segment, Stop> {
        if !self.protected() {
            return Ok(self.real_segment(s, selector));
        }
        if self.v86() {
            return Ok(v86_segment(selector));
        }
        if s != Seg::Ss {
            return self.checked_data(selector, Stop::gp);
        }
        let cpl = self.cpl;
        if is_null(selector) && self.is_64bit() && cpl != 3 && selector as u8 & 3 == cpl {
            return Ok(null_segment(selector, cpl));
        }
        self.checked_stack(selector, cpl, 0, Stop::gp)
    }

    /// Loads segment register `s` (not CS).
    ///
    /// # Errors
    /// See `checked_segment`; then nothing was changed.
    pub fn load_segment(&mut self, s: Seg, selector: u16) -> Done {
        let to = self.checked_segment(s, selector)?;
        self.set_segment(s, to);
        Ok(())
    }

    /// What `s` becomes in real mode: only selector and base change, limit and rights stay as they were.
    /// Source: SDM vol. 3A, 10.9.2 (and every "unreal mode" program since).
    pub(crate) fn real_segment(&self, s: Seg, selector: u16) -> Segment {
        let old = self.segment(s);
        let base = u64::from(selector) << 4;
        if old.attr & Segment::UNUSABLE != 0 {
            return Segment { selector, base, limit: 0xffff, attr: 0x93 };
        }
        Segment { selector, base, ..*old }
    }

    /// Puts `d` into CS with privilege `cpl`, which becomes the CPL.
    pub(crate) fn set_code(&mut self, selector: u16, d: &Descriptor, cpl: u8) {
        self.set_segment(Seg::Cs, d.segment(selector & 0xfffc | u16::from(cpl)));
        self.set_cpl(cpl);
    }

    /// Is offset `at` one that code segment `d` can be entered at? In 64-bit code: is it canonical?
    pub(crate) fn can_enter(&self, d: &Descriptor, at: u64) -> bool {
        if self.long_mode() && d.is_long() { self.canonical(at) } else { at <= u64::from(d.limit()) }
    }

    /// LLDT.
    ///
    /// # Errors
    /// #GP(selector) for a selector of the LDT or a descriptor of another type; #NP(selector).
    pub(crate) fn load_ldtr(&mut self, selector: u16) -> Done {
        if is_null(selector) {
            self.ldtr = null_segment(selector, 0);
            return Ok(());
        }
        let d = self.system_descriptor(selector, |k| k == kind::LDT)?;
        self.ldtr = d.segment(selector);
        Ok(())
    }

    /// LTR: the task state segment becomes busy.
    ///
    /// # Errors
    /// #GP(selector) for a null selector (error code 0), one of the LDT, or anything but an available TSS; #NP.
    pub(crate) fn load_tr(&mut self, selector: u16) -> Done {
        if is_null(selector) {
            return Err(Stop::gp(0));
        }
        let long = self.long_mode();
        let d = self.system_descriptor(selector, |k| k == kind::TSS32 || k == kind::TSS16 && !long)?;
        self.store_system(d.at.wrapping_add(5), 1, d.raw >> 40 & 0xff | u64::from(kind::BUSY))?;
        self.tr = d.segment(selector);
        self.tr.attr |= u32::from(kind::BUSY);
        Ok(())
    }

    /// A present LDT or TSS descriptor in the GDT, of a type that `wanted` accepts.
    fn system_descriptor(&mut self, selector: u16, wanted: impl Fn(u8) -> bool) -> Result<Descriptor, Stop> {
        let fault = Stop::gp(code(selector, 0));
        if selector & 4 != 0 {
            return Err(fault);
        }
        let d = self.descriptor(selector, 0, Stop::gp)?;
        if !d.is_system() || !wanted(d.kind()) {
            return Err(fault);
        }
        if !d.is_present() {
            return Err(Stop::np(code(selector, 0)));
        }
        let d = self.widen(d, selector, Stop::gp)?;
        if storable(d.base()) { Ok(d) } else { Err(fault) }
    }

    /// DS, ES, FS and GS that the new, outer privilege may not use become null; they keep their base, which 64-bit code
    /// goes on to use. Source: SDM vol. 2, RET and IRET; kvm-unit-tests, x86/emulator64.c (`test_iret`).
    pub(crate) fn drop_inner_segments(&mut self) {
        for s in [Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs] {
            let seg = *self.segment(s);
            let conforming = seg.kind() & 12 == 12;
            if is_null(seg.selector) {
                // A null selector loses its RPL.
                self.seg[s as usize].selector = 0;
            } else if seg.attr & Segment::UNUSABLE == 0 && seg.dpl() < self.cpl && !conforming {
                self.set_segment(s, Segment { base: seg.base, ..null_segment(0, 0) });
            }
        }
    }

    /// I/O privilege level.
    pub(crate) fn iopl(&self) -> u8 {
        ((self.system_flags & flag::IOPL) >> 12) as u8
    }
}
