//! Loaders: any bytes give a plan that lies in memory, or an error that says why not.

use emu_core::Gpa;
use frontend::load::{Entry, Kind, Source, Span, Use, plan};

const MIB: u64 = 1 << 20;
/// Sizes of memory that an input chooses from.
const RAM_BYTES: [u64; 4] = [MIB, 16 * MIB, 64 * MIB, 8192 * MIB];

/// The last bytes of `data` choose the machine, the rest is the image.
///
/// # Panics
/// When the plan breaks its promises: that is what the fuzzer looks for.
pub fn check(kind: Option<Kind>, data: &[u8]) {
    let Some((image, [options, initrd_pages])) = data.split_last_chunk::<2>() else { return };
    let initrd = vec![0x55; usize::from(*initrd_pages) << 12];
    let ram_bytes = RAM_BYTES[usize::from(options & 3)];
    let reserved = [Span { base: 0xe_0000, bytes: 0x2_0000, kind: Use::Reserved }];
    let source = Source {
        image,
        initrd: (options & 4 != 0).then_some(&initrd),
        append: if options & 8 != 0 { "console=ttyS0" } else { "" },
        ram_bytes,
        rsdp: Gpa(0xe_0000),
        reserved: &reserved,
        unpack: options & 16 != 0,
        kind,
    };
    let plan = match plan(&source) {
        Ok(plan) => plan,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return;
        }
    };
    for p in &plan.pieces {
        let inside = p.end() <= ram_bytes.min(3072 * MIB) || p.at.0 >= 4096 * MIB && p.end() <= ram_bytes + 1024 * MIB;
        assert!(inside || p.end() == p.at.0, "{} from {:#x} to {:#x}", p.what, p.at.0, p.end());
    }
    for (at, contents) in &plan.roms {
        assert!(at.0 % 4096 == 0 && contents.len() % 4096 == 0 && at.0 + contents.len() as u64 <= 4096 * MIB);
    }
    assert_eq!(plan.roms.is_empty(), plan.entry != Entry::Reset);
}
