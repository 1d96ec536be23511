//! Moves to narrower elements: truncated, or saturated as signed or unsigned.
//!
//! Source: SDM vol. 2, VPMOVDB, VPMOVSDB, VPMOVUSDB and their neighbours.

use super::describe::{Formula, Row};
use crate::exec::simd::V;
use iced_x86::Mnemonic;

/// Elements of `$from` become elements of `$to`.
macro_rules! cut {
    ($from:ty, $to:ty) => {
        narrow!($from, $to, |x: $from| x as $to)
    };
}
/// Likewise, with the nearest value that fits.
macro_rules! saturate {
    ($from:ty, $to:ty) => {
        narrow!($from, $to, |x: $from| x.clamp(<$to>::MIN.into(), <$to>::MAX.into()) as $to)
    };
}
macro_rules! narrow {
    ($from:ty, $to:ty, $f:expr) => {
        Row::converts(
            Formula::Half(|_, _, b, _| {
                V::first::<{ 32 * size_of::<$to>() / size_of::<$from>() }, $to>(|k| $f(b.get(k)))
            }),
            size_of::<$from>() as u8,
            size_of::<$to>() as u8,
        )
    };
}

/// The row of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn row(m: Mnemonic) -> Option<Row> {
    use Mnemonic::*;
    Some(match m {
        Vpmovwb   => cut!(u16, u8),
        Vpmovdb   => cut!(u32, u8),
        Vpmovdw   => cut!(u32, u16),
        Vpmovqb   => cut!(u64, u8),
        Vpmovqw   => cut!(u64, u16),
        Vpmovqd   => cut!(u64, u32),
        Vpmovswb  => saturate!(i16, i8),
        Vpmovsdb  => saturate!(i32, i8),
        Vpmovsdw  => saturate!(i32, i16),
        Vpmovsqb  => saturate!(i64, i8),
        Vpmovsqw  => saturate!(i64, i16),
        Vpmovsqd  => saturate!(i64, i32),
        Vpmovuswb => saturate!(u16, u8),
        Vpmovusdb => saturate!(u32, u8),
        Vpmovusdw => saturate!(u32, u16),
        Vpmovusqb => saturate!(u64, u8),
        Vpmovusqw => saturate!(u64, u16),
        Vpmovusqd => saturate!(u64, u32),
        _ => return None,
    })
}
