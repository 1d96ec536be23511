//! Guest memory as instructions see it: segmentation, then paging, then RAM or a device.

#![expect(unsafe_code, reason = "guest memory is reached by the host pointers of the software TLB")]

use crate::alu::flag;
use crate::engine::tlb::{self, Fill};
use crate::fault::{Done, Stop};
use crate::paging::Who;
use crate::state::{Cpu, Seg, Segment, cr0, cr4};
use emu_core::Gpa;

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Data read.
    Read,
    /// Data write, or read-modify-write.
    Write,
    /// Instruction fetch.
    Execute,
}

impl Cpu {
    /// Linear address of `bytes` at `offset` in segment `s`, checked for `access`.
    ///
    /// # Errors
    /// #GP(0), or #SS(0) for the stack segment. Source: SDM vol. 3A, 5.3 to 5.5; vol. 1, 3.3.7.1 (canonical).
    pub fn linear(&self, s: Seg, offset: u64, bytes: u32, access: Access) -> Result<u64, Stop> {
        let seg = self.segment(s);
        let fault = if s == Seg::Ss { Stop::ss(0) } else { Stop::gp(0) };
        let last = u64::from(bytes.max(1) - 1);
        if self.is_64bit() {
            let base = if matches!(s, Seg::Fs | Seg::Gs) { seg.base } else { 0 };
            let at = base.wrapping_add(offset);
            return if self.canonical(at) && self.canonical(at.wrapping_add(last)) { Ok(at) } else { Err(fault) };
        }
        if self.protected() && !self.v86() {
            let kind = seg.kind();
            let code = kind & 8 != 0;
            let allowed = match access {
                Access::Read => !code || kind & 2 != 0,
                Access::Write => !code && kind & 2 != 0,
                Access::Execute => code,
            };
            if seg.attr & Segment::UNUSABLE != 0 || !allowed {
                return Err(fault);
            }
        }
        let end = offset.wrapping_add(last);
        let expand_down = seg.kind() & 0xc == 4;
        let inside = if expand_down {
            let top = if seg.attr & Segment::DB != 0 { 0xffff_ffff } else { 0xffff };
            offset > u64::from(seg.limit) && end <= top
        } else {
            end <= u64::from(seg.limit)
        };
        if inside && end >= offset { Ok(seg.base.wrapping_add(offset) & 0xffff_ffff) } else { Err(fault) }
    }

    /// Loads `bytes` (1, 2, 4 or 8) from linear address `at`, zero-extended.
    ///
    /// # Errors
    /// #PF, or #AC when alignment is checked.
    pub fn load(&mut self, at: u64, bytes: u32) -> Result<u64, Stop> {
        if let Some(host) = self.quick(at, u64::from(bytes), false, self.who()) {
            if self.hot.watched && !self.hot.is_recent(at, u64::from(bytes), false) {
                self.observe(at, u64::from(bytes), false);
            }
            // SAFETY: `quick` found the whole access in one page of plain memory.
            return Ok(unsafe { get(host, bytes) });
        }
        self.check_alignment(at, bytes)?;
        let mut b = [0; 8];
        self.load_bytes(at, &mut b[..bytes as usize])?;
        Ok(u64::from_le_bytes(b))
    }

    /// Stores the low `bytes` (1, 2, 4 or 8) of `v` at linear address `at`.
    ///
    /// # Errors
    /// #PF, or #AC when alignment is checked; then nothing was written.
    pub fn store(&mut self, at: u64, bytes: u32, v: u64) -> Done {
        if let Some(host) = self.quick(at, u64::from(bytes), true, self.who()) {
            if self.hot.watched && !self.hot.is_recent(at, u64::from(bytes), true) {
                self.observe(at, u64::from(bytes), true);
            }
            // SAFETY: as in `load`; an entry for writing never leads to a page that holds code.
            unsafe { put(host, bytes, v) };
            return Ok(());
        }
        self.check_alignment(at, bytes)?;
        self.store_bytes(at, &v.to_le_bytes()[..bytes as usize])
    }

    /// May `bytes` (1, 2, 4 or 8) be accessed at linear address `at`? Checked before paging is (as Bochs does); accesses of
    /// more than eight bytes are not checked. Source: SDM vol. 3A, 6.15 (#AC); vol. 2A, table 2-21.
    ///
    /// # Errors
    /// #AC(0).
    pub(crate) fn check_alignment(&self, at: u64, bytes: u32) -> Done {
        if at & u64::from(bytes.saturating_sub(1)) != 0 && self.alignment_checked() { Err(Stop::AC) } else { Ok(()) }
    }

    /// Loads any number of bytes (vectors, state images).
    ///
    /// # Errors
    /// #PF.
    pub fn load_bytes(&mut self, at: u64, to: &mut [u8]) -> Done {
        self.load_as(at, to, self.who())?;
        self.watch(at, to.len(), false);
        Ok(())
    }

    /// Stores any number of bytes.
    ///
    /// # Errors
    /// #PF; then nothing was written.
    pub fn store_bytes(&mut self, at: u64, from: &[u8]) -> Done {
        self.store_as(at, from, self.who())?;
        self.watch(at, from.len(), true);
        Ok(())
    }

    /// Would `access` to `bytes` at linear address `at` fault? Sets accessed and dirty bits as the access would.
    ///
    /// # Errors
    /// #PF.
    pub fn probe(&mut self, at: u64, bytes: u32, access: Access) -> Done {
        let who = self.who();
        let mut done = 0;
        while done < u64::from(bytes) {
            let here = self.wrap(at.wrapping_add(done));
            self.place(here, access, who)?;
            done += 4096 - (here & 0xfff);
        }
        Ok(())
    }

    /// Loads with supervisor privilege whatever the CPL: descriptor tables, task state, DS area.
    ///
    /// # Errors
    /// #PF, with the U bit clear.
    pub fn load_system(&mut self, at: u64, bytes: u32) -> Result<u64, Stop> {
        if !self.hot.watched
            && let Some(host) = self.quick(at, u64::from(bytes), false, self.system())
        {
            // SAFETY: as in `load`.
            return Ok(unsafe { get(host, bytes) });
        }
        let mut b = [0; 8];
        self.load_as(at, &mut b[..bytes as usize], self.system())?;
        Ok(u64::from_le_bytes(b))
    }

    /// Stores with supervisor privilege whatever the CPL.
    ///
    /// # Errors
    /// #PF, with the U bit clear; then nothing was written.
    pub fn store_system(&mut self, at: u64, bytes: u32, v: u64) -> Done {
        if !self.hot.watched
            && let Some(host) = self.quick(at, u64::from(bytes), true, self.system())
        {
            // SAFETY: as in `store`.
            unsafe { put(host, bytes, v) };
            return Ok(());
        }
        self.store_as(at, &v.to_le_bytes()[..bytes as usize], self.system())
    }

    /// [`Cpu::load_bytes`] with supervisor privilege.
    ///
    /// # Errors
    /// #PF.
    pub(crate) fn load_as_system(&mut self, at: u64, to: &mut [u8]) -> Done {
        self.load_as(at, to, self.system())
    }

    /// [`Cpu::store_bytes`] with supervisor privilege.
    ///
    /// # Errors
    /// #PF; then nothing was written.
    pub(crate) fn store_as_system(&mut self, at: u64, from: &[u8]) -> Done {
        self.store_as(at, from, self.system())
    }

    /// The rest of the host page at linear address `at`, if it is plain memory for `access`: `None` for devices, and
    /// for writes to ROM or to a page that holds decoded code.
    ///
    /// # Errors
    /// #PF.
    pub(crate) fn host_run(&mut self, at: u64, access: Access) -> Result<Option<HostRun>, Stop> {
        let at = self.wrap(at);
        let here = self.place(at, access, self.who())?;
        let bytes = 4096 - (at & 0xfff) as usize;
        Ok(match here {
            Place::Host { page, .. } if access == Access::Write && self.ram.watchers(page) != 0 => None,
            Place::Host { host, .. } if !self.watching_data() => Some(HostRun { host, bytes }),
            _ => None,
        })
    }

    /// Notes the data breakpoints that an access met.
    fn watch(&mut self, at: u64, bytes: usize, write: bool) {
        if self.watching_data() {
            self.pending_debug |= self.data_breakpoint(at, bytes as u64, write);
        }
    }

    /// Where `bytes` at linear address `at` are, if the TLB has them, all in one page, and nothing is to be checked. Also
    /// in a context that holds nothing while data accesses are checked.
    #[inline]
    fn quick(&self, at: u64, bytes: u64, write: bool, who: Who) -> Option<*mut u8> {
        if self.alignment_checked() {
            return None;
        }
        let e = &self.contexts[self.context_of(who)].entries[tlb::index(at)];
        let tag = if write { e.write } else { e.read };
        (at.wrapping_sub(tag) <= 4096 - bytes).then(|| at.wrapping_add(e.addend) as *mut u8)
    }

    /// Are there data breakpoints, so that no access may take the short way?
    pub(crate) fn watching_data(&self) -> bool {
        self.data_armed()
    }

    /// Linear addresses wrap at 4 GiB outside IA-32e mode. In compatibility mode `linear` has cut them, but tables, task
    /// state and the stacks of 64-bit handlers lie above.
    fn wrap(&self, at: u64) -> u64 {
        if self.long_mode() { at } else { at & 0xffff_ffff }
    }

    fn load_as(&mut self, at: u64, to: &mut [u8], who: Who) -> Done {
        let at = self.wrap(at);
        let first = to.len().min(4096 - (at & 0xfff) as usize);
        let here = self.place(at, Access::Read, who)?;
        if first == to.len() {
            self.load_here(here, at, to);
            return Ok(());
        }
        let mut done = first;
        while done < to.len() {
            self.place(self.wrap(at.wrapping_add(done as u64)), Access::Read, who)?;
            done += 4096;
        }
        self.tell_parts();
        let mut done = 0;
        while done < to.len() {
            let next = self.wrap(at.wrapping_add(done as u64));
            let bytes = (to.len() - done).min(4096 - (next & 0xfff) as usize);
            let here = self.place(next, Access::Read, who)?;
            self.load_here(here, next, &mut to[done..done + bytes]);
            done += bytes;
        }
        Ok(())
    }

    fn store_as(&mut self, at: u64, from: &[u8], who: Who) -> Done {
        let at = self.wrap(at);
        let first = from.len().min(4096 - (at & 0xfff) as usize);
        let here = self.place(at, Access::Write, who)?;
        if first == from.len() {
            self.store_here(here, at, from);
            return Ok(());
        }
        let mut done = first;
        while done < from.len() {
            self.place(self.wrap(at.wrapping_add(done as u64)), Access::Write, who)?;
            done += 4096;
        }
        self.tell_parts();
        let mut done = 0;
        while done < from.len() {
            let next = self.wrap(at.wrapping_add(done as u64));
            let bytes = (from.len() - done).min(4096 - (next & 0xfff) as usize);
            let here = self.place(next, Access::Write, who)?;
            self.store_here(here, next, &from[done..done + bytes]);
            done += bytes;
        }
        Ok(())
    }

    fn load_here(&mut self, here: Place, at: u64, to: &mut [u8]) {
        match here {
            Place::Host { host, page } => {
                debug_assert!((at & 0xfff) as usize + to.len() <= 4096);
                self.observe_host(at, page, to.len(), false);
                // SAFETY: `place` found this byte in the mapping, and the run does not leave its page.
                unsafe { std::ptr::copy_nonoverlapping(host, to.as_mut_ptr(), to.len()) };
            }
            Place::Rom | Place::Device(_) => {
                let Place::Device(at) = here else { return to.fill(0xff) };
                for (chunk, from) in pieces(at, to.len()) {
                    let v = self.device_read(from, chunk.len() as u32);
                    to[chunk.clone()].copy_from_slice(&v.to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }

    fn store_here(&mut self, here: Place, at: u64, from: &[u8]) {
        match here {
            Place::Host { host, page } => {
                self.observe_host(at, page, from.len(), true);
                // SAFETY: as in `load_here`.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), host, from.len()) };
                if self.ram.watchers(page) != 0 {
                    self.wrote_code(page, host as usize & 0xfff, from.len());
                }
            }
            Place::Rom => {}
            Place::Device(at) => {
                for (chunk, to) in pieces(at, from.len()) {
                    let mut b = [0; 8];
                    b[..chunk.len()].copy_from_slice(&from[chunk.clone()]);
                    self.device_write(to, chunk.len() as u32, u64::from_le_bytes(b));
                }
            }
        }
    }

    /// Who the running code is, as paging sees it.
    pub(crate) fn who(&self) -> Who {
        let free = self.cr4 & cr4::SMAP == 0 || self.system_flags & flag::AC != 0;
        Who { user: self.cpl == 3, may_touch_user: free }
    }

    /// An implicit supervisor access: RFLAGS.AC does not lift SMAP for it.
    fn system(&self) -> Who {
        Who { user: false, may_touch_user: self.cr4 & cr4::SMAP == 0 }
    }

    /// The TLB context that accesses by `who` use.
    pub(crate) fn context_of(&self, who: Who) -> usize {
        match who {
            Who { user: true, .. } => 2 * self.space + 1,
            Who { may_touch_user: true, .. } => 2 * self.space + 2,
            _ => 0,
        }
    }

    /// Where linear address `at` is for `access` by `who`; fills the TLB.
    ///
    /// # Errors
    /// #PF.
    #[inline]
    pub(crate) fn place(&mut self, at: u64, access: Access, who: Who) -> Result<Place, Stop> {
        let context = self.context_of(who);
        let e = &self.contexts[context].entries[tlb::index(at)];
        let tag = if access == Access::Write { e.write } else { e.read };
        if tag == at & !0xfff && access != Access::Execute {
            let host = at.wrapping_add(e.addend) as *mut u8;
            return Ok(Place::Host { host, page: e.host_page() as usize });
        }
        self.place_by_walk(at, access, who, context)
    }

    #[cold]
    #[inline(never)]
    fn place_by_walk(&mut self, at: u64, access: Access, who: Who, context: usize) -> Result<Place, Stop> {
        let page = self.walk(at, access, who)?;
        let Some(slot) = self.ram.slot(page.at) else { return Ok(Place::Device(page.at)) };
        if access == Access::Write && !slot.writable {
            return Ok(Place::Rom);
        }
        let offset = (slot.offset + page.at.0 - slot.base.0) as usize;
        // SAFETY: the slot lies within the mapping.
        let host = unsafe { self.ram.host().add(offset) };
        let supervisor_write = !who.user && self.cr0 & cr0::WP == 0;
        let writable =
            slot.writable && page.dirty && (page.writable || supervisor_write) && self.ram.watchers(offset >> 12) == 0;
        if access != Access::Execute && !self.watching_data() {
            let (host, global) = (host as u64, page.global);
            self.contexts[context].fill(Fill {
                at,
                host,
                page: offset >> 12,
                writable,
                global,
                large: page.shift > 12,
            });
        }
        Ok(Place::Host { host, page: offset >> 12 })
    }
}

/// Reads `bytes` (1, 2, 4 or 8) at `host`.
///
/// # Safety
/// They are within guest memory.
#[inline]
unsafe fn get(host: *const u8, bytes: u32) -> u64 {
    // SAFETY: the contract.
    unsafe {
        match bytes {
            1 => u64::from(*host),
            2 => u64::from(host.cast::<u16>().read_unaligned()),
            4 => u64::from(host.cast::<u32>().read_unaligned()),
            _ => host.cast::<u64>().read_unaligned(),
        }
    }
}

/// Writes the low `bytes` (1, 2, 4 or 8) of `v` at `host`.
///
/// # Safety
/// They are within guest memory.
#[inline]
unsafe fn put(host: *mut u8, bytes: u32, v: u64) {
    // SAFETY: the contract.
    unsafe {
        match bytes {
            1 => *host = v as u8,
            2 => host.cast::<u16>().write_unaligned(v as u16),
            4 => host.cast::<u32>().write_unaligned(v as u32),
            _ => host.cast::<u64>().write_unaligned(v),
        }
    }
}

/// Where a linear address leads.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Plain memory: the byte on the host, and the host page it is in.
    Host { host: *mut u8, page: usize },
    /// Read-only memory, for a write.
    Rom,
    /// No memory: a device, or nothing.
    Device(Gpa),
}

/// A run of plain memory up to the end of its page.
#[derive(Clone, Copy)]
pub(crate) struct HostRun {
    host: *mut u8,
    bytes: usize,
}

impl HostRun {
    /// Copies `bytes` (at most both runs) from the start of `from` to the start of this run, as if byte by byte
    /// upwards when they overlap.
    pub fn copy_from(&self, from: &HostRun, bytes: usize) {
        assert!(bytes <= self.bytes && bytes <= from.bytes);
        let distance = (self.host as usize).wrapping_sub(from.host as usize);
        // SAFETY: both runs are plain guest memory within the mapping, `bytes` is within both.
        unsafe {
            if distance >= bytes {
                std::ptr::copy(from.host, self.host, bytes);
            } else {
                for i in 0..bytes {
                    *self.host.add(i) = *from.host.add(i);
                }
            }
        }
    }
    /// Fills `bytes` of the run with the little-endian `pattern` of `width` bytes (1, 2, 4 or 8) repeated.
    pub fn fill(&self, pattern: u64, width: usize, bytes: usize) {
        assert!(bytes <= self.bytes && bytes.is_multiple_of(width));
        let p = pattern.to_le_bytes();
        // SAFETY: `bytes` is within the run; nothing else refers to guest memory meanwhile.
        let to = unsafe { std::slice::from_raw_parts_mut(self.host, bytes) };
        match width {
            1 => to.fill(p[0]),
            2 => to.chunks_exact_mut(2).for_each(|c| c.copy_from_slice(&p[..2])),
            4 => to.chunks_exact_mut(4).for_each(|c| c.copy_from_slice(&p[..4])),
            _ => to.chunks_exact_mut(8).for_each(|c| c.copy_from_slice(&p)),
        }
    }
    /// Looks at the run's bytes.
    pub fn with<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        // SAFETY: the run is within the mapping, and nothing writes guest memory while `f` runs.
        f(unsafe { std::slice::from_raw_parts(self.host, self.bytes) })
    }
}

/// Naturally aligned pieces of a device access: the range of bytes, and where it goes.
fn pieces(at: Gpa, bytes: usize) -> impl Iterator<Item = (std::ops::Range<usize>, Gpa)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = bytes - done;
        if left == 0 {
            return None;
        }
        let here = at.0 + done as u64;
        let size = [8, 4, 2, 1].into_iter().find(|s| *s <= left && here.is_multiple_of(*s as u64)).unwrap_or(1);
        let piece = (done..done + size, Gpa(here));
        done += size;
        Some(piece)
    })
}
