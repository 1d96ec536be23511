//! General-purpose integer instructions: SDM vol. 1, ch. 7, and vol. 2.
//!
//! One file per family; within it one clause per family with a match over the operation, and the formulas in
//! [`crate::alu`]. This is the complete path; the engine has faster instances of the common ones.

use super::Meaning;
use crate::fault::Stop;
use crate::state::Cpu;
use iced_x86::{Code, Instruction, Mnemonic, Register};

mod arith;
mod bcd;
mod bits;
mod branch;
mod flags;
mod mov;
mod muldiv;
mod port;
mod run;
mod shift;
pub(crate) mod stack;
mod string;
mod swap;
#[cfg(test)]
mod tests;

/// The meaning of `i`, if it belongs to this group.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    use Mnemonic::*;
    match i.mnemonic() {
        Mov if special(i.op0_register()) || special(i.op1_register()) => None,
        Mov | Movnti => Meaning::plain(mov::mov),
        Add | Or | Adc | Sbb | And | Sub | Xor => Meaning::plain(arith::binary),
        Cmp | Test => Meaning::plain(arith::compare),
        Inc | Dec | Neg | Not => Meaning::plain(arith::unary),
        Adcx | Adox => Meaning::plain(arith::adx),
        Lea => Meaning::plain(mov::lea),
        Push | Pop if i.op0_register().is_segment_register() => None,
        Push => Meaning::plain(stack::push_operand),
        Pop => Meaning::plain(stack::pop_operand),
        Pusha | Pushad => Meaning::plain(stack::pusha),
        Popa | Popad => Meaning::plain(stack::popa),
        Enter => Meaning::plain(stack::enter),
        Leave => Meaning::plain(stack::leave),
        Movzx | Movsx | Movsxd => Meaning::plain(mov::extend),
        Cbw | Cwde | Cdqe | Cwd | Cdq | Cqo => Meaning::plain(mov::convert),
        Xlatb => Meaning::plain(mov::xlat),
        Bswap | Movbe => Meaning::plain(swap::bytes),
        Xchg => Meaning::plain(swap::xchg),
        Xadd => Meaning::plain(swap::xadd),
        Cmpxchg => Meaning::plain(swap::cmpxchg),
        Cmpxchg8b => Meaning::plain(swap::cmpxchg8b),
        Cmpxchg16b => Meaning::plain(swap::cmpxchg16b),
        _ => on_bits(i).or_else(|| conditional(i)).or_else(|| transfer(i)).or_else(|| rest(i)),
    }
}

/// Shifts, products and bits.
fn on_bits(i: &Instruction) -> Option<Meaning> {
    use Mnemonic::*;
    match i.mnemonic() {
        Shl | Sal | Shr | Sar => Meaning::plain(shift::shift),
        Rol | Ror | Rcl | Rcr => Meaning::plain(shift::rotate),
        Shld | Shrd => Meaning::plain(shift::double),
        Sarx | Shlx | Shrx | Rorx => Meaning::plain(shift::flagless),
        Mul => Meaning::plain(muldiv::mul),
        Imul => Meaning::plain(muldiv::imul),
        Mulx => Meaning::plain(muldiv::mulx),
        Div | Idiv => Meaning::plain(muldiv::div),
        Bt | Bts | Btr | Btc => Meaning::plain(bits::bt),
        Bsf | Bsr => Meaning::plain(bits::scan),
        Tzcnt | Lzcnt | Popcnt => Meaning::plain(bits::count),
        // AMD's TBM form.
        Bextr if matches!(i.code(), Code::XOP_Bextr_r32_rm32_imm32 | Code::XOP_Bextr_r64_rm64_imm32) => {
            Meaning::ends(|_, _| Err(Stop::UD))
        }
        Andn | Bextr | Bzhi | Pdep | Pext => Meaning::plain(bits::field),
        Blsi | Blsmsk | Blsr => Meaning::plain(bits::lowest),
        Crc32 => Meaning::plain(bits::crc32),
        _ => None,
    }
}

/// A segment, control, debug or test register: MOV of these belongs to the system.
fn special(r: Register) -> bool {
    r.is_segment_register() || r.is_cr() || r.is_dr() || r.is_tr()
}

/// CMOVcc, SETcc and Jcc.
fn conditional(i: &Instruction) -> Option<Meaning> {
    use Mnemonic::*;
    match i.mnemonic() {
        Ja | Jae | Jb | Jbe | Je | Jg | Jge | Jl | Jle | Jne | Jno | Jnp | Jns | Jo | Jp | Js => {
            Meaning::ends(branch::jcc)
        }
        Cmova | Cmovae | Cmovb | Cmovbe | Cmove | Cmovg | Cmovge | Cmovl | Cmovle | Cmovne | Cmovno | Cmovnp
        | Cmovns | Cmovo | Cmovp | Cmovs => Meaning::plain(mov::cmov),
        Seta | Setae | Setb | Setbe | Sete | Setg | Setge | Setl | Setle | Setne | Setno | Setnp | Setns | Seto
        | Setp | Sets => Meaning::plain(mov::set),
        _ => None,
    }
}

/// Near transfers, string instructions and ports.
fn transfer(i: &Instruction) -> Option<Meaning> {
    use Mnemonic::*;
    match i.mnemonic() {
        Jmp if i.is_jmp_short_or_near() || i.is_jmp_near_indirect() => Meaning::ends(branch::jmp),
        Call if i.is_call_near() || i.is_call_near_indirect() => Meaning::ends(branch::call),
        Ret => Meaning::ends(branch::ret),
        Jcxz | Jecxz | Jrcxz | Loop | Loope | Loopne => Meaning::ends(branch::count),
        In => Meaning::ends(port::input),
        Out => Meaning::ends(port::output),
        Insb | Insw | Insd | Outsb | Outsw | Outsd => Meaning::ends(string::string),
        Movsd if i.code() != Code::Movsd_m32_m32 => None,
        Cmpsd if i.code() != Code::Cmpsd_m32_m32 => None,
        Movsb | Movsw | Movsd | Movsq | Stosb | Stosw | Stosd | Stosq | Lodsb | Lodsw | Lodsd | Lodsq | Cmpsb
        | Cmpsw | Cmpsd | Cmpsq | Scasb | Scasw | Scasd | Scasq => {
            let ends_block = i.has_rep_prefix() || i.has_repne_prefix();
            Some(Meaning { run: string::string, ends_block })
        }
        _ => None,
    }
}

/// Flags, decimal arithmetic, and what does nothing.
fn rest(i: &Instruction) -> Option<Meaning> {
    use Mnemonic::*;
    match i.mnemonic() {
        Lahf | Sahf | Clc | Stc | Cmc | Cld | Std | Salc => Meaning::plain(flags::flags),
        Daa | Das | Aaa | Aas | Aam | Aad => Meaning::plain(bcd::adjust),
        Bound => Meaning::plain(bcd::bound),
        // Hints, and the encodings of features that this processor lacks whose opcodes are reserved NOPs (CET shadow
        // stack reads, MPX). Source: SDM vol. 2, opcode map, 0F18h to 0F1Fh.
        Nop | Reservednop | Pause | Endbr32 | Endbr64 | Prefetch | Prefetchw | Prefetchwt1 | Prefetchnta
        | Prefetcht0 | Prefetcht1 | Prefetcht2 | Prefetchit0 | Prefetchit1 | Cldemote | Rdsspd | Rdsspq | Bndcl
        | Bndcn | Bndcu | Bndldx | Bndmk | Bndmov | Bndstx => Meaning::plain(|_, _| Ok(())),
        Ud0 | Ud1 | Ud2 => Meaning::ends(|_, _| Err(Stop::UD)),
        _ => None,
    }
}

/// VEX-encoded instructions are #UD outside protected mode. Source: SDM vol. 2A, table 2-29 (class 13).
fn need_vex(cpu: &Cpu) -> Result<(), Stop> {
    if cpu.protected() && !cpu.v86() { Ok(()) } else { Err(Stop::UD) }
}

/// The encoding of the condition of `i` in Jcc, SETcc, CMOVcc and LOOPcc.
fn cc(i: &Instruction) -> u8 {
    (i.condition_code() as u8).wrapping_sub(1) & 15
}
