//! Which codes are compared.

use iced_x86::{Code, CpuidFeature, EncodingKind};

/// Does the processor that the core is offer `f`, outside AVX-512?
pub fn offered(f: CpuidFeature) -> bool {
    use CpuidFeature as F;
    matches!(
        f,
        F::INTEL8086
            | F::INTEL186
            | F::INTEL286
            | F::INTEL386
            | F::INTEL486
            | F::INTEL8086_ONLY
            | F::CPUID
            | F::X64
            | F::ADX
            | F::AES
            | F::AVX
            | F::AVX2
            | F::BMI1
            | F::BMI2
            | F::CLFLUSHOPT
            | F::CLFSH
            | F::CLWB
            | F::CMOV
            | F::CMPXCHG16B
            | F::CX8
            | F::F16C
            | F::FMA
            | F::FPU
            | F::FPU287
            | F::FPU387
            | F::FSGSBASE
            | F::FXSR
            | F::GFNI
            | F::LZCNT
            | F::MMX
            | F::MOVBE
            | F::MULTIBYTENOP
            | F::PAUSE
            | F::PCLMULQDQ
            | F::POPCNT
            | F::PREFETCHW
            | F::SHA
            | F::SSE
            | F::SSE2
            | F::SSE3
            | F::SSE4_1
            | F::SSE4_2
            | F::SSSE3
            | F::VAES
            | F::VPCLMULQDQ
            | F::XSAVE
            | F::XSAVEOPT
            | F::XSAVEC
    )
}

/// AVX-512 as far as the host and the model both have it.
pub fn avx512(f: CpuidFeature) -> bool {
    use CpuidFeature as F;
    matches!(
        f,
        F::AVX512F
            | F::AVX512BW
            | F::AVX512CD
            | F::AVX512DQ
            | F::AVX512VL
            | F::AVX512_VBMI
            | F::AVX512_VBMI2
            | F::AVX512_VNNI
            | F::AVX512_IFMA
            | F::AVX512_BITALG
            | F::AVX512_VPOPCNTDQ
            | F::AVX512_BF16
    )
}

/// Is `code` compared in code of `bits`, if the list of masks does not say otherwise?
pub fn subject(code: Code, bits: u32) -> bool {
    let op = code.op_code();
    let encodings = [EncodingKind::Legacy, EncodingKind::VEX, EncodingKind::EVEX];
    let mode = match bits {
        64 => op.mode64(),
        32 => op.mode32(),
        _ => op.mode16(),
    };
    op.is_instruction()
        && mode
        && encodings.contains(&op.encoding())
        && code.cpuid_features().iter().all(|f| offered(*f) || avx512(*f))
}
