//! The tables agree with the machine, and every spelling finds its row.

use super::*;
use proptest::prelude::*;

#[test]
fn registers_are_in_order_and_their_fields_do_not_overlap() {
    for pair in REGISTERS.windows(2) {
        assert!(pair[0].last < pair[1].first, "{}", pair[1].name);
    }
    for r in REGISTERS {
        for pair in r.fields.windows(2) {
            assert!(pair[0].high < pair[1].low, "{}: {}", r.name, pair[1].name);
        }
        assert!(r.fields.iter().all(|f| f.low <= f.high && f.high < 64), "{}", r.name);
    }
}

#[test]
fn what_the_unit_accepts_is_named_and_what_is_not_there_is_refused() {
    for r in REGISTERS.iter().filter(|r| r.access == Access::ReadWrite) {
        let named = r.fields.iter().fold(0u64, |m, f| m | u64::MAX >> (63 - (f.high - f.low)) << f.low);
        for bit in (0..64).filter(|bit| named >> bit & 1 == 0) {
            let written = pmu().msr_write(r.first, 1 << bit, &Counts::default());
            // The legacy counters and the fixed ones drop what lies above their width.
            let drops = r.fields.len() == 1 && r.fields[0].name == "VALUE" && r.first != 0x4c1;
            // DEBUGCTL is the processor's, and records are kept as they are written.
            let kept = matches!(r.first, 0x1d9 | 0x1e0 | 0x1200);
            assert!(drops || kept || !matches!(written, Some(Ok(()))), "{}: bit {bit} is accepted", r.name);
        }
    }
}

#[test]
fn a_register_is_found_by_number_and_by_name() {
    for text in ["0x38f", "38fh", "911", "msr 0x38f", "IA32_PERF_GLOBAL_CTRL", "perf_global_ctrl"] {
        assert!(explain(text).unwrap().starts_with("IA32_PERF_GLOBAL_CTRL  MSR 0x38f"), "{text}");
    }
    assert!(explain("IA32_PMC3").unwrap().starts_with("IA32_PMCn  MSR 0xc1 to 0xc8"));
    assert!(explain("IA32_LBR_7_INFO").unwrap().starts_with("IA32_LBR_n_INFO"));
}

#[test]
fn a_value_is_decoded_and_reserved_bits_are_named() {
    let text = explain("0x186 = 0x1004300c4").unwrap();
    for words in ["EVENT_SELECT  0xc4", "OS            0x1", "reserved bits are set: 0x100000000"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(explain("0x38f").unwrap().contains("0xff at power-on"));
}

#[test]
fn a_bit_is_found_by_name_and_by_place() {
    assert!(explain("0x38e[59]").unwrap().starts_with("CTR_FRZ: bit 59 of IA32_PERF_GLOBAL_STATUS"));
    assert!(explain("FREEZE_PERFMON_ON_PMI").unwrap().contains("bit 12 of IA32_DEBUGCTL"));
    assert_eq!(explain("ctr_frz").unwrap().lines().count(), 3, "STATUS, RESET and SET have it");
    assert!(explain("0x38f[20]").unwrap().contains("is reserved"));
}

#[test]
fn an_event_is_explained_with_its_worth() {
    let text = explain("instructions").unwrap();
    for words in ["INST_RETIRED.ANY_P", "exact", "0xc0", "fixed counter 0 (INST_RETIRED.ANY)"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(explain("r00ff").unwrap().contains("counts nothing"));
}

#[test]
fn what_is_not_known_says_what_resembles_it() {
    assert!(explain("GLOBAL_CTR").unwrap_err().near.contains(&"IA32_PERF_GLOBAL_CTRL".to_owned()));
    assert!(explain("0x38e[64]").is_err());
}

#[test]
fn lists_say_of_each_row_what_it_is_worth() {
    let all = events("");
    assert_eq!(all.lines().count(), EVENTS.len() + 1);
    assert!(all.lines().skip(1).all(|l| l.contains("exact") || l.contains("modelled")), "{all}");
    assert!(events("branches").lines().count() > 3);
    let described = |first: u32| REGISTERS.iter().any(|r| (r.first..=r.last).contains(&first));
    let others = cpu_x86::msr::rows().filter(|(first, ..)| !described(*first)).count();
    assert_eq!(registers("").lines().count(), REGISTERS.len() + others + 1);
    assert_eq!(registers("no such words").lines().count(), 1);
}

/// Source: spec/pmu.md 1.4, 4.2.
#[test]
fn every_register_of_the_specification_is_explained_field_by_field() {
    let first_and_last = [
        (0x10, 0x10),
        (0x34, 0x34),
        (0x3b, 0x3b),
        (0x49, 0x49),
        (0xc1, 0xc8),
        (0xce, 0xce),
        (0xe7, 0xe8),
        (0x186, 0x18d),
        (0x1a0, 0x1a0),
        (0x1a6, 0x1a7),
        (0x1ad, 0x1ae),
        (0x1c8, 0x1c9),
        (0x1d9, 0x1d9),
        (0x1dd, 0x1de),
        (0x1e0, 0x1e0),
        (0x309, 0x30c),
        (0x329, 0x329),
        (0x345, 0x345),
        (0x38d, 0x392),
        (0x3f1, 0x3f2),
        (0x3f6, 0x3f7),
        (0x4c1, 0x4c8),
        (0x600, 0x600),
        (0x680, 0x69f),
        (0x6c0, 0x6df),
        (0x834, 0x834),
        (0xda0, 0xda0),
        (0xdc0, 0xddf),
        (0x1200, 0x121f),
        (0x14ce, 0x14cf),
        (0x1500, 0x151f),
        (0x1600, 0x161f),
    ];
    for n in first_and_last.into_iter().flat_map(|(first, last)| first..=last) {
        let text = explain(&format!("{n:#x}")).unwrap();
        assert!(text.lines().count() > 4 && text.contains("field"), "{n:#x}: {text}");
    }
}

#[test]
fn every_field_and_every_event_is_found_by_its_name() {
    for (r, f) in REGISTERS.iter().flat_map(|r| r.fields.iter().map(move |f| (r, f))) {
        // A field may be called as a register is; then that is explained, with the field in it.
        let text = explain(f.name).unwrap();
        assert!(text.contains(f.name), "{} of {}: {text}", f.name, r.name);
    }
    for e in EVENTS {
        let text = explain(e.name).unwrap();
        assert!(text.starts_with(e.name) && text.contains("worth"), "{}: {text}", e.name);
    }
}

#[test]
fn a_register_beside_the_counters_is_named_and_said_to_be_there_or_not() {
    assert!(explain("IA32_LSTAR").unwrap().starts_with("IA32_LSTAR  MSR 0xc0000082; 0x0 at power-on"));
    assert_eq!(explain("0xc0000082"), explain("lstar"));
    assert!(explain("0x480").unwrap().starts_with("IA32_VMX_n  MSR 0x480; it cannot be read at power-on: #GP(0)"));
    assert!(explain("0x12345678").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,30}") {
        let _ = (explain(&text), events(&text), registers(&text));
    }
}
