//! Running a described instruction: checks, operands in, kernel, result out.
//!
//! Source: SDM vol. 1, 10.2.3 (MXCSR), 11.5 (SIMD floating-point exceptions), 14.9 (alignment), 9.2.1 (MMX registers
//! are the significands); vol. 2A, 2.3.10.1 (VEX clears the upper bits).

use super::check::{check_avx, check_mmx, check_sse, enter_mmx};
use super::describe::{Kernel, Needs, Place, Simd};
use super::value::V;
use crate::fault::{Done, Stop};
use crate::memory::Access;
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
        (self.shape)(self, cpu, at)
    }

    /// The function that runs this description: one for each common shape, and the general one.
    pub(super) fn choose(&self) -> Run {
        use Kernel::{Fp, Imm, Move, Two};
        use shape::*;
        let of = |p: Place| match p {
            Place::Xmm(_) => X,
            Place::Ymm(_) => Y,
            Place::Gpr(_) => G,
            Place::Memory if self.memory_bytes == 16 => M16,
            Place::Memory if self.memory_bytes == 32 => M32,
            _ => ANY,
        };
        let (d, a, b) = (of(self.dst), of(self.a), of(self.b));
        match (self.kernel, d, a, b) {
            _ if self.enters_mmx => general,
            (Move, X, _, X) => shaped::<X, ANY, X>,
            (Move, X, _, M16) => shaped::<X, ANY, M16>,
            (Move, X, _, _) => shaped::<X, ANY, ANY>,
            (Move, M16, _, X) => shaped::<M16, ANY, X>,
            (Move, _, _, X) => shaped::<ANY, ANY, X>,
            (Move, Y, _, M32) => shaped::<Y, ANY, M32>,
            (Move, M32, _, Y) => shaped::<M32, ANY, Y>,
            (Two(_) | Imm(_), X, X, X) => shaped::<X, X, X>,
            (Two(_) | Imm(_), X, X, M16) => shaped::<X, X, M16>,
            (Two(_) | Imm(_), Y, Y, Y) => shaped::<Y, Y, Y>,
            (Two(_) | Imm(_), Y, Y, M32) => shaped::<Y, Y, M32>,
            (Two(_) | Imm(_), X, X, _) => shaped::<X, X, ANY>,
            (Two(_) | Imm(_), G, _, X) => shaped::<G, ANY, X>,
            (Two(_) | Imm(_), G, _, Y) => shaped::<G, ANY, Y>,
            (Fp(_), X, X, X) => shaped_fp::<X, X>,
            (Fp(_), X, X, _) => shaped_fp::<X, ANY>,
            _ => general,
        }
    }

    /// #AC concerns memory operands of up to eight bytes.
    fn check_alignment(&self, cpu: &Cpu, at: u64) -> Done {
        if self.memory_bytes <= 8 { cpu.check_alignment(at, self.memory_bytes.into()) } else { Ok(()) }
    }

    /// Reads `place`, whose shape is `S`, into `v`, which is zero.
    #[inline(always)]
    fn load<const S: u8>(&self, cpu: &mut Cpu, place: Place, at: u64, v: &mut V) -> Done {
        let n = usize::from(place.number());
        match (S, place) {
            (shape::X, _) | (shape::ANY, Place::Xmm(_)) => v.0[..16].copy_from_slice(&cpu.vec[n & 31].0[..16]),
            (shape::Y, _) | (shape::ANY, Place::Ymm(_)) => v.0.copy_from_slice(&cpu.vec[n & 31].0[..32]),
            (shape::G, _) | (shape::ANY, Place::Gpr(_)) => v.put(0, cpu.regs[n & 15]),
            (shape::M16, _) => cpu.load_bytes(at, &mut v.0[..16])?,
            (shape::M32, _) => cpu.load_bytes(at, &mut v.0)?,
            (_, Place::Mm(_)) => v.put(0, cpu.fpu.r[n & 7].significand),
            (_, Place::Memory) => {
                self.check_alignment(cpu, at)?;
                cpu.load_bytes(at, &mut v.0[..usize::from(self.memory_bytes).min(32)])?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes the result to the destination, whose shape is `S`.
    #[inline(always)]
    fn store<const S: u8>(&self, cpu: &mut Cpu, at: u64, r: &V) -> Done {
        let n = usize::from(self.dst.number());
        match (S, self.dst) {
            (shape::X, _) | (shape::ANY, Place::Xmm(_)) => {
                let reg = &mut cpu.vec[n & 31].0;
                reg[..16].copy_from_slice(&r.0[..16]);
                if self.needs == Needs::Avx {
                    reg[16..].fill(0);
                }
            }
            (shape::Y, _) | (shape::ANY, Place::Ymm(_)) => {
                let reg = &mut cpu.vec[n & 31].0;
                reg[..32].copy_from_slice(&r.0);
                reg[32..].fill(0);
            }
            (shape::G, _) | (shape::ANY, Place::Gpr(_)) => cpu.regs[n & 15] = r.get(0),
            (shape::M16, _) => cpu.store_bytes(at, &r.0[..16])?,
            (shape::M32, _) => cpu.store_bytes(at, &r.0)?,
            (_, Place::Mm(_)) => set_mm(cpu, n as u8, r.get(0)),
            (_, Place::Memory) => {
                self.check_alignment(cpu, at)?;
                cpu.store_bytes(at, &r.0[..usize::from(self.memory_bytes).min(32)])?;
            }
            _ => {}
        }
        if S == shape::ANY && self.enters_mmx {
            enter_mmx(cpu);
        }
        Ok(())
    }
}

impl Simd {
    /// What comes before #XM: a page fault of the destination (SDM vol. 3A, table 6-2), and the passage to MMX
    /// (hardware; Bochs does the same).
    #[cold]
    fn before_raising(&self, cpu: &mut Cpu, at: u64) -> Done {
        if self.dst == Place::Memory {
            cpu.probe(at, self.memory_bytes.into(), Access::Write)?;
        }
        if self.enters_mmx {
            enter_mmx(cpu);
        }
        Ok(())
    }
}

/// A function that runs descriptions of one shape, with the memory operand at the linear address given.
pub type Run = fn(&Simd, &mut Cpu, u64) -> Done;

/// Shapes of operands, known when an instance of `shaped` is compiled.
mod shape {
    /// To be looked up.
    pub const ANY: u8 = 0;
    /// XMM register.
    pub const X: u8 = 1;
    /// YMM register.
    pub const Y: u8 = 2;
    /// Memory, 16 bytes.
    pub const M16: u8 = 3;
    /// Memory, 32 bytes.
    pub const M32: u8 = 4;
    /// General register.
    pub const G: u8 = 5;
}

/// Runs a move, or a kernel of two operands and perhaps an immediate, whose operands have shapes `D`, `A` and `B`.
fn shaped<const D: u8, const A: u8, const B: u8>(s: &Simd, cpu: &mut Cpu, at: u64) -> Done {
    let mut b = V::ZERO;
    s.load::<B>(cpu, s.b, at, &mut b)?;
    if let Kernel::Move = s.kernel {
        return s.store::<D>(cpu, at, &b);
    }
    let mut a = V::ZERO;
    s.load::<A>(cpu, s.a, at, &mut a)?;
    let r = match s.kernel {
        Kernel::Two(f) => f(&a, &b),
        Kernel::Imm(f) => f(&a, &b, s.imm),
        _ => return general(s, cpu, at),
    };
    s.store::<D>(cpu, at, &r)
}

/// Runs a floating-point kernel whose destination and first source are XMM registers or of shape `D`.
fn shaped_fp<const D: u8, const B: u8>(s: &Simd, cpu: &mut Cpu, at: u64) -> Done {
    let (mut a, mut b) = (V::ZERO, V::ZERO);
    s.load::<B>(cpu, s.b, at, &mut b)?;
    s.load::<D>(cpu, s.a, at, &mut a)?;
    let mut env = env_of(cpu.mxcsr);
    let earlier = env.flags;
    let r = match s.kernel {
        Kernel::Fp(f) => f(&a, &b, usize::from(s.count), &mut env),
        _ => return general(s, cpu, at),
    };
    settle(&mut env, earlier);
    raise(cpu, &env)?;
    s.store::<D>(cpu, at, &r)?;
    note(cpu, &env);
    Ok(())
}

/// Runs any description.
fn general(s: &Simd, cpu: &mut Cpu, at: u64) -> Done {
    let (mut a, mut b, mut c) = (V::ZERO, V::ZERO, V::ZERO);
    s.load::<{ shape::ANY }>(cpu, s.b, at, &mut b)?;
    s.load::<{ shape::ANY }>(cpu, s.a, at, &mut a)?;
    s.load::<{ shape::ANY }>(cpu, s.c, at, &mut c)?;
    let n = usize::from(s.count);
    let mut env = env_of(cpu.mxcsr);
    let earlier = env.flags;
    let (mut r, mut flags) = (V::ZERO, None);
    match s.kernel {
        Kernel::Move => r = b,
        Kernel::Two(f) => r = f(&a, &b),
        Kernel::Imm(f) => r = f(&a, &b, s.imm),
        Kernel::Three(f) => r = f(&a, &b, &c),
        Kernel::Flags(f) => flags = Some(f(&a, &b)),
        Kernel::Fp(f) => r = f(&a, &b, n, &mut env),
        Kernel::FpImm(f) | Kernel::FpSteps(f) => r = f(&a, &b, s.imm, n, &mut env),
        Kernel::Fp3(f) => r = f(&a, &b, &c, n, &mut env),
        Kernel::FpFlags(f) => flags = Some(f(&a, &b, &mut env)),
        Kernel::Whole(f) => f(cpu),
    }
    if !matches!(s.kernel, Kernel::FpSteps(_)) {
        settle(&mut env, earlier);
    }
    if env.flags & !env.masks != 0 {
        s.before_raising(cpu, at)?;
    }
    raise(cpu, &env)?;
    match flags {
        Some(flags) => cpu.set_status_flags(flags),
        None => s.store::<{ shape::ANY }>(cpu, at, &r)?,
    }
    note(cpu, &env);
    Ok(())
}

/// Writes an MM register; the exponent of the x87 register it lies in becomes all ones.
pub fn set_mm(cpu: &mut Cpu, n: u8, v: u64) {
    let r = &mut cpu.fpu.r[usize::from(n & 7)];
    r.significand = v;
    r.sign_exponent = 0xffff;
}

/// The floating-point environment that MXCSR describes. Only masked sticky flags are in it, so that an unmasked one
/// found there afterwards was raised now; the masked ones let `softfp` take its fast path. DE and UE never are.
pub fn env_of(mxcsr: u32) -> Env {
    let mut env = Env::from_mxcsr(mxcsr);
    env.flags &= env.masks & !(flag::DE | flag::UE);
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

/// Records in MXCSR what an operation raised in `env`, which began as [`env_of`] has it, and faulted for none of it.
#[inline]
pub fn note(cpu: &mut Cpu, env: &Env) {
    cpu.mxcsr |= u32::from(env.flags);
    cpu.raised(env.flags, env.ftz);
}

/// Raises what an operation left unmasked in `env`, having recorded it in MXCSR.
///
/// # Errors
/// #XM, or #UD where the system has not said that it handles #XM (CR4.OSXMMEXCPT).
pub fn raise(cpu: &mut Cpu, env: &Env) -> Done {
    if env.flags & !env.masks == 0 {
        return Ok(());
    }
    cpu.mxcsr |= u32::from(env.flags);
    Err(if cpu.cr4 & CR4_OSXMMEXCPT != 0 { Stop::XM } else { Stop::UD })
}
