//! The state images of FXSAVE and the XSAVE family: layout, and how the state goes in and out.
//!
//! An [`Image`] holds components where the standard format has them; the compacted format is a matter of where each goes
//! in memory. The instructions are in `exec/platform/xsave.rs`. Source: SDM vol. 1, 10.5 (FXSAVE area), 13.4 (XSAVE
//! area), 13.5 (components), 13.6 (XINUSE and initial configurations); offsets: spec/platform.md, "Identity".

use crate::exec::evex;
use crate::fault::Stop;
use crate::state::{Cpu, Fpu};
use softfp::F80;

pub(crate) const X87: u64 = 1;
pub(crate) const SSE: u64 = 2;
pub(crate) const AVX: u64 = 4;
pub(crate) const OPMASK: u64 = 1 << 5;
pub(crate) const ZMM_HI256: u64 = 1 << 6;
pub(crate) const HI16_ZMM: u64 = 1 << 7;
pub(crate) const PKRU: u64 = 1 << 9;
/// What XCR0 may hold.
pub(crate) const SUPPORTED: u64 = X87 | SSE | AVX | PKRU | if evex::OFFERED { AVX512 } else { 0 };
/// The three components of AVX-512.
const AVX512: u64 = OPMASK | ZMM_HI256 | HI16_ZMM;
/// What IA32_XSS may hold where it is offered: last branch records, which the doors have.
pub(crate) const SUPERVISOR: u64 = LBR;
pub(crate) const LBR: u64 = 1 << LBR_COMPONENT;
pub(crate) const LBR_COMPONENT: u32 = 15;
pub(crate) const LBR_BYTES: u32 = 808;

/// Bytes of the legacy region and of the header after it.
pub(crate) const LEGACY_BYTES: u32 = 512;
pub(crate) const HEADER_BYTES: u32 = 64;
/// Where extended components begin.
pub(crate) const EXTENDED: u32 = LEGACY_BYTES + HEADER_BYTES;
/// The largest area.
const AREA_BYTES: usize = 2696;
/// MXCSR after reset and in the initial configuration.
pub(crate) const MXCSR_INITIAL: u32 = 0x1f80;
/// Bits of MXCSR that exist.
pub(crate) const MXCSR_MASK: u32 = 0xffff;

/// An extended component.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Component {
    /// Its bit in XCR0.
    pub bit: u64,
    #[allow(missing_docs, reason = "the name says it")]
    pub bytes: u32,
    /// Where the standard format has it.
    pub offset: u32,
}

/// The extended components, in order; none asks for alignment in the compacted format. What the processor does not offer
/// is never asked for.
const COMPONENTS: [Component; 5] = [
    Component { bit: AVX, bytes: 256, offset: 576 },
    Component { bit: OPMASK, bytes: 64, offset: 0x440 },
    Component { bit: ZMM_HI256, bytes: 512, offset: 0x480 },
    Component { bit: HI16_ZMM, bytes: 1024, offset: 0x680 },
    Component { bit: PKRU, bytes: 8, offset: 0xa80 },
];

/// The extended components of `which`, each with its offset: in the compacted format of those in `format`, if given.
pub(crate) fn components(which: u64, format: Option<u64>) -> impl Iterator<Item = (Component, u32)> {
    let mut next = EXTENDED;
    COMPONENTS.into_iter().filter_map(move |c| {
        let at = if format.is_some() { next } else { c.offset };
        next += if format.is_some_and(|f| f & c.bit != 0) { c.bytes } else { 0 };
        (which & c.bit != 0).then_some((c, at))
    })
}

/// The component of subleaf `n` of CPUID leaf 0Dh, if it is offered.
pub(crate) fn component(n: u32) -> Option<Component> {
    COMPONENTS.into_iter().find(|c| c.bit.trailing_zeros() == n && c.bit & (SUPPORTED | SUPERVISOR) != 0)
}

/// Bytes of an area in standard format for the components `of`.
pub(crate) fn standard_bytes(of: u64) -> u32 {
    components(of, None).last().map_or(EXTENDED, |(c, at)| at + c.bytes)
}

/// Bytes of an area in compacted format for the components `of`.
pub(crate) fn compacted_bytes(of: u64) -> u32 {
    components(of, Some(of)).last().map_or(EXTENDED, |(c, at)| at + c.bytes)
}

/// May XCR0 be `v`? x87 is always there; AVX needs SSE; the three AVX-512 components go together and need AVX.
pub(crate) fn is_xcr0(v: u64) -> bool {
    let avx512 = v & AVX512;
    v & !SUPPORTED == 0
        && v & X87 != 0
        && (v & AVX == 0 || v & SSE != 0)
        && (avx512 == 0 || avx512 == AVX512 && v & AVX != 0)
}

/// Where last branch records stand in an area in compacted format for the components `of`: behind the lower ones, not
/// aligned. Nothing stands behind them.
pub(crate) fn lbr_offset(of: u64) -> u32 {
    compacted_bytes(of & (LBR - 1))
}

/// A state image, or as much of one as is used.
pub(crate) struct Image(pub [u8; AREA_BYTES]);

impl Image {
    pub fn empty() -> Image {
        Image([0; AREA_BYTES])
    }
    pub fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
    pub fn set_u64(&mut self, at: usize, v: u64) {
        self.0[at..at + 8].copy_from_slice(&v.to_le_bytes());
    }
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|n| self.0[at + n])
    }
    fn set(&mut self, at: usize, v: &[u8]) {
        self.0[at..at + v.len()].copy_from_slice(v);
    }

    /// MXCSR.
    ///
    /// # Errors
    /// #GP(0): reserved bits.
    pub fn mxcsr(&self) -> Result<u32, Stop> {
        let v = u32::from_le_bytes(self.array(24));
        if v & !MXCSR_MASK == 0 { Ok(v) } else { Err(Stop::gp(0)) }
    }
}

impl Cpu {
    /// What IA32_XSS may hold.
    pub(crate) fn supervisor_components(&self) -> u64 {
        if self.features.lbr { SUPERVISOR } else { 0 }
    }

    /// The whole state as an image, header empty; `wide` pointers (REX.W) or 32-bit ones, whose selectors read zero
    /// on this core.
    pub(crate) fn image(&self, wide: bool) -> Image {
        let (mut a, f) = (Image::empty(), &self.fpu);
        a.set(0, &f.cw.to_le_bytes());
        a.set(2, &f.sw.to_le_bytes());
        a.set(4, &[f.abridged_tag()]);
        a.set(6, &f.op.to_le_bytes());
        let cut = if wide { u64::MAX } else { 0xffff_ffff };
        a.set_u64(8, f.ip & cut);
        a.set_u64(16, f.dp & cut);
        a.set(24, &self.mxcsr.to_le_bytes());
        a.set(28, &MXCSR_MASK.to_le_bytes());
        for n in 0..8 {
            let st = f.r[(f.sw as usize >> 11).wrapping_add(n) & 7];
            a.set_u64(32 + 16 * n, st.significand);
            a.set(40 + 16 * n, &st.sign_exponent.to_le_bytes());
        }
        for n in 0..16 {
            a.set(160 + 16 * n, &self.vec[n].0[..16]);
        }
        a
    }

    /// Puts the extended components of `which` into an image.
    pub(crate) fn put_extended(&self, a: &mut Image, which: u64) {
        for (c, at) in components(which, None) {
            let at = at as usize;
            match c.bit {
                AVX => (0..16).for_each(|n| a.set(at + 16 * n, &self.vec[n].0[16..32])),
                OPMASK => (0..8).for_each(|n| a.set_u64(at + 8 * n, self.k[n])),
                ZMM_HI256 => (0..16).for_each(|n| a.set(at + 32 * n, &self.vec[n].0[32..])),
                HI16_ZMM => (0..16).for_each(|n| a.set(at + 64 * n, &self.vec[16 + n].0)),
                _ => a.set_u64(at, self.pkru.into()),
            }
        }
    }

    /// How many bytes of component `c` the mode has: outside 64-bit mode there are only eight vector registers.
    pub(crate) fn component_bytes(&self, c: &Component) -> u32 {
        match c.bit {
            AVX | ZMM_HI256 if !self.is_64bit() => c.bytes / 2,
            HI16_ZMM if !self.is_64bit() => 0,
            _ => c.bytes,
        }
    }

    /// Which components are not in their initial configuration (MXCSR apart).
    pub(crate) fn in_use(&self) -> u64 {
        let low = |from: usize, to: usize| self.vec[..16].iter().any(|r| r.0[from..to].iter().any(|b| *b != 0));
        let bit = |bit: u64, used: bool| if used { bit } else { 0 };
        bit(X87, self.fpu != initial_fpu())
            | bit(SSE, low(0, 16))
            | bit(AVX, low(16, 32))
            | bit(OPMASK, self.k != [0; 8])
            | bit(ZMM_HI256, low(32, 64))
            | bit(HI16_ZMM, self.vec[16..].iter().any(|r| r.0 != [0; 64]))
            | bit(PKRU, self.pkru != 0)
    }

    /// Loads x87 state from an image, or initialises it without one.
    pub(crate) fn set_x87(&mut self, from: Option<&Image>, wide: bool) {
        let Some(a) = from else {
            self.fpu = initial_fpu();
            return;
        };
        let f = &mut self.fpu;
        (f.sw, f.op) = (a.u16(2), a.u16(6) & 0x7ff);
        f.set_control(a.u16(0));
        let cut = if wide { u64::MAX } else { 0xffff_ffff };
        (f.ip, f.dp, f.cs, f.ds) = (a.u64(8) & cut, a.u64(16) & cut, 0, 0);
        for n in 0..8 {
            let st = F80 { significand: a.u64(32 + 16 * n), sign_exponent: a.u16(40 + 16 * n) };
            f.r[(f.sw as usize >> 11).wrapping_add(n) & 7] = st;
        }
        f.set_abridged_tag(a.0[4]);
    }

    /// Loads XMM registers from an image, or clears them; outside 64-bit mode only the first eight.
    pub(crate) fn set_sse(&mut self, from: Option<&Image>) {
        for n in 0..self.vector_registers() {
            let v = from.map_or([0; 16], |a| a.array(160 + 16 * n));
            self.vec[n].0[..16].copy_from_slice(&v);
        }
    }

    /// Loads extended component `c` from an image, or initialises it.
    pub(crate) fn set_extended(&mut self, c: &Component, from: Option<&Image>) {
        let (at, few) = (c.offset as usize, self.vector_registers());
        match c.bit {
            AVX => (0..few).for_each(|n| {
                self.vec[n].0[16..32].copy_from_slice(&from.map_or([0; 16], |a| a.array(at + 16 * n)));
            }),
            OPMASK => (0..8).for_each(|n| self.k[n] = from.map_or(0, |a| a.u64(at + 8 * n))),
            ZMM_HI256 => (0..few).for_each(|n| {
                self.vec[n].0[32..].copy_from_slice(&from.map_or([0; 32], |a| a.array(at + 32 * n)));
            }),
            HI16_ZMM if self.is_64bit() => (0..16).for_each(|n| {
                self.vec[16 + n].0 = from.map_or([0; 64], |a| a.array(at + 64 * n));
            }),
            PKRU => self.set_pkru(from.map_or(0, |a| a.u64(at) as u32)),
            _ => {}
        }
    }

    /// How many vector registers the mode has.
    pub(crate) fn vector_registers(&self) -> usize {
        if self.is_64bit() { 16 } else { 8 }
    }
}

/// As after FNINIT with all registers zero.
fn initial_fpu() -> Fpu {
    Fpu { cw: 0x37f, tag: 0xffff, ..Fpu::default() }
}
