//! The images are what the assembler makes of the lessons, and they report what the lessons announce.

mod assembler;

use assembler::{BASE, IMAGE_BYTES, guests, images};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic};

#[test]
fn checked_in_images_are_what_the_assembler_makes() {
    let made = images();
    assert_eq!(made.len(), roms::lessons().len());
    for (lesson, (name, image)) in roms::lessons().iter().zip(&made) {
        assert_eq!(lesson.name, *name);
        assert!(lesson.image == image, "{name}: run `cargo run -p roms --example assemble`");
    }
}

#[test]
fn checked_in_guests_are_what_the_assembler_makes() {
    let made = guests();
    assert_eq!(made.len(), roms::guests().len());
    for (guest, (name, image)) in roms::guests().iter().zip(&made) {
        assert_eq!(guest.name, *name);
        assert!(guest.image == image, "{name}: run `cargo run -p roms --example assemble`");
    }
}

#[test]
fn an_image_carries_the_reports_that_its_lesson_announces_in_order() {
    for lesson in roms::lessons() {
        let mut from = 0;
        for (what, n) in lesson.expected {
            let text = format!("@@ what={what} expected={n} counted=\0");
            let at = lesson.image[from..].windows(text.len()).position(|w| w == text.as_bytes());
            from += at.unwrap_or_else(|| panic!("{}: {text}", lesson.name));
        }
        let reports = lesson.image.windows(3).filter(|w| w == b"@@ ").count();
        assert_eq!(reports, lesson.expected.len(), "{}", lesson.name);
    }
}

#[test]
fn the_reset_vector_leads_to_a_far_jump_into_protected_mode() {
    for lesson in roms::lessons() {
        let at = |ip: u64| ((ip | 0xffff_0000) - BASE) as usize;
        let first = Decoder::with_ip(16, &lesson.image[IMAGE_BYTES - 16..], 0xfff0, DecoderOptions::NONE).decode();
        assert_eq!(first.mnemonic(), Mnemonic::Jmp);
        let target = first.near_branch_target();
        let mut decoder = Decoder::with_ip(16, &lesson.image[at(target)..], target, DecoderOptions::NONE);
        let lgdt = decoder.iter().find(|i| i.mnemonic() == Mnemonic::Lgdt).expect("LGDT");
        let pointer = at(lgdt.memory_displacement64());
        assert_eq!(lesson.image[pointer..pointer + 6], [0x47, 0, 0x10, 0xff, 0xff, 0xff]);
        let jump = decoder.iter().find(|i| i.flow_control() == FlowControl::UnconditionalBranch).expect("a jump");
        assert_eq!((jump.far_branch_selector(), jump.far_branch32()), (8, 0xffff_fe00));
    }
}
