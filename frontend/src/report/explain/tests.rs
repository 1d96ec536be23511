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
            let kept = matches!(r.first, 0x1d9 | 0x1200);
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
    assert!(explain("0x38e[59]").unwrap().starts_with("CTR_FRZ: bits 59 of IA32_PERF_GLOBAL_STATUS"));
    assert!(explain("FREEZE_PERFMON_ON_PMI").unwrap().contains("bits 12 of IA32_DEBUGCTL"));
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
    let registers = registers("");
    assert_eq!(registers.lines().count(), REGISTERS.len() + 1);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,30}") {
        let _ = (explain(&text), events(&text), registers(&text));
    }
}
