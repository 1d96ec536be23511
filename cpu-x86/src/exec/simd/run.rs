//! Running a described instruction: checks, operands in, kernel, result out.
//!
//! Source: SDM vol. 1, 10.2.3 (MXCSR), 11.5 (SIMD floating-point exceptions), 14.9 (alignment), 9.2.1 (MMX registers
//! are the significands); vol. 2A, 2.3.10.1 (VEX clears the upper bits).

use super::check::{check_avx, check_mmx, check_sse, enter_mmx};
use super::describe::{Kernel, Needs, Place, Simd};
use super::value::V;
use crate::fault::{Done, Stop};
use crate::state::Cpu;
use softfp::{Env, flag};

const CR4_OSXMMEXCPT: u64 = 1 << 10;
/// Exceptions found before computing: an unmasked one keeps the others from being looked for.
const BEFORE: u8 = flag::IE | flag::DE | flag::ZE;

impl Simd {
    /// May the instruction run in the present state? To be called before its address is computed.
    ///
    /// # Errors
    /// #UD, #NM, #MF.
    #[inline]
    pub fn check(&self, cpu: &Cpu) -> Done {
        match self.needs {
            Needs::Nothing => Ok(()),
            Needs::Sse => check_sse(cpu),
            Needs::Avx => check_avx(cpu),
            Needs::Mmx => check_mmx(cpu),
            Needs::SseMmx => check_sse(cpu).and_then(|()| check_mmx(cpu)),
        }
    }

    /// Executes, with the memory operand (if there is one) at linear address `at`.
    ///
    /// # Errors
    /// #GP(0) if it must be aligned and is not; what reading or writing memory raises; #XM or #UD for an unmasked
    /// floating-point exception.
    #[inline]
    pub fn run(&self, cpu: &mut Cpu, at: u64) -> Done {
        if self.aligned && at & u64::from(self.memory_bytes - 1) != 0 {
            return Err(Stop::gp(0));
        }
        let b = self.value(cpu, self.b, at)?;
        let r = match self.kernel {
            Kernel::Move => b,
            Kernel::Two(f) => f(&self.value(cpu, self.a, at)?, &b),
            Kernel::Imm(f) => f(&self.value(cpu, self.a, at)?, &b, self.imm),
            Kernel::Three(f) => f(&self.value(cpu, self.a, at)?, &b, &self.value(cpu, self.c, at)?),
            Kernel::Flags(f) => {
                let flags = f(&self.value(cpu, self.a, at)?, &b);
                cpu.set_status_flags(flags);
                return Ok(());
            }
            Kernel::Whole(f) => {
                f(cpu);
                return Ok(());
            }
            _ => return self.run_fp(cpu, at, &b),
        };
        self.put(cpu, at, &r)
    }

    /// The rest of `run` for floating-point kernels.
    fn run_fp(&self, cpu: &mut Cpu, at: u64, b: &V) -> Done {
        let a = self.value(cpu, self.a, at)?;
        let c = self.value(cpu, self.c, at)?;
        let n = usize::from(self.count);
        let mut env = env_of(cpu.mxcsr);
        let mut compared = None;
        let earlier = env.flags;
        let r = match self.kernel {
            Kernel::Fp(f) => f(&a, b, n, &mut env),
            Kernel::FpImm(f) => f(&a, b, self.imm, n, &mut env),
            Kernel::FpSteps(f) => f(&a, b, self.imm, n, &mut env),
            Kernel::Fp3(f) => f(&a, b, &c, n, &mut env),
            Kernel::FpFlags(f) => {
                compared = Some(f(&a, b, &mut env));
                V::ZERO
            }
            _ => V::ZERO,
        };
        if !matches!(self.kernel, Kernel::FpSteps(_)) {
            settle(&mut env, earlier);
        }
        raise(cpu, &env)?;
        match compared {
            Some(flags) => cpu.set_status_flags(flags),
            None => self.put(cpu, at, &r)?,
        }
        cpu.mxcsr |= u32::from(env.flags);
        Ok(())
    }

    /// The value at `place`.
    #[inline(always)]
    fn value(&self, cpu: &mut Cpu, place: Place, at: u64) -> Result<V, Stop> {
        let mut v = V::ZERO;
        match place {
            Place::None => {}
            Place::Xmm(r) => v.0[..16].copy_from_slice(&cpu.vec[usize::from(r & 31)].0[..16]),
            Place::Ymm(r) => v.0.copy_from_slice(&cpu.vec[usize::from(r & 31)].0[..32]),
            Place::Mm(r) => v.put(0, cpu.fpu.r[usize::from(r & 7)].significand),
            Place::Gpr(r) => v.put(0, cpu.regs[usize::from(r & 15)]),
            Place::Memory => cpu.load_bytes(at, &mut v.0[..usize::from(self.memory_bytes & 63).min(32)])?,
        }
        Ok(v)
    }

    /// Writes the result.
    #[inline(always)]
    fn put(&self, cpu: &mut Cpu, at: u64, r: &V) -> Done {
        match self.dst {
            Place::None => {}
            Place::Xmm(n) => {
                let reg = &mut cpu.vec[usize::from(n & 31)].0;
                reg[..16].copy_from_slice(&r.0[..16]);
                if self.needs == Needs::Avx {
                    reg[16..].fill(0);
                }
            }
            Place::Ymm(n) => {
                let reg = &mut cpu.vec[usize::from(n & 31)].0;
                reg[..32].copy_from_slice(&r.0);
                reg[32..].fill(0);
            }
            Place::Mm(n) => set_mm(cpu, n, r.get(0)),
            Place::Gpr(n) => cpu.regs[usize::from(n & 15)] = r.get(0),
            Place::Memory => cpu.store_bytes(at, &r.0[..usize::from(self.memory_bytes & 63).min(32)])?,
        }
        if self.enters_mmx {
            enter_mmx(cpu);
        }
        Ok(())
    }
}

/// Writes an MM register; the exponent of the x87 register it lies in becomes all ones.
pub fn set_mm(cpu: &mut Cpu, n: u8, v: u64) {
    let r = &mut cpu.fpu.r[usize::from(n & 7)];
    r.significand = v;
    r.sign_exponent = 0xffff;
}

/// The floating-point environment that MXCSR describes. Only masked sticky flags are in it, so that an unmasked one
/// found there afterwards was raised now; the masked ones let `softfp` take its fast path.
pub fn env_of(mxcsr: u32) -> Env {
    let mut env = Env::from_mxcsr(mxcsr);
    env.flags &= env.masks;
    env.ftz &= env.masks & flag::UE != 0;
    env
}

/// Ends an operation over some elements, `earlier` flags from before it: an unmasked exception found before computing
/// in any element keeps those found after it from being recorded. Is any exception unmasked?
#[inline]
pub fn settle(env: &mut Env, earlier: u8) -> bool {
    let unmasked = env.flags & !env.masks;
    if unmasked & BEFORE != 0 {
        env.flags = earlier | env.flags & BEFORE;
    }
    unmasked != 0
}

/// Raises what an operation left unmasked in `env`, having recorded it in MXCSR.
///
/// # Errors
/// #XM, or #UD where the system has not said that it handles #XM (CR4.OSXMMEXCPT).
fn raise(cpu: &mut Cpu, env: &Env) -> Done {
    if env.flags & !env.masks == 0 {
        return Ok(());
    }
    cpu.mxcsr |= u32::from(env.flags);
    Err(if cpu.cr4 & CR4_OSXMMEXCPT != 0 { Stop::XM } else { Stop::UD })
}
