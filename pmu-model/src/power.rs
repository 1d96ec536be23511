//! IA32_MPERF and IA32_APERF of a virtual processor: which host time counts for which register.
//!
//! Virtual MPERF goes at the frequency of the virtual TSC while the vCPU is in C0, also while its host lets it wait; virtual
//! APERF takes the host's APERF while the vCPU's context is loaded and it is in C0. So the frequency that a guest sees is the
//! core's, less what was stolen from it. A host's own registers are inputs here: nothing a guest does changes them.
//! Source: spec/pmu.md 4.3 to 4.5 (rules D1 to D10), after the thread "KVM: x86: Virtualize IA32_APERF and IA32_MPERF".

use cpu_x86::Refused;

/// The host's clocks at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Host TSC.
    pub tsc: u64,
    /// Physical IA32_MPERF of the processor that runs the vCPU, or ran it last.
    pub mperf: u64,
    /// Physical IA32_APERF, likewise.
    pub aperf: u64,
}

/// What a host's TSC is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// It ticks at one rate whatever the core's frequency.
    pub constant_tsc: bool,
    /// It goes on in deep C-states.
    pub nonstop_tsc: bool,
}

impl Host {
    const fn is_fit(self) -> bool {
        self.constant_tsc && self.nonstop_tsc
    }
}

/// How the virtual TSC is made from the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// Virtual ticks of a host tick, with 48 bits of fraction.
    pub multiplier: u64,
    /// Added to the product.
    pub offset: u64,
}

impl Scaling {
    /// A multiplier of one.
    pub const ONE: u64 = 1 << 48;
    /// The host's TSC itself.
    pub const NONE: Scaling = Scaling { multiplier: Scaling::ONE, offset: 0 };

    /// The virtual TSC for a host TSC.
    pub const fn tsc(self, host: u64) -> u64 {
        ((host as u128 * self.multiplier as u128) >> 48) as u64
    }
}

/// A guest that reads the host's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passthrough(());

impl Passthrough {
    /// The right to read them (D7, D9).
    ///
    /// # Errors
    /// The TSC is scaled, which the host's MPERF cannot follow, or the host's TSC is not fit.
    pub fn new(host: Host, scaling: Scaling) -> Result<Passthrough, Refused> {
        if host.is_fit() && scaling.multiplier == Scaling::ONE { Ok(Passthrough(())) } else { Err(Refused) }
    }

    /// RDMSR of IA32_MPERF.
    pub fn mperf(self, now: Moment) -> u64 {
        now.mperf
    }

    /// RDMSR of IA32_APERF.
    pub fn aperf(self, now: Moment) -> u64 {
        now.aperf
    }
}

/// What is kept of a vCPU that is saved: the registers are values of their own, not offsets to the TSC (D8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Of this layout: 1.
    pub version: u32,
    /// IA32_MPERF.
    pub mperf: u64,
    /// IA32_APERF.
    pub aperf: u64,
    /// The virtual TSC.
    pub tsc: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// Was the vCPU in C0?
    pub in_c0: bool,
    /// Host TSC when it was saved.
    pub stamp: u64,
}

/// The registers of one vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Virtual {
    scaling: Scaling,
    mperf: u64,
    aperf: u64,
    tsc_adjust: u64,
    in_c0: bool,
    loaded: bool,
    /// What was counted up to.
    at: Moment,
}

impl Virtual {
    /// A vCPU at power-on: in C0, not loaded.
    ///
    /// # Errors
    /// The host's TSC is not fit (D9).
    pub fn new(host: Host, scaling: Scaling, now: Moment) -> Result<Virtual, Refused> {
        if !host.is_fit() {
            return Err(Refused);
        }
        Ok(Virtual { scaling, mperf: 0, aperf: 0, tsc_adjust: 0, in_c0: true, loaded: false, at: now })
    }

    /// Counts up to `now`. When a register overflows, both start again from zero.
    fn settle(&mut self, now: Moment) {
        let ticks = self.scaling.tsc(now.tsc).wrapping_sub(self.scaling.tsc(self.at.tsc));
        let (mut mperf, mut aperf) = ((self.mperf, false), (self.aperf, false));
        if self.in_c0 {
            mperf = self.mperf.overflowing_add(ticks);
            if self.loaded {
                aperf = self.aperf.overflowing_add(now.aperf.wrapping_sub(self.at.aperf));
            }
        }
        (self.mperf, self.aperf) = if mperf.1 || aperf.1 { (0, 0) } else { (mperf.0, aperf.0) };
        self.at = now;
    }

    /// Its context is loaded: from now on the physical APERF at `now` is its own, maybe that of another processor. A
    /// context that is loaded already just goes on.
    pub fn load(&mut self, now: Moment) {
        if self.loaded {
            return self.settle(now);
        }
        // What the physical APERF did meanwhile, on whichever processor, was not the vCPU's.
        self.settle(Moment { aperf: self.at.aperf, ..now });
        self.at = now;
        self.loaded = true;
    }

    /// Its context is put away.
    pub fn put(&mut self, now: Moment) {
        self.settle(now);
        self.loaded = false;
    }

    /// It leaves C0: HLT or MWAIT.
    pub fn halt(&mut self, now: Moment) {
        self.settle(now);
        self.in_c0 = false;
    }

    /// It comes back to C0.
    pub fn wake(&mut self, now: Moment) {
        self.settle(now);
        self.in_c0 = true;
    }

    /// RDMSR of IA32_MPERF.
    pub fn mperf(&mut self, now: Moment) -> u64 {
        self.settle(now);
        self.mperf
    }

    /// RDMSR of IA32_APERF.
    pub fn aperf(&mut self, now: Moment) -> u64 {
        self.settle(now);
        self.aperf
    }

    /// WRMSR of IA32_MPERF.
    pub fn set_mperf(&mut self, v: u64, now: Moment) {
        self.settle(now);
        self.mperf = v;
    }

    /// WRMSR of IA32_APERF.
    pub fn set_aperf(&mut self, v: u64, now: Moment) {
        self.settle(now);
        self.aperf = v;
    }

    /// RDTSC.
    pub fn tsc(&self, now: Moment) -> u64 {
        self.scaling.tsc(now.tsc).wrapping_add(self.scaling.offset).wrapping_add(self.tsc_adjust)
    }

    /// WRMSR of the TSC: TSC_ADJUST moves by as much, MPERF not at all.
    pub fn set_tsc(&mut self, v: u64, now: Moment) {
        self.tsc_adjust = self.tsc_adjust.wrapping_add(v.wrapping_sub(self.tsc(now)));
    }

    /// What a snapshot or a migration takes along.
    pub fn save(&mut self, now: Moment) -> Saved {
        self.settle(now);
        Saved {
            version: 1,
            mperf: self.mperf,
            aperf: self.aperf,
            tsc: self.tsc(now),
            tsc_adjust: self.tsc_adjust,
            in_c0: self.in_c0,
            stamp: now.tsc,
        }
    }

    /// The vCPU again, on a host where it is `now`, not loaded: the time in between counts for neither register. What the
    /// TSC does is up to `scaling`.
    ///
    /// # Errors
    /// Another version, or a host whose TSC is not fit.
    pub fn resume(saved: &Saved, host: Host, scaling: Scaling, now: Moment) -> Result<Virtual, Refused> {
        if saved.version != 1 {
            return Err(Refused);
        }
        let fresh = Virtual::new(host, scaling, now)?;
        let Saved { mperf, aperf, tsc_adjust, in_c0, .. } = *saved;
        Ok(Virtual { mperf, aperf, tsc_adjust, in_c0, ..fresh })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIT: Host = Host { constant_tsc: true, nonstop_tsc: true };
    /// Of a host at 2200 MHz a guest at 1100 MHz.
    const HALF: Scaling = Scaling { multiplier: 1 << 47, offset: 77 };

    /// A core at 3300 MHz with a TSC of 2200 MHz, never idle itself, after `ticks`.
    fn turbo(ticks: u64) -> Moment {
        Moment { tsc: ticks, mperf: ticks, aperf: ticks / 2 * 3 }
    }

    fn vcpu(scaling: Scaling) -> Virtual {
        Virtual::new(FIT, scaling, turbo(0)).unwrap()
    }

    #[test]
    fn d1_d4_always_in_c0_and_loaded_the_ratio_is_the_core_s() {
        let mut v = vcpu(Scaling::NONE);
        v.load(turbo(1000));
        v.set_mperf(0, turbo(1000));
        assert_eq!((v.mperf(turbo(3000)), v.aperf(turbo(3000))), (2000, 3000));
        assert_eq!(v.tsc(turbo(3000)), 3000);
    }

    #[test]
    fn d2_aperf_stands_still_while_it_is_not_loaded_and_mperf_goes_on() {
        let mut v = vcpu(Scaling::NONE);
        v.load(turbo(0));
        v.put(turbo(200));
        assert_eq!((v.mperf(turbo(1200)), v.aperf(turbo(1200))), (1200, 300));
        // Loaded on another core, whose APERF stands elsewhere.
        v.load(Moment { aperf: 5, ..turbo(1200) });
        assert_eq!(v.aperf(Moment { aperf: 25, ..turbo(1300) }), 320);
    }

    #[test]
    fn d3_while_halted_neither_advances_loaded_or_not() {
        for loaded in [false, true] {
            let mut v = vcpu(Scaling::NONE);
            v.load(turbo(0));
            v.halt(turbo(100));
            if !loaded {
                v.put(turbo(150));
            }
            v.wake(turbo(9000));
            assert_eq!((v.mperf(turbo(9000)), v.aperf(turbo(9000))), (100, 150));
        }
    }

    #[test]
    fn d7_passing_through_is_refused_under_scaling_which_the_virtual_register_follows() {
        assert_eq!(Passthrough::new(FIT, HALF), Err(Refused));
        let p = Passthrough::new(FIT, Scaling { offset: 5, ..Scaling::NONE }).unwrap();
        assert_eq!((p.mperf(turbo(100)), p.aperf(turbo(100))), (100, 150));
        let mut v = vcpu(HALF);
        assert_eq!((v.mperf(turbo(2000)), v.tsc(turbo(2000))), (1000, 1077));
    }

    #[test]
    fn d8_a_saved_vcpu_goes_on_from_its_own_values_and_no_pause_is_credited() {
        let mut v = vcpu(HALF);
        v.load(turbo(0));
        v.set_tsc(1 << 40, turbo(100));
        let saved = v.save(turbo(1000));
        let adjust = (1u64 << 40) - 50 - 77;
        let want = Saved {
            version: 1,
            mperf: 500,
            aperf: 1500,
            tsc: (1 << 40) + 450,
            tsc_adjust: adjust,
            in_c0: true,
            stamp: 1000,
        };
        assert_eq!(saved, want);
        let mut there = Virtual::resume(&saved, FIT, Scaling::NONE, turbo(50_000)).unwrap();
        assert_eq!((there.mperf(turbo(50_000)), there.aperf(turbo(50_000))), (500, 1500));
        there.load(turbo(50_010));
        assert_eq!((there.mperf(turbo(50_030)), there.aperf(turbo(50_030))), (530, 1530));
        assert_eq!(Virtual::resume(&Saved { version: 2, ..saved }, FIT, HALF, turbo(0)), Err(Refused));
    }

    #[test]
    fn d9_an_unfit_tsc_exposes_nothing() {
        for host in [Host { constant_tsc: false, ..FIT }, Host { nonstop_tsc: false, ..FIT }] {
            assert_eq!(Virtual::new(host, Scaling::NONE, turbo(0)), Err(Refused));
            assert_eq!(Passthrough::new(host, Scaling::NONE), Err(Refused));
        }
    }

    #[test]
    fn when_one_overflows_both_start_from_zero() {
        let mut v = vcpu(Scaling::NONE);
        v.load(turbo(0));
        v.set_aperf(u64::MAX, turbo(10));
        assert_eq!((v.aperf(turbo(10)), v.mperf(turbo(10))), (u64::MAX, 10));
        assert_eq!((v.aperf(turbo(12)), v.mperf(turbo(12))), (0, 0));
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Load,
        Put,
        Halt,
        Wake,
        WriteMperf(u64),
        WriteAperf(u64),
        WriteTsc(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
        let small = 0u64..1 << 60;
        let act = prop_oneof![
            4 => Just(Act::Load), 4 => Just(Act::Put), 3 => Just(Act::Halt), 3 => Just(Act::Wake),
            1 => small.clone().prop_map(Act::WriteMperf), 1 => small.clone().prop_map(Act::WriteAperf),
            1 => small.prop_map(Act::WriteTsc),
        ];
        prop::collection::vec((0u64..1 << 30, act), 1..60)
    }

    proptest! {
        /// D1 to D3, D5, D10: against sums over the intervals, each interval judged on its own.
        #[test]
        fn registers_are_the_sums_of_the_intervals_that_count(acts in acts()) {
            let mut v = vcpu(Scaling::NONE);
            let (mut loaded, mut in_c0, mut ticks) = (false, true, 0u64);
            let (mut mperf, mut aperf) = (0u64, 0u64);
            for (wait, act) in acts {
                let wait = wait & !1;
                ticks += wait;
                mperf += if in_c0 { wait } else { 0 };
                aperf += if in_c0 && loaded { wait / 2 * 3 } else { 0 };
                let now = turbo(ticks);
                match act {
                    Act::Load => { v.load(now); loaded = true }
                    Act::Put => { v.put(now); loaded = false }
                    Act::Halt => { v.halt(now); in_c0 = false }
                    Act::Wake => { v.wake(now); in_c0 = true }
                    Act::WriteMperf(to) => { v.set_mperf(to, now); mperf = to }
                    Act::WriteAperf(to) => { v.set_aperf(to, now); aperf = to }
                    Act::WriteTsc(to) => { v.set_tsc(to, now); prop_assert_eq!(v.tsc(now), to) }
                }
                prop_assert_eq!((v.mperf(now), v.aperf(now)), (mperf, aperf));
            }
        }

        /// D5: with a share of the time stolen, the ratio falls by that share.
        #[test]
        fn stolen_time_lowers_the_ratio(run in 1u64..1000, stolen in 0u64..1000) {
            let mut v = vcpu(Scaling::NONE);
            let mut at = 0;
            for _ in 0..20 {
                v.load(turbo(at));
                at += 2 * run;
                v.put(turbo(at));
                at += 2 * stolen;
            }
            let (mperf, aperf) = (v.mperf(turbo(at)), v.aperf(turbo(at)));
            prop_assert_eq!(u128::from(aperf) * 2 * u128::from(run + stolen), u128::from(mperf) * 3 * u128::from(run));
        }
    }
}
