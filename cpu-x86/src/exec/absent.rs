//! Instructions that the identity lacks for good: they raise #UD.
//!
//! What a Sapphire Rapids has and this program lacks is not here: it has no meaning at all, and stops the run by name.

use super::Meaning;
use crate::fault::Stop;
use iced_x86::{CpuidFeature as F, Instruction};

/// Features of other processors, and those that no CPUID bit here offers: CET, SMX, SGX, TDX, key locker, FRED.
#[rustfmt::skip] // by maker
const LACKED: &[F] = &[
    F::CET_SS, F::SMX, F::TDX, F::KL, F::AESKLE, F::WIDE_KL, F::LKGS, F::FRED, F::MSRLIST, F::WRMSRNS, F::RAO_INT, F::TSE,
    F::UDBG, F::CMPCCXADD, F::PREFETCHITI, F::HRESET, F::CL1INVMB, F::SMM,
    F::D3NOW, F::D3NOWEXT, F::MCOMMIT, F::RMPQUERY, F::SEV_ES, F::SEV_SNP,
    F::PADLOCK_ACE, F::PADLOCK_GMI, F::PADLOCK_PHE, F::PADLOCK_PMM, F::PADLOCK_RNG, F::PADLOCK_UNDOC,
];

/// #UD, if `i` belongs to a feature that the identity lacks.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    if i.cpuid_features().iter().any(|f| LACKED.contains(f)) { Meaning::ends(|_, _| Err(Stop::UD)) } else { None }
}
