//! What floating-point and integer vector instructions count as: by element and width, some of them twice.
//!
//! The mnemonic says the operation and, by its last letters, the element; the destination register says the width.
//! Source: intel/perfmon `SPR/events/sapphirerapids_core.json`, descriptions of FP_ARITH_INST_RETIRED, _RETIRED2 and
//! INT_VEC_RETIRED: additions, subtractions (horizontal and alternating ones too), multiplications, divisions, minima,
//! maxima, square roots and the approximations count once, dot products and FMA twice. What else computes (conversions,
//! comparisons, rounding, logic) counts nothing.

use super::Kind;
use crate::signal::Signal;
use iced_x86::{Instruction, Mnemonic, Register};
use std::sync::LazyLock;

/// Operations that count once. RANGE is in Intel's list of scalar ones.
const ONCE: [&str; 16] = [
    "add", "sub", "addsub", "hadd", "hsub", "mul", "div", "min", "max", "sqrt", "rcp", "rsqrt", "rcp14", "rsqrt14",
    "fmulc", "fcmulc",
];

/// Of the first 128, 256 and 512 bits of a register.
type ByWidth = [Signal; 3];

const DOUBLE: ByWidth = [Signal::Fp128Double, Signal::Fp256Double, Signal::Fp512Double];
const SINGLE: ByWidth = [Signal::Fp128Single, Signal::Fp256Single, Signal::Fp512Single];
const HALF: ByWidth = [Signal::Fp128Half, Signal::Fp256Half, Signal::Fp512Half];

/// What each mnemonic counts as, by width. An instruction that is interpreted by itself is described each time it runs.
static KINDS: LazyLock<Vec<[Kind; 3]>> =
    LazyLock::new(|| Mnemonic::values().map(|m| [0, 1, 2].map(|width| named(m, width))).collect());

/// What `i` counts as, if it computes with vectors.
pub(super) fn kind(i: &Instruction) -> Kind {
    width(i.op0_register()).map_or(Kind::Other, |width| KINDS[i.mnemonic() as usize][width])
}

fn named(m: Mnemonic, width: usize) -> Kind {
    let name = format!("{m:?}").to_ascii_lowercase();
    let name = name.strip_prefix('v').unwrap_or(&name);
    floating(name, width).or_else(|| integer(m, name, width)).unwrap_or_default()
}

fn width(destination: Register) -> Option<usize> {
    match destination {
        r if r.is_xmm() => Some(0),
        r if r.is_ymm() => Some(1),
        r if r.is_zmm() => Some(2),
        _ => None,
    }
}

fn floating(name: &str, width: usize) -> Option<Kind> {
    let (operation, element) = name.split_at_checked(name.len().checked_sub(2)?)?;
    let signal = match element {
        "sd" => Signal::FpScalarDouble,
        "ss" => Signal::FpScalarSingle,
        "sh" if operation.ends_with('c') => Signal::FpScalarComplex,
        "sh" => Signal::FpScalarHalf,
        "pd" => DOUBLE[width],
        "ps" => SINGLE[width],
        "ph" => HALF[width],
        _ => return None,
    };
    let scalar_only = operation == "range" && element.starts_with('s');
    if ONCE.contains(&operation) || scalar_only {
        Some(Kind::Floating(signal, 1))
    } else if operation == "dp" || ["fm", "fnm", "fcm"].iter().any(|f| operation.starts_with(f)) {
        Some(Kind::Floating(signal, 2))
    } else {
        None
    }
}

/// Unverified: which multiplications MUL_256 means Intel does not say; here they are all of them, with those that add
/// neighbours. A program of each, counted on the real part, would tell.
fn integer(m: Mnemonic, name: &str, width: usize) -> Option<Kind> {
    let dot = matches!(m, Mnemonic::Vpdpbusd | Mnemonic::Vpdpbusds | Mnemonic::Vpdpwssd | Mnemonic::Vpdpwssds);
    let multiplies = name.starts_with("pmul") || matches!(m, Mnemonic::Vpmaddwd | Mnemonic::Vpmaddubsw);
    match (dot, multiplies, width) {
        (true, _, 0) => Some(Kind::Integer(Signal::IntVectorVnni128)),
        (true, _, 1) => Some(Kind::Integer(Signal::IntVectorVnni256)),
        (_, true, 1) => Some(Kind::Integer(Signal::IntVectorMul256)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{CLASSES, CODES};
    use super::*;
    use iced_x86::{Code, CpuidFeature};

    /// AMD's, and the Xeon Phi's that was no CPU.
    fn foreign(code: Code) -> bool {
        code.cpuid_features().iter().any(|f| matches!(f, CpuidFeature::FMA4 | CpuidFeature::KNC))
    }

    #[test]
    fn names_and_the_generated_table_agree_on_what_counts_once_and_twice() {
        let mut compared = 0;
        for code in Code::values() {
            let name = format!("{:?}", code.mnemonic()).to_ascii_lowercase();
            let (name, listed) =
                (name.strip_prefix('v').unwrap_or(&name), CLASSES[usize::from(CODES[code as usize])].2);
            let expected = match (listed, floating(name, 0)) {
                (1 | 3, found) => (found, 1),
                (2 | 4, found) => (found, 2),
                // Younger than the table: half precision, the 14-bit approximations and the scalar ranges.
                (_, found @ Some(Kind::Floating(..))) if !foreign(code) => {
                    let half = name.ends_with("ph") || name.ends_with("sh");
                    assert!(half || name.contains("14") || name.starts_with("range"), "{code:?} {found:?}");
                    continue;
                }
                _ => continue,
            };
            let (Some(Kind::Floating(signal, times)), listed_times) = expected else { panic!("{code:?}") };
            let scalar = matches!(signal, Signal::FpScalarDouble | Signal::FpScalarSingle);
            assert_eq!((times, scalar), (listed_times, listed < 3), "{code:?}");
            compared += 1;
        }
        assert_eq!(compared, 417);
    }
}
