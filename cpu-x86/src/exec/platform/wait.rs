//! MONITOR, MWAIT, UMONITOR, UMWAIT, TPAUSE. Source: SDM vol. 2.
//!
//! MONITOR and MWAIT are there while IA32_MISC_ENABLE bit 18 is set, which firmware left clear.

use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::operand::seg_of;
use crate::state::{Cpu, cr4};
use crate::wait::{Rest, Wait};
use iced_x86::{Code, Instruction, Register};

/// IA32_MISC_ENABLE: the monitor hardware of MONITOR and MWAIT is on.
pub(crate) const ENABLE_MONITOR: u64 = 1 << 18;
/// How long MWAIT waits at most, in TSC ticks: 100 µs.
const MWAIT_TICKS: u64 = 220_000;
/// MWAIT's ECX: interrupts end the wait even while IF is clear.
const BREAK_ON_INTERRUPT: u64 = 1;
/// IA32_UMWAIT_CONTROL: the most ticks that UMWAIT and TPAUSE may wait; zero is no limit.
const MOST_TICKS: u64 = 0xffff_fffc;

/// The segment of the address in rAX or the operand: DS, or that of the prefix.
fn arm(c: &mut Cpu, i: &Instruction, offset: u64) -> Done {
    let s = if i.segment_prefix() == Register::None { Register::DS } else { i.segment_prefix() };
    let at = c.linear(seg_of(s), offset, 1, Access::Read)?;
    c.arm_monitor(at)
}

/// UMONITOR: watches the line at the address in the register.
pub fn umonitor(c: &mut Cpu, i: &Instruction) -> Done {
    arm(c, i, c.gpr(i.op0_register()))
}

/// UMWAIT: waits for a store to the line, until EDX:EAX at most; at once when there is none watched.
pub fn umwait(c: &mut Cpu, i: &Instruction) -> Done {
    pause(c, i, true)
}

/// TPAUSE: waits until the TSC reaches EDX:EAX.
pub fn tpause(c: &mut Cpu, i: &Instruction) -> Done {
    pause(c, i, false)
}

/// The status flags become 0 but CF: 1 if it was the system's limit that ended the wait.
fn pause(c: &mut Cpu, i: &Instruction, monitors: bool) -> Done {
    if c.cpl != 0 && c.cr4 & cr4::TSD != 0 || c.gpr(i.op0_register()) as u32 & !1 != 0 {
        return Err(Stop::gp(0));
    }
    let (now, tsc) = (c.counts().clock, c.show_tsc());
    let wanted = (c.regs[2] << 32 | c.regs[0] & 0xffff_ffff).saturating_sub(tsc);
    let most = match c.msr.umwait_control & MOST_TICKS {
        0 => u64::MAX,
        ticks => ticks,
    };
    c.set_status_flags(0);
    if wanted != 0 && (!monitors || c.monitor_holds()) {
        let deadline = now.saturating_add(wanted.min(most));
        // Bit 0 of the operand asks for C0.1; bit 0 of IA32_UMWAIT_CONTROL bars C0.2.
        let light = (c.gpr(i.op0_register()) | c.msr.umwait_control) & 1 != 0;
        let rests = Some(if light { Rest::C01 } else { Rest::C02 });
        c.begin_wait(Wait { deadline, limited: most < wanted, monitors, any_interrupt: true, rests });
    } else if monitors {
        c.armed = None;
    }
    Ok(())
}

fn check_monitor(c: &Cpu) -> Done {
    if c.msr.misc_enable & ENABLE_MONITOR == 0 || c.cpl != 0 { Err(Stop::UD) } else { Ok(()) }
}

/// MONITOR: watches the line at the address in rAX; ECX must be 0.
pub fn monitor(c: &mut Cpu, i: &Instruction) -> Done {
    check_monitor(c)?;
    if c.regs[1] as u32 != 0 {
        return Err(Stop::gp(0));
    }
    let cut = match i.code() {
        Code::Monitorw => 0xffff,
        Code::Monitord => 0xffff_ffff,
        _ => u64::MAX,
    };
    arm(c, i, c.regs[0] & cut)
}

/// MWAIT: waits for a store to the line or an interrupt.
pub fn mwait(c: &mut Cpu, _: &Instruction) -> Done {
    check_monitor(c)?;
    let extensions = u64::from(c.regs[1] as u32);
    if extensions & !BREAK_ON_INTERRUPT != 0 {
        return Err(Stop::gp(0));
    }
    if c.monitor_holds() {
        let deadline = c.counts().clock.saturating_add(MWAIT_TICKS);
        let any_interrupt = extensions & BREAK_ON_INTERRUPT != 0;
        c.begin_wait(Wait { deadline, limited: false, monitors: true, any_interrupt, rests: None });
    }
    Ok(())
}
