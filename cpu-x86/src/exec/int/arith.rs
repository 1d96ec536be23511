//! ADD to CMP, TEST, INC, DEC, NEG, NOT, ADCX, ADOX.

use crate::alu::{self, flag};
use crate::fault::Done;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic};

/// `destination = destination op source`; all six flags.
pub fn binary(cpu: &mut Cpu, i: &Instruction) -> Done {
    let b = cpu.read(i, 1)?;
    let (w, m) = (cpu.width(i, 0), i.mnemonic());
    let carry = cpu.status_flags() & flag::CF;
    let f = cpu.modify(i, 0, |_, a| match m {
        Mnemonic::Add => alu::add(w, a, b, 0),
        Mnemonic::Adc => alu::add(w, a, b, carry),
        Mnemonic::Sub => alu::sub(w, a, b, 0),
        Mnemonic::Sbb => alu::sub(w, a, b, carry),
        Mnemonic::And => alu::logic(w, a & b),
        Mnemonic::Or => alu::logic(w, a | b),
        _ => alu::logic(w, a ^ b),
    })?;
    cpu.set_status_flags(f);
    Ok(())
}

/// CMP and TEST: the flags of SUB and AND, without the result.
pub fn compare(cpu: &mut Cpu, i: &Instruction) -> Done {
    let w = cpu.width(i, 0);
    let (a, b) = (cpu.read(i, 0)?, cpu.read(i, 1)?);
    let (_, f) = if i.mnemonic() == Mnemonic::Cmp { alu::sub(w, a, b, 0) } else { alu::logic(w, a & b) };
    cpu.set_status_flags(f);
    Ok(())
}

/// INC and DEC keep CF; NEG is `0 - destination`; NOT changes no flag.
pub fn unary(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, m) = (cpu.width(i, 0), i.mnemonic());
    let before = cpu.status_flags();
    let f = cpu.modify(i, 0, |_, a| match m {
        Mnemonic::Inc => keep_carry(alu::add(w, a, 1, 0), before),
        Mnemonic::Dec => keep_carry(alu::sub(w, a, 1, 0), before),
        Mnemonic::Neg => alu::sub(w, 0, a, 0),
        _ => (w.zx(!a), before),
    })?;
    cpu.set_status_flags(f);
    Ok(())
}

fn keep_carry((r, f): (u64, u64), before: u64) -> (u64, u64) {
    (r, f & !flag::CF | before & flag::CF)
}

/// ADCX adds with and to CF, ADOX with and to OF; other flags are kept.
pub fn adx(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, chain) = (cpu.width(i, 0), if i.mnemonic() == Mnemonic::Adcx { flag::CF } else { flag::OF });
    let b = cpu.read(i, 1)?;
    let carry = u64::from(cpu.status_flags() & chain != 0);
    let (r, f) = alu::add(w, cpu.gpr(i.op0_register()), b, carry);
    cpu.set_gpr(i.op0_register(), r);
    cpu.change_status_flags(chain, if f & flag::CF != 0 { chain } else { 0 });
    Ok(())
}
