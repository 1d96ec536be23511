//! The state images of FXSAVE and the XSAVE family: layout, and how the state goes in and out.
//!
//! Components: 0 x87, 1 SSE, 2 AVX. The instructions are in `exec/platform/xsave.rs`.
//! Source: SDM vol. 1, 10.5 (FXSAVE area), 13.4 (XSAVE area), 13.6 (XINUSE and initial configurations).

use crate::fault::Stop;
use crate::state::{Cpu, Fpu};
use softfp::F80;

pub(crate) const X87: u64 = 1;
pub(crate) const SSE: u64 = 2;
pub(crate) const AVX: u64 = 4;
/// What XCR0 may hold.
pub(crate) const SUPPORTED: u64 = X87 | SSE | AVX;
/// What IA32_XSS may hold.
pub(crate) const SUPERVISOR: u64 = 0;

/// Bytes of the legacy region and of the header after it.
pub(crate) const LEGACY_BYTES: u32 = 512;
pub(crate) const HEADER_BYTES: u32 = 64;
/// AVX state: the upper halves of YMM0 to YMM15, in both formats.
pub(crate) const AVX_OFFSET: u32 = 576;
pub(crate) const AVX_BYTES: u32 = 256;
/// The largest area.
pub(crate) const AREA_BYTES: usize = (AVX_OFFSET + AVX_BYTES) as usize;
/// MXCSR after reset and in the initial configuration.
pub(crate) const MXCSR_INITIAL: u32 = 0x1f80;
/// Bits of MXCSR that exist.
pub(crate) const MXCSR_MASK: u32 = 0xffff;

/// Bytes of an area in standard format for the components `of`.
pub(crate) const fn standard_bytes(of: u64) -> u32 {
    if of & AVX != 0 { AVX_OFFSET + AVX_BYTES } else { LEGACY_BYTES + HEADER_BYTES }
}

/// Bytes of an area in compacted format; AVX being the only extended component, the same.
pub(crate) const fn compacted_bytes(of: u64) -> u32 {
    standard_bytes(of)
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
            a.set(AVX_OFFSET as usize + 16 * n, &self.vec[n].0[16..32]);
        }
        a
    }

    /// Which components are not in their initial configuration (MXCSR apart).
    pub(crate) fn in_use(&self) -> u64 {
        let registers = &self.vec[..16];
        let sse = registers.iter().any(|r| r.0[..16] != [0; 16]);
        let avx = registers.iter().any(|r| r.0[16..32] != [0; 16]);
        let x87 = self.fpu != initial_fpu();
        u64::from(x87) | u64::from(sse) << 1 | u64::from(avx) << 2
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

    /// Loads the upper halves of YMM registers, or clears them.
    pub(crate) fn set_avx(&mut self, from: Option<&Image>) {
        for n in 0..self.vector_registers() {
            let v = from.map_or([0; 16], |a| a.array(AVX_OFFSET as usize + 16 * n));
            self.vec[n].0[16..32].copy_from_slice(&v);
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
