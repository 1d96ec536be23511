//! INT n, INT3, INT1, INTO. Source: SDM vol. 2, INT n; vol. 3A, 20.3.3 (virtual-8086 mode).

use crate::alu::flag;
use crate::deliver::Event;
use crate::fault::{Done, Stop, vector};
use crate::state::{Cpu, cr4};
use iced_x86::Instruction;

/// INT n. In virtual-8086 mode with VME the redirection bitmap decides; otherwise it needs IOPL 3.
pub(super) fn int(cpu: &mut Cpu, i: &Instruction) -> Done {
    let vector = i.immediate8();
    if cpu.v86() {
        if cpu.cr4 & cr4::VME != 0 && cpu.is_redirected(vector)? {
            let event =
                Event { vector, error: None, software: true, back: cpu.next_rip, resume: false, external: false };
            return cpu.deliver_redirected(&event);
        }
        if cpu.iopl() < 3 {
            return Err(Stop::gp(0));
        }
    }
    cpu.software_interrupt(vector)
}

/// INT3: #BP, not sensitive to IOPL.
pub(super) fn int3(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.software_interrupt(vector::BP)
}

/// INT1 (ICEBP): #DB without a privilege check.
pub(super) fn int1(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.ice_breakpoint()
}

/// INTO: #OF if OF is set.
pub(super) fn into(cpu: &mut Cpu, _: &Instruction) -> Done {
    if cpu.flags() & flag::OF == 0 { Ok(()) } else { cpu.software_interrupt(vector::OF) }
}
