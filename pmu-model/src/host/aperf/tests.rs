//! D1 to D10 on the guest's side, the budget of S4, and migration.

use super::*;

const COSTS: AperfCosts = AperfCosts::QUOTED;

fn guest(design: Design) -> GuestClock {
    GuestClock::new(design, UNSCALED, true, COSTS).unwrap()
}

/// Numbers from a seed, as in the integration tests.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

const PLACES: [Residence; 4] = [Residence::Guest, Residence::Root, Residence::Stolen, Residence::Halted];

#[test]
fn the_rules_hold_on_random_schedules() {
    for seed in 1..=100_000_u64 {
        let mut state = seed;
        let design = Design::ALL[(draw(&mut state) % 4) as usize];
        let mut host = HostClock::new(1 + draw(&mut state) % 40, 22);
        let mut guest = guest(design);
        let (mut c0, mut loaded, mut switches, mut was_loaded) = (0, 0, 0_u64, false);
        for _ in 0..draw(&mut state) % 20 {
            let (place, ticks) = (PLACES[(draw(&mut state) % 4) as usize], draw(&mut state) % 10_000);
            let before = (guest.read_mperf(&host), guest.read_aperf(&host), host.aperf);
            guest.pass(&mut host, place, ticks);
            let after = (guest.read_mperf(&host), guest.read_aperf(&host));
            let live = matches!(place, Residence::Guest | Residence::Root);
            c0 += if place == Residence::Halted { 0 } else { ticks };
            loaded += if live { host.aperf - before.2 } else { 0 };
            assert_eq!(after.0 - before.0, if place == Residence::Halted { 0 } else { ticks }, "D1, D3");
            assert_eq!(after.1 - before.1, if live { host.aperf - before.2 } else { 0 }, "D2, D3");
            let now = if design == Design::Switched { live } else { place == Residence::Guest };
            let counts = matches!(design, Design::Switched | Design::SwitchedAtEntry);
            switches += u64::from(counts && now != was_loaded);
            was_loaded = now;
        }
        assert_eq!((guest.read_mperf(&host), guest.read_aperf(&host)), (c0, loaded));
        assert!(guest.read_mperf(&host) <= guest.read_tsc(), "D1: MPERF is at most the TSC");
        assert_eq!(host.lost, switches * COSTS.lost_by_write, "D6: a bounded loss for each switch");
        assert_eq!(guest.drift(), guest.read_tsc() - c0);
    }
}

#[test]
fn without_steal_the_ratio_is_that_of_the_clocks_and_steal_lowers_it() {
    let mut host = HostClock::new(33, 22);
    let mut all = guest(Design::Switched);
    all.pass(&mut host, Residence::Guest, 2_200_000);
    assert_eq!((all.read_aperf(&host), all.read_mperf(&host)), (3_300_000, 2_200_000), "D4");
    let mut quarter_stolen = guest(Design::Intercept);
    for _ in 0..100 {
        quarter_stolen.pass(&mut host, Residence::Guest, 66_000);
        quarter_stolen.pass(&mut host, Residence::Stolen, 22_000);
    }
    let (aperf, mperf) = (quarter_stolen.read_aperf(&host), quarter_stolen.read_mperf(&host));
    assert_eq!((aperf, mperf), (9_900_000, 8_800_000), "D5: three quarters of 33/22");
}

#[test]
fn a_scaled_tsc_scales_mperf_or_is_refused() {
    let double = 2 << 48;
    for design in [Design::Switched, Design::SwitchedAtEntry, Design::HostValues] {
        assert_eq!(GuestClock::new(design, double, true, COSTS).unwrap_err(), AperfError::Scaled, "D7");
    }
    let mut host = HostClock::new(1, 1);
    let mut guest = GuestClock::new(Design::Intercept, double, true, COSTS).unwrap();
    guest.pass(&mut host, Residence::Guest, 1000);
    assert_eq!((guest.read_mperf(&host), guest.read_tsc(), guest.read_aperf(&host)), (2000, 2000, 1000));
    let unsteady = GuestClock::new(Design::Intercept, UNSCALED, false, COSTS);
    assert_eq!(unsteady.unwrap_err(), AperfError::UnsteadyTsc, "D9");
}

#[test]
fn migration_carries_mperf_apart_from_the_tsc() {
    let mut there = HostClock::new(1, 1);
    let mut guest = guest(Design::Switched);
    guest.pass(&mut there, Residence::Guest, 5_000);
    guest.pass(&mut there, Residence::Halted, 1_000);
    let saved = guest.save(&there);
    assert_eq!((saved.mperf, saved.aperf, saved.tsc, saved.in_c0), (5_000, 5_000, 6_000, false));
    let mut here = HostClock::new(2, 1);
    let mut moved = self::guest(Design::Switched);
    moved.restore(&saved, 300).unwrap();
    assert_eq!((moved.read_mperf(&here), moved.read_aperf(&here), moved.read_tsc()), (5_000, 5_000, 6_300), "D8");
    moved.pass(&mut here, Residence::Guest, 10);
    assert_eq!((moved.read_mperf(&here), moved.read_aperf(&here)), (5_010, 5_020));
    assert_eq!(moved.drift(), 1_300, "1000 halted, 300 paused");
    let other = SavedClock { version: 2, ..saved };
    assert_eq!(moved.restore(&other, 0), Err(AperfError::Version(2)));
}

#[test]
fn a_write_sets_the_value_and_the_hosts_registers_cannot_be_written() {
    let mut host = HostClock::new(1, 1);
    let mut own = guest(Design::Intercept);
    own.pass(&mut host, Residence::Guest, 100);
    own.write_mperf(7).unwrap();
    own.write_aperf(9).unwrap();
    assert_eq!((own.read_mperf(&host), own.read_aperf(&host)), (7, 9), "D10");
    let mut merged = guest(Design::HostValues);
    merged.pass(&mut host, Residence::Stolen, 50);
    assert_eq!(merged.write_mperf(0), Err(AperfError::ReadOnly));
    assert_eq!((merged.read_mperf(&host), merged.read_aperf(&host)), (150, 150), "all that the CPU ran");
}

#[test]
fn when_one_overflows_both_start_from_zero() {
    let mut host = HostClock::new(1, 1);
    let mut guest = guest(Design::Intercept);
    guest.pass(&mut host, Residence::Guest, 10);
    guest.write_aperf(u64::MAX - 4).unwrap();
    guest.pass(&mut host, Residence::Guest, 4);
    assert_eq!((guest.read_aperf(&host), guest.read_mperf(&host)), (u64::MAX, 14));
    guest.pass(&mut host, Residence::Guest, 1);
    assert_eq!((guest.read_aperf(&host), guest.read_mperf(&host)), (0, 0), "D10");
    guest.write_mperf(u64::MAX).unwrap();
    guest.pass(&mut host, Residence::Stolen, 1);
    assert_eq!((guest.read_aperf(&host), guest.read_mperf(&host)), (0, 0));
}

/// What a guest does to its TSC moves TSC_ADJUST and leaves MPERF alone, and is carried by migration.
#[test]
fn a_written_tsc_moves_its_adjustment_and_not_mperf() {
    let mut host = HostClock::new(3, 2);
    let mut guest = GuestClock::new(Design::Intercept, UNSCALED / 2, true, COSTS).unwrap();
    guest.pass(&mut host, Residence::Guest, 100);
    guest.write_tsc(1 << 40);
    guest.pass(&mut host, Residence::Guest, 900);
    let saved = guest.save(&host);
    assert_eq!((saved.mperf, saved.aperf, saved.tsc), (500, 1500, (1 << 40) + 450));
    assert_eq!(saved.tsc_adjust, (1 << 40) - 50);
    let mut there = GuestClock::new(Design::Intercept, UNSCALED, true, COSTS).unwrap();
    there.restore(&saved, 0).unwrap();
    assert_eq!((there.read_tsc(), there.read_mperf(&host)), ((1 << 40) + 450, 500), "D8");
    there.pass(&mut host, Residence::Guest, 10);
    assert_eq!((there.read_tsc(), there.read_mperf(&host), there.read_aperf(&host)), ((1 << 40) + 460, 510, 1515));
}

#[test]
fn the_budget_is_the_discussions() {
    assert_eq!(budget_of_a_read(2_000_000_000, 100, 250, 2), Some(400));
    assert_eq!(budget_of_a_read(2_000_000_000, 100, 1000, 2), Some(100));
    assert_eq!(budget_of_a_read(2_000_000_000, 100, 250, 0), None);
}

#[test]
fn reads_cost_by_design_and_switches_by_boundary() {
    let cost = |design| {
        let mut host = HostClock::new(1, 1);
        let mut guest = guest(design);
        for _ in 0..10 {
            guest.pass(&mut host, Residence::Guest, 1000);
            guest.pass(&mut host, Residence::Root, 100);
        }
        guest.read_mperf(&host);
        guest.read_aperf(&host);
        guest.cost
    };
    let pair = 2 * 80 + 2 * 150;
    let expected = [2 * 11_000, 2 * 1600, pair + 2 * 80, 20 * pair + 2 * 80, 2 * 80];
    assert_eq!(Design::ALL.map(cost), expected);
}
