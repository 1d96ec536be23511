//! Every file of the corpus, and inputs drawn at random, through the bodies of the targets.

use frontend::load::Kind;
use std::path::PathBuf;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect()
}

/// xorshift64*.
fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// `input` with a few bytes changed.
fn damaged(input: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random(state) % 4 {
        let at = random(state) as usize % bytes.len().max(1);
        bytes.iter_mut().skip(at).take(1).for_each(|b| *b = random(state) as u8);
    }
    bytes
}

#[test]
fn the_corpus_and_what_is_near_it_runs_the_same_both_ways() {
    let mut state = 1;
    for input in corpus("execute") {
        crate::execute::check(&input);
        for _ in 0..20 {
            crate::execute::check(&damaged(&input, &mut state));
        }
    }
}

#[test]
fn random_bytes_run_the_same_both_ways() {
    let mut state = 2;
    for _ in 0..5000 {
        let bytes: Vec<u8> = (0..20).flat_map(|_| random(&mut state).to_le_bytes()).collect();
        crate::execute::check(&bytes);
    }
}

#[test]
fn loaders_answer_the_corpus_and_what_is_near_it() {
    let kinds = [
        ("any", None),
        ("bzimage", Some(Kind::BzImage)),
        ("elf_pvh", Some(Kind::Pvh)),
        ("vmlinux", Some(Kind::Vmlinux)),
        ("multiboot", Some(Kind::Multiboot)),
        ("rom", Some(Kind::Rom)),
    ];
    let mut state = 3;
    for (target, kind) in kinds {
        for input in corpus(target) {
            crate::load::check(kind, &input);
            for _ in 0..50 {
                crate::load::check(kind, &damaged(&input, &mut state));
            }
        }
    }
}

#[test]
fn guests_that_misuse_the_pmu_fault_as_the_law_says_and_stop_nothing() {
    let mut state = 4;
    for input in corpus("pmu") {
        crate::pmu::check(&input);
        for _ in 0..8 {
            crate::pmu::check(&damaged(&input, &mut state));
        }
    }
}

#[test]
fn guests_of_random_bytes_do_so_too() {
    let mut state = 5;
    for n in 0..600 {
        let bytes: Vec<u8> = (0..1 + n % 40).flat_map(|_| random(&mut state).to_le_bytes()).collect();
        crate::pmu::check(&bytes);
    }
}

/// Every register of the law, written with each bit alone and all but it, and read: 200 steps a guest.
#[test]
fn every_bit_of_every_register_is_legal_or_faults() {
    let mut steps: Vec<Vec<u8>> = Vec::new();
    for msr in 0..crate::pmu::MSRS.len() as u8 {
        steps.extend((0..64).map(|bit| vec![0, msr, 0, bit]));
        steps.extend((0..64).map(|bit| vec![0, msr, 1, bit]));
        steps.push(vec![2, msr]);
    }
    for some in steps.chunks(190) {
        let mut input = vec![4, 0];
        input.extend(some.iter().flatten());
        assert_eq!(crate::pmu::check(&input), some.len());
    }
}
