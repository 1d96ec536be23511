//! x87: one file per family.
//!
//! Every function follows one order: may it run at all (#NM, then a pending #MF), the memory operand, the stack, the
//! arithmetic, the destination, and last the status word. An unmasked exception never faults here: it sets ES, and
//! the next waiting instruction raises #MF. Source: SDM vol. 1, ch. 8; vol. 2, the instructions.
//!
//! Differs: with CR0.NE clear, #MF is raised as if it were set; no board here routes FERR# to IRQ 13.

mod arith;
mod compare;
mod control;
mod image;
mod stack;
#[cfg(test)]
mod tests;
mod transfer;
mod various;

use super::Meaning;
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::state::{Cpu, Fpu, Seg};
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind};
use softfp::f80::{Operand, Precision};
use softfp::{Env, F80, Rounding, flag};

/// Bits of the status word.
pub(crate) mod status {
    #![allow(missing_docs, reason = "the mnemonics are the SDM's")]
    pub const SF: u16 = 1 << 6;
    pub const ES: u16 = 1 << 7;
    pub const C0: u16 = 1 << 8;
    pub const C1: u16 = 1 << 9;
    pub const C2: u16 = 1 << 10;
    pub const C3: u16 = 1 << 14;
    pub const B: u16 = 1 << 15;
}

/// Exceptions that, unmasked, leave the destination alone. Source: SDM vol. 1, 8.6 and 8.7.
const BEFORE: u8 = flag::IE | flag::DE | flag::ZE;

/// The meaning of `i`, if it belongs to this group.
#[rustfmt::skip]
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    use Mnemonic::*;
    Meaning::plain(match i.mnemonic() {
        Fadd | Faddp | Fiadd | Fsub | Fsubp | Fisub | Fsubr | Fsubrp | Fisubr => arith::arith,
        Fmul | Fmulp | Fimul | Fdiv | Fdivp | Fidiv | Fdivr | Fdivrp | Fidivr => arith::arith,
        Fsqrt | Frndint                                                       => arith::unary,
        Fchs | Fabs                                                           => arith::sign,
        Fprem | Fprem1                                                        => arith::prem,
        Fscale                                                                => arith::scale,
        Fxtract                                                               => arith::extract,
        Fcom | Fcomp | Ficom | Ficomp | Fucom | Fucomp | Fcompp | Fucompp     => compare::compare,
        Ftst                                                                  => compare::compare,
        Fcomi | Fcomip | Fucomi | Fucomip                                     => compare::compare_flags,
        Fxam                                                                  => compare::fxam,
        Fld | Fild                                                            => transfer::load,
        Fbld                                                                  => transfer::fbld,
        Fld1 | Fldl2t | Fldl2e | Fldpi | Fldlg2 | Fldln2 | Fldz               => transfer::constant,
        Fst | Fstp | Fist | Fistp | Fisttp | Fbstp | Fstpnce                  => transfer::store,
        Fxch                                                                  => transfer::fxch,
        Fcmovb | Fcmove | Fcmovbe | Fcmovu | Fcmovnb | Fcmovne | Fcmovnbe | Fcmovnu => transfer::fcmov,
        Fsin | Fcos | Fsincos | Fptan | F2xm1                                 => various::function,
        Fpatan | Fyl2x | Fyl2xp1                                              => various::function_of_two,
        Ffree | Ffreep                                                        => control::ffree,
        Fincstp | Fdecstp                                                     => control::turn,
        Fnop                                                                  => control::fnop,
        Wait                                                                  => control::wait,
        Fninit                                                                => control::fninit,
        Fnclex                                                                => control::fnclex,
        Fndisi | Fneni | Fnsetpm                                              => control::nothing,
        Fnstsw                                                                => control::fnstsw,
        Fnstcw                                                                => control::fnstcw,
        Fldcw                                                                 => control::fldcw,
        Fnstenv | Fnsave                                                      => image::save,
        Fldenv | Frstor                                                       => image::restore,
        _ => return None,
    })
}

impl Cpu {
    /// #NM for an x87 instruction. Source: SDM vol. 3A, 2.5 (CR0.EM, CR0.TS).
    fn x87_available(&self) -> Done {
        if self.cr0 & (1 << 2 | 1 << 3) != 0 { Err(Stop::NM) } else { Ok(()) }
    }

    /// What a waiting instruction checks first.
    fn x87_wait(&self) -> Done {
        self.x87_available()?;
        if self.fpu.sw & status::ES != 0 { Err(Stop::MF) } else { Ok(()) }
    }

    /// Controls for one operation, without flags.
    fn x87_env(&self) -> Env {
        Env {
            rounding: Rounding::from_bits(u32::from(self.fpu.cw) >> 10),
            masks: self.fpu.cw as u8 & flag::ALL,
            ..Env::default()
        }
    }

    fn x87_precision(&self) -> Precision {
        Precision::from_bits(u32::from(self.fpu.cw) >> 8)
    }

    /// The memory operand, as a number.
    fn x87_source(&mut self, i: &Instruction) -> Result<Operand, Stop> {
        let bytes = i.memory_size().size() as u32;
        let at = self.address(i, bytes, Access::Read)?;
        Ok(match i.memory_size() {
            MemorySize::Float32 => Operand::f32(self.load(at, 4)? as u32),
            MemorySize::Float64 => Operand::f64(self.load(at, 8)?),
            MemorySize::Int16 => Operand::integer((self.load(at, 2)? as i16).into()),
            MemorySize::Int32 => Operand::integer((self.load(at, 4)? as i32).into()),
            MemorySize::Int64 => Operand::integer(self.load(at, 8)? as i64),
            _ => {
                let mut b = [0; 10];
                self.load_bytes(at, &mut b)?;
                Operand::from(F80::from_bytes(b))
            }
        })
    }

    /// Ends a non-control instruction: flags and C1 of `env` go into the status word, and the instruction is noted.
    fn x87_finish(&mut self, i: &Instruction, env: &Env) {
        self.fpu.raise(env);
        self.x87_note(i, env.flags & !env.masks != 0);
        self.raised(env.flags, false);
    }

    /// Notes the last non-control instruction: FIP always, FDP and FOP only with an unmasked exception; FCS and FDS
    /// are deprecated and zero. Source: SDM vol. 1, 8.1.8 and 8.1.9.1; CPUID.(7,0):EBX[6] and [13].
    fn x87_note(&mut self, i: &Instruction, unmasked: bool) {
        self.fpu.ip = self.rip;
        if !unmasked {
            return;
        }
        if i.op_kind(0) == OpKind::Memory {
            self.fpu.dp = self.offset(i);
        }
        let mut b = [0; 16];
        // Byte by byte: code has no alignment to be checked.
        let read = self.linear(Seg::Cs, self.rip, i.len() as u32, Access::Execute).and_then(|at| {
            b.chunks_mut(1).take(i.len()).zip(0u64..).try_for_each(|(b, n)| self.load_bytes(at.wrapping_add(n), b))
        });
        let opcode = b.windows(2).find(|w| w[0] & 0xf8 == 0xd8);
        if let (Ok(()), Some(&[first, second])) = (read, opcode) {
            self.fpu.op = u16::from(first & 7) << 8 | u16::from(second);
        }
    }
}

impl Fpu {
    /// Adds the flags of `env` to the status word; C1 says whether the result was rounded up.
    fn raise(&mut self, env: &Env) {
        self.sw &= !status::C1;
        if env.rounded_up && env.flags & flag::PE != 0 {
            self.sw |= status::C1;
        }
        self.sw |= u16::from(env.flags);
        self.summarise();
    }

    /// A stack fault; true when the masked response is due.
    fn stack_fault(&mut self, overflow: bool) -> bool {
        self.sw &= !status::C1;
        self.sw |= u16::from(flag::IE) | status::SF | if overflow { status::C1 } else { 0 };
        self.summarise();
        self.cw & u16::from(flag::IE) != 0
    }

    /// ES and B: is an unmasked exception pending?
    fn summarise(&mut self) {
        self.sw &= !(status::ES | status::B);
        if self.sw & !self.cw & u16::from(flag::ALL) != 0 {
            self.sw |= status::ES | status::B;
        }
    }
}

/// Did `env` raise an unmasked exception among `kinds`?
fn stopped(env: &Env, kinds: u8) -> bool {
    env.flags & !env.masks & kinds != 0
}
