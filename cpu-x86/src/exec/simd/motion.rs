//! Moves: whole operands, parts of them, to and from general registers, broadcast, widening, lane insert and extract.
//!
//! Source: SDM vol. 2, the instruction of that name.

use super::describe::{Form, Kernel};
use super::value::{Lane, V};
use iced_x86::Mnemonic;

/// The kernel of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn kernel(m: Mnemonic, f: Form) -> Option<Kernel> {
    use Mnemonic::*;
    Some(match m {
        Movaps | Vmovaps | Movapd | Vmovapd | Movups | Vmovups | Movupd | Vmovupd => Kernel::Move,
        Movdqa | Vmovdqa | Movdqu | Vmovdqu | Lddqu | Vlddqu                      => Kernel::Move,
        Movntps | Vmovntps | Movntpd | Vmovntpd | Movntdq | Vmovntdq              => Kernel::Move,
        Movntdqa | Vmovntdqa | Movntq | Movnti                                    => Kernel::Move,
        Movd | Vmovd                       => Kernel::Two(|_, b| V::low(b.get::<u32>(0))),
        Movq | Vmovq | Movdq2q | Movq2dq   => Kernel::Two(|_, b| V::low(b.get::<u64>(0))),
        // From memory the rest is cleared, and the value was zero-extended; between registers it is kept.
        Movss | Vmovss if f.memory         => Kernel::Move,
        Movsd | Vmovsd if f.memory         => Kernel::Move,
        Movss | Vmovss                     => Kernel::Two(|a, b| a.with(0, b.get::<u32>(0))),
        Movsd | Vmovsd                     => Kernel::Two(|a, b| a.with(0, b.get::<u64>(0))),
        Movlps | Vmovlps | Movlpd | Vmovlpd if f.store => Kernel::Move,
        Movlps | Vmovlps | Movlpd | Vmovlpd => Kernel::Two(|a, b| a.with(0, b.get::<u64>(0))),
        Movhps | Vmovhps | Movhpd | Vmovhpd if f.store => Kernel::Two(|_, b| V::low(b.get::<u64>(1))),
        Movhps | Vmovhps | Movhpd | Vmovhpd | Movlhps | Vmovlhps => Kernel::Two(|a, b| a.with(1, b.get::<u64>(0))),
        Movhlps | Vmovhlps                 => Kernel::Two(|a, b| a.with(0, b.get::<u64>(1))),

        Movddup | Vmovddup                 => Kernel::Two(|_, b| V::from_fn(|k| b.get::<u64>(k & !1))),
        Movsldup | Vmovsldup               => Kernel::Two(|_, b| V::from_fn(|k| b.get::<u32>(k & !1))),
        Movshdup | Vmovshdup               => Kernel::Two(|_, b| V::from_fn(|k| b.get::<u32>(k | 1))),
        Vpbroadcastb                       => Kernel::Two(|_, b| broadcast::<u8>(b)),
        Vpbroadcastw                       => Kernel::Two(|_, b| broadcast::<u16>(b)),
        Vpbroadcastd | Vbroadcastss        => Kernel::Two(|_, b| broadcast::<u32>(b)),
        Vpbroadcastq | Vbroadcastsd        => Kernel::Two(|_, b| broadcast::<u64>(b)),
        Vbroadcastf128 | Vbroadcasti128    => Kernel::Two(|_, b| broadcast::<u128>(b)),
        Vinsertf128 | Vinserti128          => Kernel::Imm(|a, b, imm| a.with(usize::from(imm & 1), b.get::<u128>(0))),
        Vextractf128 | Vextracti128        => Kernel::Imm(|_, b, imm| V::low(b.get::<u128>(usize::from(imm & 1)))),

        Pmovsxbw | Vpmovsxbw               => Kernel::Two(|_, b| V::from_fn(|k| i16::from(b.get::<i8>(k)))),
        Pmovsxbd | Vpmovsxbd               => Kernel::Two(|_, b| V::from_fn(|k| i32::from(b.get::<i8>(k)))),
        Pmovsxbq | Vpmovsxbq               => Kernel::Two(|_, b| V::from_fn(|k| i64::from(b.get::<i8>(k)))),
        Pmovsxwd | Vpmovsxwd               => Kernel::Two(|_, b| V::from_fn(|k| i32::from(b.get::<i16>(k)))),
        Pmovsxwq | Vpmovsxwq               => Kernel::Two(|_, b| V::from_fn(|k| i64::from(b.get::<i16>(k)))),
        Pmovsxdq | Vpmovsxdq               => Kernel::Two(|_, b| V::from_fn(|k| i64::from(b.get::<i32>(k)))),
        Pmovzxbw | Vpmovzxbw               => Kernel::Two(|_, b| V::from_fn(|k| u16::from(b.get::<u8>(k)))),
        Pmovzxbd | Vpmovzxbd               => Kernel::Two(|_, b| V::from_fn(|k| u32::from(b.get::<u8>(k)))),
        Pmovzxbq | Vpmovzxbq               => Kernel::Two(|_, b| V::from_fn(|k| u64::from(b.get::<u8>(k)))),
        Pmovzxwd | Vpmovzxwd               => Kernel::Two(|_, b| V::from_fn(|k| u32::from(b.get::<u16>(k)))),
        Pmovzxwq | Vpmovzxwq               => Kernel::Two(|_, b| V::from_fn(|k| u64::from(b.get::<u16>(k)))),
        Pmovzxdq | Vpmovzxdq               => Kernel::Two(|_, b| V::from_fn(|k| u64::from(b.get::<u32>(k)))),

        Pmovmskb | Vpmovmskb               => Kernel::Two(pmovmskb),
        Movmskps | Vmovmskps               => Kernel::Two(|_, b| signs::<u32>(b)),
        Movmskpd | Vmovmskpd               => Kernel::Two(|_, b| signs::<u64>(b)),
        Pinsrb | Vpinsrb                   => Kernel::Imm(|a, b, imm| a.with(usize::from(imm & 15), b.get::<u8>(0))),
        Pinsrw if f.mmx                    => Kernel::Imm(|a, b, imm| a.with(usize::from(imm & 3), b.get::<u16>(0))),
        Pinsrw | Vpinsrw                   => Kernel::Imm(|a, b, imm| a.with(usize::from(imm & 7), b.get::<u16>(0))),
        Pinsrd | Vpinsrd                   => Kernel::Imm(|a, b, imm| a.with(usize::from(imm & 3), b.get::<u32>(0))),
        Pinsrq | Vpinsrq                   => Kernel::Imm(|a, b, imm| a.with(usize::from(imm & 1), b.get::<u64>(0))),
        Pextrb | Vpextrb                   => Kernel::Imm(|_, b, imm| V::low(b.get::<u8>(usize::from(imm & 15)))),
        Pextrw if f.mmx                    => Kernel::Imm(|_, b, imm| V::low(b.get::<u16>(usize::from(imm & 3)))),
        Pextrw | Vpextrw                   => Kernel::Imm(|_, b, imm| V::low(b.get::<u16>(usize::from(imm & 7)))),
        Pextrd | Vpextrd | Extractps | Vextractps => Kernel::Imm(|_, b, imm| V::low(b.get::<u32>(usize::from(imm & 3)))),
        Pextrq | Vpextrq                   => Kernel::Imm(|_, b, imm| V::low(b.get::<u64>(usize::from(imm & 1)))),
        _ => return None,
    })
}

/// The lowest element in every lane.
#[inline(always)]
fn broadcast<T: Lane>(b: &V) -> V {
    let x: T = b.get(0);
    V::from_fn(|_| x)
}

/// The most significant bit of every byte, byte 0 in bit 0.
fn pmovmskb(_: &V, b: &V) -> V {
    // The factor moves bit 7 of byte k to bit 56 + k, and nothing else there.
    let eight =
        |k: usize| u32::from(((b.get::<u64>(k) & 0x8080_8080_8080_8080).wrapping_mul(0x2_0408_1020_4081) >> 56) as u8);
    V::low(eight(0) | eight(1) << 8 | eight(2) << 16 | eight(3) << 24)
}

/// The most significant bit of every element, element 0 in bit 0.
#[inline(always)]
fn signs<T: Lane>(b: &V) -> V {
    let bit = |k: usize| u32::from(b.get::<u8>((k + 1) * T::BYTES - 1) >> 7) << k;
    V::low((0..super::value::BYTES / T::BYTES).map(bit).sum::<u32>())
}
