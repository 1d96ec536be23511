//! Exchanges: XCHG, XADD, CMPXCHG and its wide forms, and the bytes of an operand (BSWAP, MOVBE).

use crate::alu::{self, Width, flag};
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic, Register};

/// Exchanges the operands; no flags.
pub fn xchg(cpu: &mut Cpu, i: &Instruction) -> Done {
    let r = i.op1_register();
    let v = cpu.gpr(r);
    let old = cpu.modify(i, 0, |_, old| (v, old))?;
    cpu.set_gpr(r, old);
    Ok(())
}

/// `source = destination, destination = sum`; all six flags.
pub fn xadd(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, r) = (cpu.width(i, 0), i.op1_register());
    let b = cpu.gpr(r);
    if i.op0_register() != Register::None {
        let a = cpu.gpr(i.op0_register());
        let (sum, f) = alu::add(w, a, b, 0);
        cpu.set_gpr(r, a);
        cpu.set_gpr(i.op0_register(), sum);
        cpu.set_status_flags(f);
        return Ok(());
    }
    let (a, f) = cpu.modify(i, 0, |_, a| {
        let (sum, f) = alu::add(w, a, b, 0);
        (sum, (a, f))
    })?;
    cpu.set_gpr(r, a);
    cpu.set_status_flags(f);
    Ok(())
}

/// If accumulator = destination, destination = source, else accumulator = destination; the flags of CMP. In memory the
/// destination is written in both cases; a register is not, nor its upper half cleared, when they differ (so AMD's
/// processors; QEMU, target/i386/tcg, says it of all).
pub fn cmpxchg(cpu: &mut Cpu, i: &Instruction) -> Done {
    let w = cpu.width(i, 0);
    let accumulator = [Register::AL, Register::AX, Register::EAX, Register::RAX][w as usize];
    let (a, source, to) = (cpu.gpr(accumulator), cpu.gpr(i.op1_register()), i.op0_register());
    let old = if to != Register::None {
        let old = cpu.gpr(to);
        if old == a {
            cpu.set_gpr(to, source);
        }
        old
    } else {
        cpu.modify(i, 0, |_, old| (if old == a { source } else { old }, old))?
    };
    if old != a {
        cpu.set_gpr(accumulator, old);
    }
    cpu.set_status_flags(alu::sub(w, a, old, 0).1);
    Ok(())
}

/// CMPXCHG8B: EDX:EAX with m64, ECX:EBX in; ZF, others kept.
pub fn cmpxchg8b(cpu: &mut Cpu, i: &Instruction) -> Done {
    use Register::*;
    let pair = |cpu: &Cpu, high, low| cpu.gpr(high) << 32 | cpu.gpr(low);
    let (a, new) = (pair(cpu, EDX, EAX), pair(cpu, ECX, EBX));
    let old = cpu.modify(i, 0, |_, old| (if old == a { new } else { old }, old))?;
    if old != a {
        cpu.set_gpr(EAX, old);
        cpu.set_gpr(EDX, old >> 32);
    }
    cpu.change_status_flags(flag::ZF, if old == a { flag::ZF } else { 0 });
    Ok(())
}

/// CMPXCHG16B: RDX:RAX with m128, RCX:RBX in; ZF, others kept; #GP(0) when not aligned to 16 bytes.
pub fn cmpxchg16b(cpu: &mut Cpu, i: &Instruction) -> Done {
    let [rax, rcx, rdx, rbx] = [0, 1, 2, 3].map(|n: usize| u128::from(cpu.regs[n]));
    let (a, new) = (rdx << 64 | rax, rcx << 64 | rbx);
    let at = cpu.address(i, 16, Access::Write)?;
    if at & 15 != 0 {
        return Err(Stop::gp(0));
    }
    cpu.probe(at, 16, Access::Write)?;
    let mut bytes = [0; 16];
    cpu.load_bytes(at, &mut bytes)?;
    let old = u128::from_le_bytes(bytes);
    cpu.store_bytes(at, &if old == a { new } else { old }.to_le_bytes())?;
    if old != a {
        cpu.regs[0] = old as u64;
        cpu.regs[2] = (old >> 64) as u64;
    }
    cpu.change_status_flags(flag::ZF, if old == a { flag::ZF } else { 0 });
    Ok(())
}

/// BSWAP and MOVBE; no flags. BSWAP of a 16-bit register, undefined in the SDM, clears it, as Intel's processors do
/// (Bochs, cpu/bit.cc).
pub fn bytes(cpu: &mut Cpu, i: &Instruction) -> Done {
    let w = cpu.width(i, 0);
    if i.mnemonic() == Mnemonic::Movbe {
        let v = cpu.read(i, 1)?;
        return cpu.write(i, 0, alu::swap(w, v));
    }
    let r = i.op0_register();
    cpu.set_gpr(r, if w == Width::W { 0 } else { alu::swap(w, cpu.gpr(r)) });
    Ok(())
}
