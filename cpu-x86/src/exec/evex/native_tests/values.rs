//! Values that find mistakes: corners of integers and of the floating-point formats, and random ones.

use emu_core::Random;

/// Bytes of one kind: random, corner values of a lane type, or few different ones.
pub fn fill(random: &mut Random, to: &mut [u8]) {
    let kind = random.below(9);
    for chunk in to.chunks_mut(8) {
        let v = match kind {
            0 | 1 => random.next(),
            2 => u64::from_le_bytes([0; 8].map(|_: u8| random.pick(&[0, 1, 0x7f, 0x80, 0x81, 0xff]))),
            3 => (0..4).fold(0, |r, _| r << 16 | half(random)),
            4 | 5 => (0..2).fold(0, |r, _| r << 32 | single(random)),
            6 | 7 => double(random),
            _ => u64::from_le_bytes([0; 8].map(|_: u8| random.pick(&[0, 1, 2, 2, 2, 3, 3, 0x83]))),
        };
        chunk.copy_from_slice(&v.to_le_bytes()[..chunk.len()]);
    }
}

fn half(random: &mut Random) -> u64 {
    const CORNERS: [u64; 16] = [
        0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0xff, 0x100, 0x3c00, 0x3ff, 0x400, 0x7c00, 0xfc00, 0x7c01, 0x7e00, 0x7bff,
    ];
    if random.below(3) == 0 { random.next() & 0xffff } else { random.pick(&CORNERS) }
}

#[rustfmt::skip] // A table.
fn single(random: &mut Random) -> u64 {
    const CORNERS: [u32; 28] = [
        0, 1, 0x7f_ffff, 0x80_0000, 0x80_0001, 0x7f7f_ffff, 0x7f80_0000, 0x7f80_0001, 0x7fbf_ffff, 0x7fc0_0000,
        0x7fff_ffff, 0x3f80_0000, 0x3f80_0001, 0x3f7f_ffff, 0x4000_0000, 0x3f00_0000, 0x3fc0_0000, 0x4f00_0000,
        0x4eff_ffff, 0x5f00_0000, 0x4b00_0001, 0x4aff_fffd, 0x2000_0000, 0x477f_f000, 0x3880_0000, 0x3300_0000,
        0x4f80_0000, 0x5f80_0000,
    ];
    let sign = (random.below(2) as u32) << 31;
    u64::from(sign ^ match random.below(4) {
        0 => random.next() as u32,
        1 => (random.next() as u32 & 0x1ff_ffff) + 0x3f00_0000,
        _ => random.pick(&CORNERS),
    })
}

#[rustfmt::skip] // A table.
fn double(random: &mut Random) -> u64 {
    const CORNERS: [u64; 26] = [
        0, 1, 0xf_ffff_ffff_ffff, 0x10_0000_0000_0000, 0x7fef_ffff_ffff_ffff, 0x7ff0_0000_0000_0000,
        0x7ff0_0000_0000_0001, 0x7ff8_0000_0000_0000, 0x7fff_ffff_ffff_ffff, 0x3ff0_0000_0000_0000,
        0x3ff0_0000_0000_0001, 0x3fef_ffff_ffff_ffff, 0x4000_0000_0000_0000, 0x3fe0_0000_0000_0000,
        0x3ff8_0000_0000_0000, 0x41e0_0000_0000_0000, 0x41df_ffff_ffc0_0000, 0x43e0_0000_0000_0000,
        0x4330_0000_0000_0001, 0x47ef_ffff_e000_0000, 0x47ef_ffff_f000_0000, 0x3810_0000_0000_0000,
        0x380f_ffff_ffff_ffff, 0x36a0_0000_0000_0000, 0x41f0_0000_0000_0000, 0x43f0_0000_0000_0000,
    ];
    let sign = random.below(2) << 63;
    sign ^ match random.below(4) {
        0 => random.next(),
        1 => (random.next() & 0x3f_ffff_ffff_ffff) + 0x3fe0_0000_0000_0000,
        _ => random.pick(&CORNERS),
    }
}
