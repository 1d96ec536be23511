//! Operands that reach into a page that is not there, on both sides.

use super::{AREA, GUEST, OPERAND, State, catch_traps, difference, evex_native_run, processor, state};
use crate::alu::flag;
use crate::exec::lookup;
use crate::fault::{Exception, Stop, vector};
use crate::state::{Cpu, cr0, cr4};
use emu_core::Gpa;
use emu_core::Random;
use iced_x86::{Code, Instruction};
use std::fmt::Write;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Where the guest's page tables lie.
const TABLES: u64 = 0x1_0000;

/// Two pages of the host, the second of which is not to be touched.
pub struct Pages(*mut u8);

impl Pages {
    pub fn new() -> Pages {
        catch_traps(libc::SIGSEGV);
        // SAFETY: a fresh mapping, whose second page is then protected.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = libc::mmap(core::ptr::null_mut(), 2 * PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            let at = at.cast::<u8>();
            assert_eq!(libc::mprotect(at.add(PAGE).cast(), PAGE, libc::PROT_NONE), 0);
            Pages(at)
        }
    }
}

/// May `code` have a memory operand?
pub fn has_memory(code: Code) -> bool {
    code.op_code().op_kinds().iter().any(|k| format!("{k:?}").contains("mem"))
}

/// A processor with paging, which maps the page at `GUEST` and not the one behind it.
fn paged() -> Box<Cpu> {
    let mut cpu = processor();
    for level in 0..3 {
        assert!(cpu.ram.write(Gpa(TABLES + level * 0x1000), &(TABLES + (level + 1) * 0x1000 + 7).to_le_bytes()));
    }
    assert!(cpu.ram.write(Gpa(TABLES + 0x3000 + 8), &(GUEST + 7).to_le_bytes()));
    (cpu.cr3, cpu.cr4, cpu.cr0) = (TABLES, cpu.cr4 | cr4::PAE, cpu.cr0 | cr0::PG | cr0::WP);
    cpu
}

/// Runs `i` `times` times on both sides with its operand at different distances from the page's end.
pub fn compare(pages: &mut Pages, exec: *const u8, i: &Instruction, times: u32, random: &mut Random) -> Option<String> {
    let mut cpu = paged();
    for _ in 0..times {
        let inside =
            random.pick(&[0, 16, 32, 64, 48, 8, 4, 24, 60]) + if random.below(3) == 0 { random.below(8) } else { 0 };
        // Source: SDM vol. 2, VMOVAPS: alignment is checked whatever the mask; AMD looks at what the mask picks.
        let inside = if is_aligned(i) { inside & !63 } else { inside };
        let mut before = state(i, random);
        before.gpr[5] = exec as u64 + i.len() as u64;
        before.gpr[3] = GUEST + PAGE as u64 - OPERAND as u64 - inside;
        let mut theirs = native(pages, exec, &before);
        let (ours, stop) = emulated(&mut cpu, i, &before);
        let fault = theirs.gpr[5] == 0;
        theirs.gpr[5] = before.gpr[5];
        let mut what = difference(i, &before, &ours, &theirs);
        let faulted = matches!(stop, Err(Stop::Exception(Exception { vector: vector::PF | vector::GP, .. })));
        if fault != faulted || !fault && stop.is_err() {
            let _ = writeln!(what, "    ours {stop:x?} native fault {fault}, {inside} bytes inside, k {:x?}", before.k);
        }
        if !what.is_empty() {
            return Some(what);
        }
    }
    None
}

/// Must the memory operand of `i` be aligned?
fn is_aligned(i: &Instruction) -> bool {
    super::super::describe(i).is_some_and(|e| e.aligned)
}

/// The area is the end of the first page.
fn native(pages: &mut Pages, exec: *const u8, before: &State) -> State {
    let mut r = before.clone();
    r.gpr[3] = pages.0 as u64 + (before.gpr[3] - GUEST);
    // SAFETY: the area lies in the first page; the code is one instruction that touches no more than that page and the
    // one behind it, at which it traps, then RET.
    unsafe {
        let area = pages.0.add(PAGE - AREA);
        core::ptr::copy_nonoverlapping(before.memory.as_ptr(), area, AREA);
        evex_native_run(&raw mut r, exec);
        core::ptr::copy_nonoverlapping(area, r.memory.as_mut_ptr(), AREA);
    }
    r.gpr[3] = before.gpr[3];
    r.flags &= flag::STATUS;
    r
}

fn emulated(cpu: &mut Cpu, i: &Instruction, before: &State) -> (State, crate::fault::Done) {
    let area = Gpa(GUEST + (PAGE - AREA) as u64);
    for (v, z) in cpu.vec.iter_mut().zip(&before.zmm) {
        v.0 = *z;
    }
    (cpu.k, cpu.mxcsr) = (before.k, before.mxcsr);
    cpu.regs[..16].copy_from_slice(&before.gpr);
    cpu.set_flags(before.flags);
    assert!(cpu.ram.write(area, &before.memory));
    let done = lookup(i).map_or(Err(Stop::Unimplemented), |meaning| (meaning.run)(cpu, i));
    let mut r = before.clone();
    for (v, z) in cpu.vec.iter().zip(&mut r.zmm) {
        *z = v.0;
    }
    (r.k, r.mxcsr, r.flags) = (cpu.k, cpu.mxcsr, cpu.flags() & flag::STATUS);
    r.gpr.copy_from_slice(&cpu.regs[..16]);
    assert!(cpu.ram.read(area, &mut r.memory));
    (r, done)
}
