//! SHA-1 and SHA-256 steps.
//!
//! Source: FIPS 180-4; SDM vol. 2, SHA1RNDS4 and its neighbours. SHA-1 operands hold their first word in the highest
//! element, SHA-256 operands in the lowest.

use super::describe::Kernel;
use super::value::V;
use iced_x86::Mnemonic;

/// The kernel of `m`.
pub fn kernel(m: Mnemonic) -> Option<Kernel> {
    use Mnemonic::*;
    Some(match m {
        Sha1rnds4 => Kernel::Imm(sha1rnds4),
        Sha1nexte => Kernel::Two(|a, b| b.with(3, b.get::<u32>(3).wrapping_add(a.get::<u32>(3).rotate_left(30)))),
        Sha1msg1 => Kernel::Two(sha1msg1),
        Sha1msg2 => Kernel::Two(sha1msg2),
        Sha256rnds2 => Kernel::Three(sha256rnds2),
        Sha256msg1 => Kernel::Two(sha256msg1),
        Sha256msg2 => Kernel::Two(sha256msg2),
        _ => return None,
    })
}

fn words(v: &V) -> [u32; 4] {
    [v.get(0), v.get(1), v.get(2), v.get(3)]
}

fn of(w: [u32; 4]) -> V {
    V::from_fn(|k| if k < 4 { w[k & 3] } else { 0 })
}

/// Four rounds with the function and constant that `imm` picks; `b` holds the message words, E added to the first.
fn sha1rnds4(a: &V, b: &V, imm: u8) -> V {
    let [mut d, mut c, mut bb, mut aa] = words(a);
    let [w3, w2, w1, w0] = words(b);
    let mut e = 0;
    for w in [w0, w1, w2, w3] {
        let (f, k) = match imm & 3 {
            0 => (bb & c ^ !bb & d, 0x5a82_7999u32),
            1 => (bb ^ c ^ d, 0x6ed9_eba1),
            2 => (bb & c ^ bb & d ^ c & d, 0x8f1b_bcdc),
            _ => (bb ^ c ^ d, 0xca62_c1d6),
        };
        let next = f.wrapping_add(aa.rotate_left(5)).wrapping_add(w).wrapping_add(e).wrapping_add(k);
        (aa, bb, c, d, e) = (next, aa, bb.rotate_left(30), c, d);
    }
    of([d, c, bb, aa])
}

fn sha1msg1(a: &V, b: &V) -> V {
    let ([w3, w2, w1, w0], [_, _, w5, w4]) = (words(a), words(b));
    of([w5 ^ w3, w4 ^ w2, w3 ^ w1, w2 ^ w0])
}

fn sha1msg2(a: &V, b: &V) -> V {
    let ([x3, x2, x1, x0], [w15, w14, w13, _]) = (words(a), words(b));
    let w16 = (x0 ^ w13).rotate_left(1);
    let (w17, w18) = ((x1 ^ w14).rotate_left(1), (x2 ^ w15).rotate_left(1));
    of([(x3 ^ w16).rotate_left(1), w18, w17, w16])
}

/// Two rounds: `a` holds C, D, G, H, `b` holds A, B, E, F (highest first), `c` the two words with their constants.
fn sha256rnds2(a: &V, b: &V, c: &V) -> V {
    let ([mut h, mut g, mut d, mut cc], [mut f, mut e, mut bb, mut aa]) = (words(a), words(b));
    for k in 0..2 {
        let big1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let big0 = aa.rotate_right(2) ^ aa.rotate_right(13) ^ aa.rotate_right(22);
        let t1 = (e & f ^ !e & g).wrapping_add(big1).wrapping_add(c.get(k)).wrapping_add(h);
        let t2 = (aa & bb ^ aa & cc ^ bb & cc).wrapping_add(big0);
        (h, g, f, e, d, cc, bb, aa) = (g, f, e, t1.wrapping_add(d), cc, bb, aa, t1.wrapping_add(t2));
    }
    of([f, e, bb, aa])
}

fn sha256msg1(a: &V, b: &V) -> V {
    let w = words(a);
    let small0 = |x: u32| x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3;
    let next = [w[1], w[2], w[3], b.get(0)];
    V::from_fn(|k| if k < 4 { w[k & 3].wrapping_add(small0(next[k & 3])) } else { 0 })
}

fn sha256msg2(a: &V, b: &V) -> V {
    let w = words(a);
    let small1 = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10;
    let w16 = w[0].wrapping_add(small1(b.get(2)));
    let w17 = w[1].wrapping_add(small1(b.get(3)));
    of([w16, w17, w[2].wrapping_add(small1(w16)), w[3].wrapping_add(small1(w17))])
}
