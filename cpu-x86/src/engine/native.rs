//! Vector instructions that the host has too: those whose result the manual defines bit for bit, done by the host's own
//! where it has them, which is found out when it runs. Elsewhere they go by their kernels (`wide`), with the same result.
//!
//! Bytes that only change their places, as an immediate says, are moved by the host's PSHUFB: where each goes is found
//! by running the instruction's kernel over numbered bytes. Parameter `K` as in `vector`.
#![expect(unsafe_code, reason = "the hot path of the interpreter")]

use super::body::{Body, body, ea, hit, leave};
use super::hot::Leave;
use super::op::Op;
use super::vector::{clear, misaligned, pieces, vec, whole};
use super::watch::Watch;
use crate::exec::simd::{Kernel, V};
use crate::state::Cpu;
use iced_x86::Mnemonic;

/// Computes 16 bytes at `to` from those at `a` and `b`, and a third operand at `c`.
pub(crate) type Native = unsafe fn(to: *mut u8, a: *const u8, b: *const u8, c: *const u8);

/// A native function, and what lies at `c` unless that is a register.
pub(crate) struct Plan {
    pub function: Native,
    pub table: Option<[u128; 2]>,
}

/// How the host computes what `kernel` says for mnemonic `m` and `imm`, in operands of `bytes`.
pub(crate) fn of(m: Mnemonic, kernel: &Kernel, imm: u8, bytes: usize) -> Option<Plan> {
    if let Some(function) = function(m, imm) {
        return Some(Plan { function, table: None });
    }
    if let (Some(function), Kernel::Imm(_)) = (shift(m), kernel) {
        return Some(Plan { function, table: Some([u128::from(imm), 0]) });
    }
    // VPERMILPS and VPERMILPD of a register instead of an immediate go where that says.
    let by_register = matches!((m, kernel), (Mnemonic::Vpermilps | Mnemonic::Vpermilpd, Kernel::Two(_)));
    let table = (is_shuffle(m) && !by_register).then(|| places(kernel, imm, bytes)).flatten()?;
    let nothing = u128::from_le_bytes([NONE; 16]);
    Some(Plan { function: shuffle(table[0] == nothing)?, table: Some(table) })
}

/// In a table for PSHUFB: a byte of zero.
const NONE: u8 = 0x80;

/// Which bytes of the first and of the second operand make up the result, the same in each 16 bytes; `None` when they
/// cross those.
fn places(kernel: &Kernel, imm: u8, bytes: usize) -> Option<[u128; 2]> {
    // Byte n of the first operand is n + 1, of the second n + 33.
    let numbered = |from: u8| V(std::array::from_fn(|n| from + n as u8));
    let r = match kernel {
        Kernel::Two(f) => f(&numbered(1), &numbered(33)),
        Kernel::Imm(f) => f(&numbered(1), &numbered(33), imm),
        _ => return None,
    };
    let mut table = [[NONE; 16]; 2];
    for (n, v) in r.0[..16].iter().enumerate() {
        match v {
            0 => {}
            1..=16 => table[0][n] = v - 1,
            33..=48 => table[1][n] = v - 33,
            _ => return None,
        }
    }
    let alike = r.0[..16].iter().zip(&r.0[16..]).all(|(low, high)| *high == if *low == 0 { 0 } else { low + 16 });
    (bytes == 16 || alike).then(|| table.map(u128::from_le_bytes))
}

/// Does `m`, in some form, only move bytes, to places that its immediate says?
fn is_shuffle(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        m,
        Punpcklbw
            | Vpunpcklbw
            | Punpcklwd
            | Vpunpcklwd
            | Punpckldq
            | Vpunpckldq
            | Unpcklps
            | Vunpcklps
            | Punpcklqdq
            | Vpunpcklqdq
            | Unpcklpd
            | Vunpcklpd
            | Punpckhbw
            | Vpunpckhbw
            | Punpckhwd
            | Vpunpckhwd
            | Punpckhdq
            | Vpunpckhdq
            | Unpckhps
            | Vunpckhps
            | Punpckhqdq
            | Vpunpckhqdq
            | Unpckhpd
            | Vunpckhpd
            | Palignr
            | Vpalignr
            | Pshufd
            | Vpshufd
            | Pshuflw
            | Vpshuflw
            | Pshufhw
            | Vpshufhw
            | Shufps
            | Vshufps
            | Shufpd
            | Vshufpd
            | Vpermilps
            | Vpermilpd
            | Blendps
            | Vblendps
            | Vpblendd
            | Blendpd
            | Vblendpd
            | Pblendw
            | Vpblendw
            | Insertps
            | Vinsertps
            | Pslldq
            | Vpslldq
            | Psrldq
            | Vpsrldq
            | Movddup
            | Vmovddup
            | Movsldup
            | Vmovsldup
            | Movshdup
            | Vmovshdup
            | Movhlps
            | Vmovhlps
            | Movlhps
            | Vmovlhps
            | Vmovss
            | Vmovsd
    )
}

#[cfg(target_arch = "x86_64")]
pub(crate) use host::{function, shift, shuffle};

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use absent::{function, shift, shuffle};

/// Other hosts have none.
#[cfg(not(target_arch = "x86_64"))]
mod absent {
    use super::{Mnemonic, Native};

    pub fn function(_: Mnemonic, _: u8) -> Option<Native> {
        None
    }
    pub fn shift(_: Mnemonic) -> Option<Native> {
        None
    }
    pub fn shuffle(_: bool) -> Option<Native> {
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod host {
    use super::{Mnemonic, Native};
    use core::arch::x86_64::*;
    use std::is_x86_feature_detected as has;

    #[inline(always)]
    unsafe fn get(p: *const u8) -> __m128i {
        // SAFETY: the contract of `Native`.
        unsafe { _mm_loadu_si128(p.cast()) }
    }

    /// Rows `mnemonic | mnemonic = feature: expression over operands;`: a function that gives the row of a mnemonic,
    /// compiled with the feature, if the host has it.
    macro_rules! natives {
        ($vis:vis fn $table:ident($imm:ident); $($($m:ident)|+ $(if $guard:expr)? => $feature:tt, |$a:ident, $b:ident, $c:ident| $e:expr;)*) => {
            /// The host's function for `m`, with this immediate.
            #[allow(unused_variables, reason = "a table without immediates has the same shape")]
            $vis fn $table(m: Mnemonic, $imm: u8) -> Option<Native> {
                $(
                    if matches!(m, $(Mnemonic::$m)|+) $(&& $guard)? {
                        #[target_feature(enable = $feature)]
                        unsafe fn run(to: *mut u8, a: *const u8, b: *const u8, c: *const u8) {
                            // SAFETY: the contract of `Native`.
                            let ($a, $b, $c) = unsafe { (get(a), get(b), get(c)) };
                            let r: __m128i = $e;
                            // SAFETY: as above.
                            unsafe { _mm_storeu_si128(to.cast(), r) }
                        }
                        return has!($feature).then_some(run as Native);
                    }
                )*
                None
            }
        };
    }

    natives! {
        pub fn function(imm);
        Aesenc | Vaesenc => "aes", |a, b, _c| _mm_aesenc_si128(a, b);
        Aesenclast | Vaesenclast => "aes", |a, b, _c| _mm_aesenclast_si128(a, b);
        Aesdec | Vaesdec => "aes", |a, b, _c| _mm_aesdec_si128(a, b);
        Aesdeclast | Vaesdeclast => "aes", |a, b, _c| _mm_aesdeclast_si128(a, b);
        Aesimc | Vaesimc => "aes", |_a, b, _c| _mm_aesimc_si128(b);
        Pclmulqdq | Vpclmulqdq if imm & 0x11 == 0 => "pclmulqdq", |a, b, _c| _mm_clmulepi64_si128::<0>(a, b);
        Pclmulqdq | Vpclmulqdq if imm & 0x11 == 1 => "pclmulqdq", |a, b, _c| _mm_clmulepi64_si128::<1>(a, b);
        Pclmulqdq | Vpclmulqdq if imm & 0x11 == 16 => "pclmulqdq", |a, b, _c| _mm_clmulepi64_si128::<16>(a, b);
        Pclmulqdq | Vpclmulqdq => "pclmulqdq", |a, b, _c| _mm_clmulepi64_si128::<17>(a, b);
        Sha256rnds2 => "sha", |a, b, c| _mm_sha256rnds2_epu32(a, b, c);
        Sha256msg1 => "sha", |a, b, _c| _mm_sha256msg1_epu32(a, b);
        Sha256msg2 => "sha", |a, b, _c| _mm_sha256msg2_epu32(a, b);
        Sha1msg1 => "sha", |a, b, _c| _mm_sha1msg1_epu32(a, b);
        Sha1msg2 => "sha", |a, b, _c| _mm_sha1msg2_epu32(a, b);
        Sha1nexte => "sha", |a, b, _c| _mm_sha1nexte_epu32(a, b);
        Sha1rnds4 if imm & 3 == 0 => "sha", |a, b, _c| _mm_sha1rnds4_epu32::<0>(a, b);
        Sha1rnds4 if imm & 3 == 1 => "sha", |a, b, _c| _mm_sha1rnds4_epu32::<1>(a, b);
        Sha1rnds4 if imm & 3 == 2 => "sha", |a, b, _c| _mm_sha1rnds4_epu32::<2>(a, b);
        Sha1rnds4 => "sha", |a, b, _c| _mm_sha1rnds4_epu32::<3>(a, b);
        Pshufb | Vpshufb => "ssse3", |a, b, _c| _mm_shuffle_epi8(a, b);
        Pmaddubsw | Vpmaddubsw => "ssse3", |a, b, _c| _mm_maddubs_epi16(a, b);
        Pblendvb | Vpblendvb => "sse4.1", |a, b, c| _mm_blendv_epi8(a, b, c);
        Pmulld | Vpmulld => "sse4.1", |a, b, _c| _mm_mullo_epi32(a, b);
        Pminsd | Vpminsd => "sse4.1", |a, b, _c| _mm_min_epi32(a, b);
        Pmaxsd | Vpmaxsd => "sse4.1", |a, b, _c| _mm_max_epi32(a, b);
        Pminud | Vpminud => "sse4.1", |a, b, _c| _mm_min_epu32(a, b);
        Pmaxud | Vpmaxud => "sse4.1", |a, b, _c| _mm_max_epu32(a, b);
        Packusdw | Vpackusdw => "sse4.1", |a, b, _c| _mm_packus_epi32(a, b);
        Pcmpgtq => "sse4.2", |a, b, _c| _mm_cmpgt_epi64(a, b);
        Pmuludq | Vpmuludq => "sse2", |a, b, _c| _mm_mul_epu32(a, b);
        Pmullw | Vpmullw => "sse2", |a, b, _c| _mm_mullo_epi16(a, b);
        Pmulhw | Vpmulhw => "sse2", |a, b, _c| _mm_mulhi_epi16(a, b);
        Pmulhuw | Vpmulhuw => "sse2", |a, b, _c| _mm_mulhi_epu16(a, b);
        Pmaddwd | Vpmaddwd => "sse2", |a, b, _c| _mm_madd_epi16(a, b);
        Packsswb | Vpacksswb => "sse2", |a, b, _c| _mm_packs_epi16(a, b);
        Packuswb | Vpackuswb => "sse2", |a, b, _c| _mm_packus_epi16(a, b);
        Packssdw | Vpackssdw => "sse2", |a, b, _c| _mm_packs_epi32(a, b);
        Psadbw | Vpsadbw => "sse2", |a, b, _c| _mm_sad_epu8(a, b);
        Pavgb | Vpavgb => "sse2", |a, b, _c| _mm_avg_epu8(a, b);
        Paddusb | Vpaddusb => "sse2", |a, b, _c| _mm_adds_epu8(a, b);
        Psubusb | Vpsubusb => "sse2", |a, b, _c| _mm_subs_epu8(a, b);
        Paddsw | Vpaddsw => "sse2", |a, b, _c| _mm_adds_epi16(a, b);
        Psubsw | Vpsubsw => "sse2", |a, b, _c| _mm_subs_epi16(a, b);
        Pminsw | Vpminsw => "sse2", |a, b, _c| _mm_min_epi16(a, b);
        Pmaxsw | Vpmaxsw => "sse2", |a, b, _c| _mm_max_epi16(a, b);
    }

    natives! {
        fn shifted(imm);
        Psllw | Vpsllw => "sse2", |_a, b, c| _mm_sll_epi16(b, c);
        Pslld | Vpslld => "sse2", |_a, b, c| _mm_sll_epi32(b, c);
        Psllq | Vpsllq => "sse2", |_a, b, c| _mm_sll_epi64(b, c);
        Psrlw | Vpsrlw => "sse2", |_a, b, c| _mm_srl_epi16(b, c);
        Psrld | Vpsrld => "sse2", |_a, b, c| _mm_srl_epi32(b, c);
        Psrlq | Vpsrlq => "sse2", |_a, b, c| _mm_srl_epi64(b, c);
        Psraw | Vpsraw => "sse2", |_a, b, c| _mm_sra_epi16(b, c);
        Psrad | Vpsrad => "sse2", |_a, b, c| _mm_sra_epi32(b, c);
    }

    /// The host's function for a shift of `b` by an immediate, which is to lie at `c`.
    pub fn shift(m: Mnemonic) -> Option<Native> {
        shifted(m, 0)
    }

    #[target_feature(enable = "ssse3")]
    unsafe fn of_second(to: *mut u8, _: *const u8, b: *const u8, c: *const u8) {
        // SAFETY: the contract of `Native`, with a table of 32 bytes at `c`.
        unsafe { _mm_storeu_si128(to.cast(), _mm_shuffle_epi8(get(b), get(c.add(16)))) }
    }

    #[target_feature(enable = "ssse3")]
    unsafe fn of_both(to: *mut u8, a: *const u8, b: *const u8, c: *const u8) {
        // SAFETY: as above.
        unsafe {
            let (x, y) = (_mm_shuffle_epi8(get(a), get(c)), _mm_shuffle_epi8(get(b), get(c.add(16))));
            _mm_storeu_si128(to.cast(), _mm_or_si128(x, y));
        }
    }

    /// Moves bytes as the table of 32 bytes at `c` says; `second`: of the second operand only.
    pub fn shuffle(second: bool) -> Option<Native> {
        has!("ssse3").then_some(if second { of_second as Native } else { of_both })
    }
}

/// Applies the function in the slot behind `op` to all of shape `K`; the next piece of `c` is `step` bytes on.
#[inline(always)]
unsafe fn apply<const K: usize>(op: *const Op, to: *mut u8, [a, b, c]: [*const u8; 3], step: usize) {
    // SAFETY: the builder put a `Native` there; all operands have shape `K`, but a table, which serves for each piece.
    unsafe {
        let f = core::mem::transmute::<usize, Native>((*op.add(1)).h as usize);
        for k in 0..pieces(K) {
            f(to.add(16 * k), a.add(16 * k), b.add(16 * k), c.add(step * k));
        }
        clear::<K>(to);
    }
}

body! {
    /// a = native function of b, c and d
    NativeRr<K>(cpu, op) {
        let from = [vec(cpu, (*op).b).cast_const(), vec(cpu, (*op).c).cast_const(), vec(cpu, (*op).d).cast_const()];
        apply::<K>(op, vec(cpu, (*op).a), from, 16);
        op.add(2)
    }
    /// a = native function of d, [m], and the register that the slot behind names
    NativeRm<K>(cpu, op) {
        let at = ea::<5>(cpu, op);
        if K == 3 && misaligned(K, at) { return leave(cpu, Leave::General) }
        let b = hit!(whole::<Eye, K, false>(cpu, at)).cast_const();
        let (a, c) = (vec(cpu, (*op).d).cast_const(), vec(cpu, (*op.add(1)).a).cast_const());
        apply::<K>(op, vec(cpu, (*op).a), [a, b, c], 16);
        op.add(2)
    }
    /// a = native function of b, c and a table
    NativeTableRr<K>(cpu, op) {
        let (a, b) = (vec(cpu, (*op).b).cast_const(), vec(cpu, (*op).c).cast_const());
        apply::<K>(op, vec(cpu, (*op).a), [a, b, op.add(2).cast()], 0);
        op.add(4)
    }
    /// a = native function of d, [m] and a table
    NativeTableRm<K>(cpu, op) {
        let at = ea::<5>(cpu, op);
        if K == 3 && misaligned(K, at) { return leave(cpu, Leave::General) }
        let b = hit!(whole::<Eye, K, false>(cpu, at)).cast_const();
        let a = vec(cpu, (*op).d).cast_const();
        apply::<K>(op, vec(cpu, (*op).a), [a, b, op.add(2).cast()], 0);
        op.add(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::simd::{Simd, describe};
    use emu_core::Random;
    use iced_x86::{Code, EncodingKind, Instruction, OpCodeOperandKind, OpKind, Register};

    /// `code` over XMM or YMM registers 1, 2, 3 and so on, with immediate `imm`; its plan and its description.
    fn planned(code: Code, imm: u8) -> Option<(Plan, Simd)> {
        let mut i = Instruction::default();
        i.set_code(code);
        for (n, kind) in (0u32..).zip(code.op_code().op_kinds()) {
            use OpCodeOperandKind as K;
            let first = match kind {
                K::xmm_reg | K::xmm_rm | K::xmm_vvvv | K::xmm_is4 | K::xmm_or_mem => Register::XMM1,
                K::ymm_reg | K::ymm_rm | K::ymm_vvvv | K::ymm_is4 | K::ymm_or_mem => Register::YMM1,
                K::imm8 => {
                    i.set_op_kind(n, OpKind::Immediate8);
                    i.set_immediate8(imm);
                    continue;
                }
                _ => return None,
            };
            i.set_op_kind(n, OpKind::Register);
            i.set_op_register(n, first + n);
        }
        let simd = describe(&i)?;
        Some((of(code.mnemonic(), &simd.kernel, simd.imm, simd.dst.bytes().into())?, simd))
    }

    /// What the kernel of `s` makes of these operands.
    fn by_kernel(s: &Simd, [a, b, c]: &[V; 3]) -> V {
        match s.kernel {
            Kernel::Two(f) => f(a, b),
            Kernel::Imm(f) => f(a, b, s.imm),
            Kernel::Three(f) => f(a, b, c),
            _ => panic!("no native function has another kernel"),
        }
    }

    #[test]
    fn every_native_function_computes_what_the_kernel_does() {
        let (mut random, mut codes) = (Random(7), 0);
        for code in Code::values().filter(|c| matches!(c.encoding(), EncodingKind::Legacy | EncodingKind::VEX)) {
            let mut planned_once = false;
            for imm in 0..=255 {
                let Some((plan, simd)) = planned(code, imm) else { continue };
                planned_once = true;
                let bytes = usize::from(simd.dst.bytes());
                for _ in 0..4 {
                    let mut from = [V::ZERO; 3];
                    from.iter_mut().for_each(|v| v.0[..bytes].iter_mut().for_each(|b| *b = random.next() as u8));
                    let mut got = V::ZERO;
                    for k in (0..bytes).step_by(16) {
                        let [a, b, c] = [0, 1, 2].map(|n: usize| from[n].0[k..].as_ptr());
                        let c = plan.table.as_ref().map_or(c, |t| t.as_ptr().cast());
                        // SAFETY: each operand has 16 bytes from `k` on, a table 32.
                        unsafe { (plan.function)(got.0[k..].as_mut_ptr(), a, b, c) }
                    }
                    let want = by_kernel(&simd, &from);
                    assert_eq!(got.0[..bytes], want.0[..bytes], "{code:?} with {imm:#x} of {from:x?}");
                }
            }
            codes += u32::from(planned_once);
        }
        // A host with SSSE3 has more than these; others check what they have.
        #[cfg(target_arch = "x86_64")]
        assert!(codes > 100 || !std::is_x86_feature_detected!("ssse3"), "{codes} codes");
        println!("{codes} codes");
    }
}
