//! Loaders against images built by hand, cut short, and damaged.

use super::*;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
/// ELF64 with a PVH note: 64 bytes of HLT at 1 MiB, one page of memory.
const PVH: &[u8] = include_bytes!("testdata/pvh.elf");
const PACKED: [(&str, &[u8]); 4] = [
    ("gzip", include_bytes!("testdata/pvh.elf.gz")),
    ("LZ4", include_bytes!("testdata/pvh.elf.lz4")),
    ("XZ", include_bytes!("testdata/pvh.elf.xz")),
    ("ZSTD", include_bytes!("testdata/pvh.elf.zst")),
];

fn source(image: &[u8]) -> Source<'_> {
    Source {
        image,
        initrd: None,
        append: "console=ttyS0",
        ram_bytes: 64 * MIB,
        rsdp: Gpa(0xe_0000),
        reserved: &[Span { base: 0xe_0000, bytes: 0x2_0000, kind: Use::Reserved }],
        unpack: true,
        kind: None,
    }
}

fn piece<'a>(plan: &'a Plan, what: &str) -> &'a Piece {
    plan.pieces.iter().find(|p| p.what == what).unwrap_or_else(|| panic!("no {what} in {plan:?}"))
}

/// An ELF file with one PT_LOAD of `contents` at `at` (and entry there).
fn elf(wide: bool, kind: u16, machine: u16, at: u64, contents: &[u8]) -> Vec<u8> {
    let (header_bytes, entry_bytes): (u16, u16) = if wide { (64, 56) } else { (52, 32) };
    let offset = u64::from(header_bytes + entry_bytes);
    let word = |v: u64| if wide { v.to_le_bytes().to_vec() } else { (v as u32).to_le_bytes().to_vec() };
    let mut b = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    b.extend([kind.to_le_bytes(), machine.to_le_bytes(), [1, 0], [0, 0]].concat());
    b.extend([word(at), word(header_bytes.into()), word(0)].concat());
    b.extend([0; 4]);
    for v in [header_bytes, entry_bytes, 1, 0, 0, 0] {
        b.extend(v.to_le_bytes());
    }
    let bytes = contents.len() as u64;
    let flags = 5u32.to_le_bytes();
    b.extend(1u32.to_le_bytes());
    if wide {
        b.extend(flags);
    }
    for v in [offset, at, at, bytes, bytes + 100] {
        b.extend(word(v));
    }
    if !wide {
        b.extend(flags);
    }
    b.extend(word(16));
    b.extend_from_slice(contents);
    b
}

/// A multiboot header with `flags` and the address fields `addresses`.
fn multiboot_header(flags: u32, addresses: [u32; 5]) -> Vec<u8> {
    let checksum = 0u32.wrapping_sub(0x1bad_b002).wrapping_sub(flags);
    [0x1bad_b002, flags, checksum].iter().chain(&addresses).flat_map(|v| v.to_le_bytes()).collect()
}

/// A bzImage, protocol 2.15, 64-bit entry, one setup sector, whose payload lies 64 bytes into the kernel.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0; 1024];
    let kernel_bytes = (64 + payload.len()).next_multiple_of(16);
    let mut put = |at: usize, v: &[u8]| b[at..at + v.len()].copy_from_slice(v);
    put(0x1f1, &[1]);
    put(0x1f4, &((kernel_bytes / 16) as u32).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x20fu16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(0x230, &0x20_0000u32.to_le_bytes());
    put(0x234, &[1]);
    put(0x236, &3u16.to_le_bytes());
    put(0x238, &2047u32.to_le_bytes());
    put(0x248, &64u32.to_le_bytes());
    put(0x24c, &(payload.len() as u32).to_le_bytes());
    put(0x258, &0x100_0000u64.to_le_bytes());
    put(0x260, &0x20_0000u32.to_le_bytes());
    b.extend([0x90; 64]);
    b.extend_from_slice(payload);
    b.resize(1024 + kernel_bytes, 0);
    b
}

/// The kernel's build appends the unpacked length to all but gzip.
fn payload(how: &str, packed: &[u8]) -> Vec<u8> {
    let mut all = packed.to_vec();
    if how != "gzip" {
        all.extend((PVH.len() as u32).to_le_bytes());
    }
    all
}

#[test]
fn a_pvh_kernel_starts_at_its_note_with_the_start_info() {
    let plan = plan(&Source { initrd: Some(&[7; 5000]), ..source(PVH) }).unwrap();
    assert_eq!(plan.kind, Kind::Pvh);
    assert_eq!(plan.entry, Entry::Protected { eip: 0x10_0000, eax: 0, ebx: 0x6000, esi: 0 });
    let code = piece(&plan, "the kernel's code");
    assert_eq!((code.at, code.bytes.as_slice(), code.zeros), (Gpa(MIB), &[0xf4; 64][..], 0xfc0));
    assert_eq!(piece(&plan, "the initrd").at, Gpa(64 * MIB - 0x2000));
    assert_eq!(piece(&plan, "the command line").bytes, b"console=ttyS0\0");
    let info = &piece(&plan, "the start info").bytes;
    let word = |at: usize| bytes::u64(info, at).unwrap();
    assert_eq!(info[..16], [0x78, 0xc5, 0x6e, 0x33, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!((word(16), word(24), word(32), word(40)), (0x6040, 0x2_0000, 0xe_0000, 0x6060));
    assert_eq!((word(0x40), word(0x48)), (64 * MIB - 0x2000, 5000));
    // Map: RAM to 9FC00h, EBDA, E0000h reserved, RAM from 1 MiB.
    assert_eq!(info[48], 4);
    assert_eq!((word(0x60), word(0x68), info[0x70]), (0, 0x9_fc00, 1));
    assert_eq!((word(0xa8), word(0xb0), info[0xb8]), (MIB, 63 * MIB, 1));
}

#[test]
fn the_kernel_in_a_bzimage_is_unpacked_from_every_compression() {
    for (how, packed) in PACKED {
        let image = bzimage(&payload(how, packed));
        assert_eq!(plan(&source(&image)), plan(&source(PVH)), "{how}");
    }
}

#[test]
fn a_damaged_payload_is_an_error_with_the_compression_in_it() {
    for (how, packed) in PACKED {
        let mut packed = packed.to_vec();
        let middle = packed.len() / 2;
        packed.truncate(middle);
        match plan(&source(&bzimage(&packed))) {
            Err(LoadError::Unpack { how: named, .. }) => assert_eq!(named, how),
            other => panic!("{how}: {other:?}"),
        }
    }
}

#[test]
fn a_bzimage_left_packed_starts_by_the_64_bit_protocol() {
    let image = bzimage(&payload("XZ", PACKED[2].1));
    let plan = plan(&Source { unpack: false, initrd: Some(b"initrd"), ..source(&image) }).unwrap();
    assert_eq!(plan.entry, Entry::Long { rip: 0x100_0200, rsi: 0x7000, cr3: Gpa(0x9000) });
    let kernel = piece(&plan, "the kernel");
    assert_eq!((kernel.at, kernel.end(), &kernel.bytes[..],), (Gpa(0x100_0000), 0x120_0000, &image[1024..]));
    let page = &piece(&plan, "the zero page").bytes;
    assert_eq!((page[0x1e8], page[0x210]), (4, 0xff));
    assert_eq!(bytes::u64(page, 0x70), Some(0xe_0000));
    assert_eq!(bytes::u32(page, 0x228), Some(0x2_0000));
    assert_eq!((bytes::u32(page, 0x218), bytes::u32(page, 0x21c)), (Some(0x3ff_f000), Some(6)));
    assert_eq!(&page[0x202..0x206], b"HdrS");
    assert_eq!((bytes::u64(page, 0x2d0), bytes::u64(page, 0x2d8)), (Some(0), Some(0x9_fc00)));
    let tables = &piece(&plan, "the page tables").bytes;
    assert_eq!((bytes::u64(tables, 0), bytes::u64(tables, 0x1018)), (Some(0xa003), Some(0xe003)));
    assert_eq!(bytes::u64(tables, 0x5ff8), Some(0xffe0_0083));
}

#[test]
fn a_payload_of_unknown_compression_is_left_to_the_guest() {
    let plan = plan(&source(&bzimage(b"BZh91AY"))).unwrap();
    assert_eq!(plan.kind, Kind::BzImage);
    assert!(matches!(plan.entry, Entry::Long { .. }));
}

#[test]
fn a_32_bit_kernel_starts_by_the_32_bit_protocol() {
    let mut image = bzimage(b"");
    image[0x236] = 0;
    let plan = plan(&source(&image)).unwrap();
    assert_eq!(plan.entry, Entry::Protected { eip: 0x100_0000, eax: 0, ebx: 0, esi: 0x7000 });
    assert_eq!(piece(&plan, "the GDT").bytes[16..24], 0x00cf_9b00_0000_ffffu64.to_le_bytes());
}

#[test]
fn an_old_or_low_bzimage_is_refused_by_name() {
    let mut old = bzimage(b"");
    old[0x206] = 5;
    assert!(matches!(plan(&source(&old)), Err(LoadError::Header { what: "the boot protocol", value: 0x205, .. })));
    let mut low = bzimage(b"");
    low[0x211] = 0;
    assert!(matches!(plan(&source(&low)), Err(LoadError::Header { what: "loadflags", .. })));
}

#[test]
fn a_kernel_that_needs_more_memory_than_there_is_says_how_much() {
    let image = bzimage(b"");
    let small = Source { ram_bytes: 16 * MIB, ..source(&image) };
    assert_eq!(plan(&small), Err(LoadError::Memory { what: "the kernel", end: 0x120_0000, limit: 16 * MIB }));
    let initrd = vec![0; 70 << 20];
    let full = plan(&Source { initrd: Some(&initrd), ..source(PVH) });
    assert!(matches!(full, Err(LoadError::Memory { what: "the initrd", .. })), "{full:?}");
}

#[test]
fn a_multiboot_elf_starts_with_its_magic_and_information() {
    let mut contents = multiboot_header(3, [0; 5]);
    contents.resize(200, 0x90);
    let image = elf(false, 2, 3, 2 * MIB, &contents);
    let plan = plan(&Source { initrd: Some(b"NR_CPUS=1\n"), append: "a b", ..source(&image) }).unwrap();
    assert_eq!(plan.kind, Kind::Multiboot);
    assert_eq!(plan.entry, Entry::Protected { eip: 0x20_0000, eax: 0x2bad_b002, ebx: 0x6000, esi: 0 });
    assert_eq!(piece(&plan, "the command line").bytes, b"kernel a b\0");
    let module = piece(&plan, "the module");
    assert_eq!((module.at, &module.bytes[..]), (Gpa(0x20_1000), &b"NR_CPUS=1\n"[..]));
    let info = &piece(&plan, "the multiboot information").bytes;
    let word = |at: usize| bytes::u32(info, at).unwrap();
    assert_eq!((word(0), word(4), word(8)), (0x24d, 639, 63 * 1024));
    assert_eq!((word(16), word(20), word(24)), (0x2_0000, 1, 0x6080));
    assert_eq!((word(0x80), word(0x84)), (0x20_1000, 0x20_100a));
    assert_eq!((word(44), word(48), word(0xa0)), (96, 0x60a0, 20));
}

#[test]
fn a_flat_multiboot_image_goes_where_its_header_says() {
    let mut image = vec![0x90; 16];
    image.extend(multiboot_header(1 << 16, [0x20_0010, 0x20_0000, 0x20_0040, 0x20_1000, 0x20_0030]));
    image.resize(100, 0xf4);
    let plan = plan(&source(&image)).unwrap();
    let kernel = piece(&plan, "the kernel");
    assert_eq!((kernel.at, kernel.bytes.len(), kernel.end()), (Gpa(0x20_0000), 64, 0x20_1000));
    assert!(matches!(plan.entry, Entry::Protected { eip: 0x20_0030, .. }));
}

#[test]
fn multiboot_features_that_are_required_and_missing_are_refused() {
    let image = multiboot_header(1 << 16 | 8, [0; 5]);
    assert!(matches!(plan(&source(&image)), Err(LoadError::Header { what: "flags", .. })));
    let image = multiboot_header(1 << 16, [0x20_0000, 0x20_0010, 0, 0, 0]);
    assert!(matches!(plan(&source(&image)), Err(LoadError::Header { what: "load_addr", .. })));
}

#[test]
fn a_vmlinux_without_notes_gets_a_zero_page_of_its_own() {
    let image = elf(true, 2, 62, 0x100_0000, &[0xf4; 32]);
    let plan = plan(&source(&image)).unwrap();
    assert_eq!(plan.kind, Kind::Vmlinux);
    assert_eq!(plan.entry, Entry::Long { rip: 0x100_0000, rsi: 0x7000, cr3: Gpa(0x9000) });
    assert_eq!(&piece(&plan, "the zero page").bytes[0x1fe..0x208], b"\x55\xaa\0\0HdrS\x0c\x02");
}

#[test]
fn a_rom_ends_at_four_gib_and_shows_below_one_mib() {
    let mut image = vec![0x90; 8192];
    image[8176] = 0xeb;
    let plan = plan(&source(&image)).unwrap();
    assert_eq!((plan.kind, plan.entry), (Kind::Rom, Entry::Reset));
    assert_eq!((plan.roms[0].0, plan.roms[0].1.len()), (Gpa(0xffff_e000), 8192));
    assert_eq!(piece(&plan, "the ROM's shadow").at, Gpa(0xf_e000));
}

#[test]
fn a_short_rom_is_filled_up_in_front() {
    let code = [0xeb, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let plan = plan(&Source { kind: Some(Kind::Rom), ..source(&code) }).unwrap();
    let (at, rom) = &plan.roms[0];
    assert_eq!((*at, rom.len(), rom[0], &rom[4080..]), (Gpa(0xffff_f000), 4096, 0xff, &code[..]));
}

#[test]
fn files_that_are_no_kernels_are_named() {
    let unknown = |image: &[u8]| match detect(image) {
        Err(LoadError::Unknown { seems }) => seems,
        other => panic!("{other:?}"),
    };
    assert_eq!(detect(b""), Err(LoadError::Empty));
    assert_eq!(unknown(b"hello"), None);
    assert_eq!(unknown(b"070701000"), Some("a cpio archive, an initrd"));
    assert_eq!(unknown(b"\x1f\x8b\x08"), Some("compressed data"));
    let program = elf(true, 3, 62, 0, &[0]);
    assert!(matches!(detect(&program), Err(LoadError::NotKernel { at: 0, .. })));
    let arm = elf(true, 2, 183, 0x100_0000, &[0]);
    assert!(matches!(detect(&arm), Err(LoadError::Machine { .. })));
}

#[test]
fn what_overlaps_the_loaders_own_places_is_refused() {
    let mut contents = multiboot_header(0, [0; 5]);
    contents.resize(64, 0);
    let image = elf(false, 2, 3, 0x6000, &contents);
    assert!(matches!(plan(&source(&image)), Err(LoadError::Overlap { .. })));
}

#[test]
fn a_long_command_line_says_what_the_limit_is() {
    let image = bzimage(b"");
    let line = "x".repeat(2048);
    let e = plan(&Source { append: &line, ..source(&image) }).unwrap_err();
    assert_eq!(e, LoadError::CommandLine { bytes: 2048, limit: 2047 });
    assert_eq!(e.to_string(), "the command line has 2048 bytes, this kernel takes 2047");
}

/// One good image of every kind.
fn images() -> Vec<Vec<u8>> {
    let mut contents = multiboot_header(3, [0; 5]);
    contents.resize(200, 0x90);
    let mut flat = multiboot_header(1 << 16, [0x20_0000, 0x20_0000, 0, 0x20_1000, 0x20_0020]);
    flat.resize(64, 0x90);
    let mut all =
        vec![PVH.to_vec(), elf(false, 2, 3, 2 * MIB, &contents), flat, elf(true, 2, 62, 16 * MIB, &[0xf4; 32])];
    all.extend(PACKED.iter().map(|(how, packed)| bzimage(&payload(how, packed))));
    all
}

#[test]
fn an_image_cut_anywhere_is_a_plan_or_an_error() {
    for image in images() {
        for end in 0..image.len() {
            for unpack in [false, true] {
                let _ = plan(&Source { unpack, ..source(&image[..end]) });
            }
        }
    }
}

proptest! {
    #[test]
    fn a_damaged_image_is_a_plan_that_fits_or_an_error(
        which in 0usize..8, damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        kind in prop::option::of(prop::sample::select(&Kind::ALL)), ram_mib in 1u64..8192, unpack: bool,
    ) {
        let mut image = images().swap_remove(which);
        for (at, value) in damage {
            let at = at.index(image.len());
            image[at] = value;
        }
        let ram_bytes = ram_mib << 20;
        if let Ok(plan) = plan(&Source { kind, ram_bytes, unpack, initrd: Some(b"x"), ..source(&image) }) {
            for p in &plan.pieces {
                let limit = if p.at.0 < 4 << 30 { ram_bytes.min(3 << 30) } else { ram_bytes + (1 << 30) };
                prop_assert!(p.end() <= limit, "{} ends at {:#x} of {:#x}", p.what, p.end(), limit);
            }
        }
    }

    #[test]
    fn random_bytes_are_a_plan_or_an_error(image in prop::collection::vec(any::<u8>(), 0..4096), kind in 0usize..6) {
        let _ = plan(&Source { kind: Kind::ALL.get(kind).copied(), ..source(&image) });
    }
}
