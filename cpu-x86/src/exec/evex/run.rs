//! Running a described instruction: checks, operands in, formula, mask, result out.
//!
//! Source: SDM vol. 1, 15.6 (masks, broadcast), 15.7 (memory fault suppression); vol. 2A, 2.7.5 to 2.7.11.

use super::describe::{Evex, Formula, Place};
use super::value::{BYTES, W};
use super::{check, ones, set_vector};
use crate::exec::simd::{Kernel, V, env_of, raise, settle};
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::state::Cpu;
use softfp::{Env, flag};

/// What the sources hold, and which elements are picked.
struct Sources {
    a: W,
    b: W,
    c: W,
    picked: u64,
}

/// What a formula gives.
enum Outcome {
    Value(W),
    Flags(u64),
}

impl Evex {
    /// Executes it; `cpu.rip` must be its offset.
    ///
    /// # Errors
    /// #UD and #NM as the state is; #GP(0) if memory must be aligned and is not; what reading or writing memory
    /// raises; #XM or #UD for an unmasked floating-point exception.
    pub fn run(&self, cpu: &mut Cpu) -> Done {
        check(cpu)?;
        if let (0, Formula::Shared(Kernel::Move)) = (self.mask, self.formula)
            && let Some(done) = self.copy(cpu)
        {
            return done;
        }
        let picked = self.picked(cpu);
        let b = if self.b == Place::Memory { self.load(cpu, picked)? } else { read(cpu, self.b) };
        let mut s = Sources { a: read(cpu, self.a), b, c: read(cpu, self.dst), picked };
        let mut env = self.environment(cpu);
        let earlier = env.flags;
        let outcome = self.compute(&mut s, &mut env);
        if !self.silent {
            if settle(&mut env, earlier) && self.dst == Place::Memory {
                self.probe(cpu, picked)?;
            }
            raise(cpu, &env)?;
        }
        match outcome {
            Outcome::Value(r) => self.finish(cpu, r, picked)?,
            Outcome::Flags(flags) => cpu.set_status_flags(flags),
        }
        if !self.silent {
            cpu.mxcsr |= u32::from(env.flags);
        }
        cpu.raised(env.flags, env.ftz);
        Ok(())
    }

    /// A move without mask, between a vector register and memory or another register.
    fn copy(&self, cpu: &mut Cpu) -> Option<Done> {
        let mut bytes = [0; BYTES];
        match (self.dst, self.b) {
            (Place::Vector(n, size), Place::Vector(from, _)) => {
                let size = usize::from(size).min(BYTES);
                bytes[..size].copy_from_slice(&cpu.vec[usize::from(from & 31)].0[..size]);
                cpu.vec[usize::from(n & 31)].0 = bytes;
                Some(Ok(()))
            }
            (Place::Vector(n, _), Place::Memory) if !self.broadcast => {
                Some(self.read_memory(cpu, &mut bytes).map(|()| cpu.vec[usize::from(n & 31)].0 = bytes))
            }
            (Place::Memory, Place::Vector(n, _)) => {
                let from = cpu.vec[usize::from(n & 31)].0;
                Some(self.write_memory(cpu, &from))
            }
            _ => None,
        }
    }

    /// Reads the whole memory operand.
    fn read_memory(&self, cpu: &mut Cpu, bytes: &mut [u8; BYTES]) -> Done {
        let n = usize::from(self.memory_bytes).min(BYTES);
        let at = self.linear(cpu, n, Access::Read)?;
        cpu.load_bytes(at, &mut bytes[..n])
    }

    /// Writes the whole memory operand.
    fn write_memory(&self, cpu: &mut Cpu, bytes: &[u8; BYTES]) -> Done {
        let n = usize::from(self.memory_bytes).min(BYTES);
        let at = self.linear(cpu, n, Access::Write)?;
        cpu.store_bytes(at, &bytes[..n])
    }

    /// Linear address of the memory operand, with its alignment checked: #AC concerns operands of up to eight bytes.
    fn linear(&self, cpu: &mut Cpu, n: usize, access: Access) -> Result<u64, Stop> {
        self.check_alignment(cpu, access)?;
        let at = self.address.linear(cpu, n as u32, access)?;
        if self.aligned && at & (n as u64 - 1) != 0 {
            return Err(Stop::gp(0));
        }
        if n <= 8 {
            cpu.check_alignment(at, n as u32)?;
        }
        Ok(at)
    }

    /// The elements that the mask picks.
    fn picked(&self, cpu: &Cpu) -> u64 {
        let all = ones(self.count.into());
        if self.mask == 0 { all } else { cpu.k[usize::from(self.mask & 7)] & all }
    }

    /// Are all elements picked?
    fn is_full(&self, picked: u64) -> bool {
        picked == ones(self.count.into())
    }

    /// MXCSR's environment, or that of the instruction's own rounding: then nothing is raised.
    fn environment(&self, cpu: &Cpu) -> Env {
        let mut own = Env::from_mxcsr(cpu.mxcsr);
        own.flags &= !(flag::DE | flag::UE);
        if self.masked && !self.silent {
            return Env { masks: flag::ALL, ..own };
        }
        if !self.silent {
            return env_of(cpu.mxcsr);
        }
        Env { masks: flag::ALL, flags: flag::PE, rounding: self.rounding.unwrap_or(own.rounding), ..own }
    }

    fn compute(&self, s: &mut Sources, env: &mut Env) -> Outcome {
        match self.formula {
            Formula::Shared(k) => return self.shared(s, k, env),
            Formula::Nibble(Kernel::Imm(f)) => self.halves(s, |h, _, a, b, _| f(a, b, self.imm >> (4 * h))),
            Formula::Count(Kernel::Two(f)) => Some(W(s.a.0.map(|a| f(&a, &s.b.0[0])))),
            Formula::Half(f) => self.halves(s, |_, _, a, b, c| f(c, a, b, self.imm)),
            Formula::Whole(f) => Some(f(&s.c, &s.a, &s.b, self)),
            Formula::Real(f) => {
                let mut r = if self.scalar { s.a } else { W::ZERO };
                let (source, element) = (self.source.into(), self.element.into());
                for k in (0..usize::from(self.count)).filter(|k| s.picked >> k & 1 != 0) {
                    let (c, a) = (s.c.element(k, element), s.a.element(k, element));
                    r.set_element(k, element, f(c, a, s.b.element(k, source), self.imm, env));
                }
                Some(r)
            }
            Formula::Nibble(_) | Formula::Count(_) => None,
        }
        .map_or(Outcome::Flags(0), Outcome::Value)
    }

    /// A kernel of the VEX group, over each half.
    fn shared(&self, s: &mut Sources, kernel: Kernel, env: &mut Env) -> Outcome {
        if matches!(kernel, Kernel::Fp(_) | Kernel::FpImm(_) | Kernel::Fp3(_)) {
            self.leave_out(s);
        }
        let r = match kernel {
            Kernel::Move => Some(s.b),
            Kernel::Two(f) => self.halves(s, |_, _, a, b, _| f(a, b)),
            Kernel::Imm(f) => self.halves(s, |_, _, a, b, _| f(a, b, self.imm)),
            Kernel::Three(f) => self.halves(s, |_, _, a, b, c| f(a, b, c)),
            Kernel::Fp(f) => self.halves(s, |_, n, a, b, _| f(a, b, n, env)),
            Kernel::FpImm(f) | Kernel::FpSteps(f) => self.halves(s, |_, n, a, b, _| f(a, b, self.imm, n, env)),
            Kernel::Fp3(f) => self.halves(s, |_, n, a, b, c| f(a, b, c, n, env)),
            Kernel::Flags(f) => return Outcome::Flags(f(&s.a.0[0], &s.b.0[0])),
            Kernel::FpFlags(f) => return Outcome::Flags(f(&s.a.0[0], &s.b.0[0], env)),
            Kernel::Whole(_) => None,
        };
        r.map_or(Outcome::Flags(0), Outcome::Value)
    }

    /// `f` of the number of the half, its number of elements, and the halves of `a`, `b` and `c`. Where elements
    /// change their width, a half is of the wider ones.
    fn halves(&self, s: &Sources, mut f: impl FnMut(usize, usize, &V, &V, &V) -> V) -> Option<W> {
        let (count, per) = (usize::from(self.count), usize::from(self.per_half));
        if self.scalar || matches!(self.dst, Place::General(_)) {
            return Some(W([f(0, 1, &s.a.0[0], &s.b.0[0], &s.c.0[0]), V::ZERO]));
        }
        let (from, to) = (per * usize::from(self.source), per * usize::from(self.element));
        let mut r = W::ZERO;
        for half in (0..2).take_while(|half| half * per < count) {
            let n = per.min(count - half * per);
            let (a, c) = (s.a.part(half * to, to), s.c.part(half * to, to));
            r.set_part(half * to, to, &f(half, n, &a, &s.b.part(half * from, from), &c));
        }
        Some(r)
    }

    /// Elements that the mask leaves out compute with ones, which raises nothing.
    fn leave_out(&self, s: &mut Sources) {
        if self.is_full(s.picked) {
            return;
        }
        let (source, element) = (self.source.into(), self.element.into());
        for k in (0..usize::from(self.count)).filter(|k| s.picked >> k & 1 == 0) {
            s.b.set_element(k, source, one(source));
            s.a.set_element(k, element, one(element));
            s.c.set_element(k, element, one(element));
        }
    }

    /// Applies the mask and writes the result.
    fn finish(&self, cpu: &mut Cpu, mut r: W, picked: u64) -> Done {
        let element = usize::from(self.element);
        match self.dst {
            Place::Mask(n) => {
                let sign = |k: &usize| r.element(*k, element) >> (8 * element - 1) & 1 != 0;
                let held = (0..usize::from(self.count)).filter(sign).fold(0, |bits, k| bits | 1 << k);
                cpu.k[usize::from(n & 7)] = held & picked;
            }
            Place::General(n) => cpu.regs[usize::from(n & 15)] = r.get(0),
            Place::Memory => return self.store(cpu, &r, picked),
            Place::Vector(n, bytes) => {
                if !self.is_full(picked) {
                    let kept =
                        if self.zeroing { W::ZERO } else { read(cpu, if self.blends { self.a } else { self.dst }) };
                    for k in (0..usize::from(self.count)).filter(|k| picked >> k & 1 == 0) {
                        r.set_element(k, element, kept.element(k, element));
                    }
                }
                set_vector(cpu, n.into(), &r, bytes.into());
            }
            Place::None => {}
        }
        Ok(())
    }

    /// Which of its elements the memory operand has, and which of them are picked: it may have fewer than the result,
    /// which then takes them over and over.
    fn needed(&self, picked: u64) -> (usize, u64) {
        let (count, held) = (usize::from(self.count), usize::from(self.memory_bytes / self.source).max(1));
        let needed = (0..count).step_by(held).fold(0, |all, from| all | picked >> from);
        (held.min(count), needed & ones(held.min(count)))
    }

    /// Reads the memory operand.
    fn load(&self, cpu: &mut Cpu, picked: u64) -> Result<W, Stop> {
        let (mut bytes, n) = ([0; BYTES], usize::from(self.memory_bytes).clamp(1, BYTES));
        let (held, needed) = if self.suppresses { self.needed(picked) } else { (1, 1) };
        if needed == 0 {
            // Not even its alignment is checked (Bochs, cpu/avx/avx512_move.cc; compared natively).
            return Ok(W::ZERO);
        }
        self.check_alignment(cpu, Access::Read)?;
        let partly = needed != ones(held);
        let whole = if partly && cpu.watching_data() { Err(Stop::gp(0)) } else { self.read_memory(cpu, &mut bytes) };
        match whole {
            Err(stop) if partly && stop != Stop::AC => self.load_each(cpu, needed, &mut bytes)?,
            done => done?,
        }
        if self.broadcast {
            for to in (n..(usize::from(self.count) * usize::from(self.source)).min(BYTES)).step_by(n) {
                bytes.copy_within(..n, to);
            }
        }
        Ok(W::of(&bytes))
    }

    /// Reads the elements that are needed; those that are not cannot fault.
    fn load_each(&self, cpu: &mut Cpu, needed: u64, bytes: &mut [u8; BYTES]) -> Done {
        let size = usize::from(self.source);
        bytes.fill(0);
        for k in (0..usize::from(self.count)).filter(|k| needed >> k & 1 != 0) {
            let at = self.address.behind(cpu, (k * size) as u64, size as u32, Access::Read)?;
            cpu.load_bytes(at, &mut bytes[k * size..(k + 1) * size])?;
        }
        Ok(())
    }

    /// Writes the memory operand: only the elements that are picked, and none before all may be written.
    fn store(&self, cpu: &mut Cpu, r: &W, picked: u64) -> Done {
        let (bytes, n) = (r.bytes(), usize::from(self.memory_bytes).min(BYTES));
        if self.suppresses && self.mask != 0 && picked == 0 {
            return Ok(());
        }
        self.check_alignment(cpu, Access::Write)?;
        if self.mask == 0 || self.is_full(picked) {
            return self.write_memory(cpu, &bytes);
        }
        if !self.suppresses {
            let at = self.address.linear(cpu, n as u32, Access::Write)?;
            cpu.probe(at, n as u32, Access::Write)?;
        }
        let size = usize::from(self.element);
        let mut places = [0; BYTES];
        let chosen = || (0..usize::from(self.count)).filter(|k| picked >> k & 1 != 0);
        for k in chosen() {
            places[k] = self.address.behind(cpu, (k * size) as u64, size as u32, Access::Write)?;
            cpu.probe(places[k], size as u32, Access::Write)?;
        }
        for k in chosen() {
            cpu.store_bytes(places[k], &bytes[k * size..(k + 1) * size])?;
        }
        Ok(())
    }

    /// A fault of the destination in memory goes before #XM. Source: SDM vol. 3A, table 6-2.
    #[cold]
    fn probe(&self, cpu: &mut Cpu, picked: u64) -> Done {
        let size = u32::from(self.element);
        (0..u64::from(self.count)).filter(|k| picked >> k & 1 != 0).try_for_each(|k| {
            let at = self.address.behind(cpu, k * u64::from(size), size, Access::Write)?;
            cpu.probe(at, size, Access::Write)
        })
    }

    /// #GP(0) if the memory operand must be aligned and is not.
    fn check_alignment(&self, cpu: &Cpu, access: Access) -> Done {
        if !self.aligned {
            return Ok(());
        }
        // Outside 64-bit mode before the limits of segments: see `simd`.
        let at = if cpu.is_64bit() { self.address.linear(cpu, 1, access)? } else { self.address.unchecked(cpu) };
        if at & u64::from(self.memory_bytes - 1) != 0 { Err(Stop::gp(0)) } else { Ok(()) }
    }
}

/// The value of an operand that is not in memory.
fn read(cpu: &Cpu, place: Place) -> W {
    match place {
        Place::Vector(n, bytes) => {
            let mut v = cpu.vec[usize::from(n & 31)].0;
            v[usize::from(bytes).min(BYTES)..].fill(0);
            W::of(&v)
        }
        Place::Mask(n) => W::low(cpu.k[usize::from(n & 7)]),
        Place::General(n) => W::low(cpu.regs[usize::from(n & 15)]),
        Place::None | Place::Memory => W::ZERO,
    }
}

/// 1.0 in a format of so many bytes.
const fn one(bytes: usize) -> u64 {
    match bytes {
        2 => 0x3c00,
        4 => 0x3f80_0000,
        _ => 0x3ff0_0000_0000_0000,
    }
}
