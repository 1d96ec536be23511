//! The whole PMU of one logical processor: the unit's registers, PEBS, LBRs, and the model of the core that feeds them.
//!
//! It is what a board puts behind a processor's doors. The core model observes only while something takes it: a counter of
//! an event that is not an exact total, the topdown metrics, PEBS, LBRs, or a user who asked for it
//! ([`Pmu::observe_always`]); its structures start empty then and keep what they hold in between.

use crate::lbr::{self, Lbr};
use crate::pebs::record::{Facility, Memory, Sample, Source};
use crate::pebs::{self, Pebs};
use crate::signal::{Signal, Signals};
use crate::uarch::{self, Core, Level, MemoryInfo, Parameters};
use crate::unit::Unit;
use crate::{Now, Profile, View};
use cpu_x86::monitor::{Code, DataAccess, Happening, Packed, Touched, Translate};
use cpu_x86::{Counts, Monitor, PmuDoors, Refused, Ring, Sampled};

/// The PMU of one logical processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pmu {
    unit: Unit,
    lbr: Lbr,
    pebs: Pebs,
    core: Box<Core>,
    /// The signals at the boundary where the unit was told last, unless they are late.
    signals: Signals,
    /// Nothing that is programmed takes them: they are brought up when they are asked for.
    late: bool,
    /// The core observes whatever is programmed.
    always: bool,
    /// The core observes.
    observing: bool,
    /// Something was programmed or frozen since it was asked whether it must.
    changed: bool,
    /// Cycles at the branch taken last, for LBRs.
    branch_cycle: u64,
}

impl Default for Pmu {
    fn default() -> Pmu {
        Pmu::new(Profile::default(), &Parameters::SPR)
    }
}

/// Vector of #DB.
const DEBUG_EXCEPTION: u8 = 1;
/// The state component of XSAVES that holds LBRs.
const LBR_COMPONENT: u32 = 15;
/// MEM_TRANS_RETIRED.STORE_SAMPLE, as in EVENTSEL bits 15:0.
const STORE_SAMPLE: u16 = 0x02cd;
/// The precise events of stores: MEM_INST_RETIRED.ALL_STORES, SPLIT_STORES, STLB_MISS_STORES.
const STORES: [u16; 3] = [0x82d0, 0x42d0, 0x12d0];

/// An access as PEBS records it.
fn memory(info: &MemoryInfo, facility: Facility) -> Memory {
    let source = match info.level {
        Level::L1 => Source::L1,
        Level::L2 => Source::L2,
        Level::L3 => Source::L3,
        Level::Memory => Source::LocalMemory,
    };
    Memory {
        linear: info.linear,
        source,
        facility,
        stlb_miss: info.stlb_miss,
        locked: info.locked,
        cache_cycles: info.latency.into(),
        instruction_cycles: info.latency.into(),
        ..Memory::default()
    }
}

/// Does the unit's profile have these bits of IA32_PERF_CAPABILITIES?
fn has(unit: &Unit, capabilities: u64) -> bool {
    unit.profile().capabilities & capabilities == capabilities
}

impl Pmu {
    /// A PMU at power-on, with a core of `parameters` that knows nothing yet.
    pub fn new(profile: Profile, parameters: &Parameters) -> Pmu {
        Pmu {
            unit: Unit::new(profile),
            lbr: Lbr::default(),
            pebs: Pebs::default(),
            core: Box::new(Core::new(parameters)),
            signals: Signals::default(),
            late: false,
            always: false,
            observing: false,
            changed: true,
            branch_cycle: 0,
        }
    }

    /// Lets the core observe all that runs, or only while something that is programmed takes it.
    pub fn observe_always(&mut self, on: bool) {
        (self.always, self.changed) = (on, true);
    }

    /// The registers go back to power-on; the core keeps what it has learned and counted, as a processor's caches do.
    pub fn reset(&mut self) {
        self.unit = Unit::new(*self.unit.profile());
        (self.lbr, self.pebs, self.changed) = (self.lbr.at_power_on(), Pebs::default(), true);
        self.branches_from_now_on();
    }

    /// INIT: the last branch records stay and are disabled, freezing is off, all else goes on.
    pub fn init(&mut self, counts: &Counts) {
        self.look(false);
        self.unit.init(Now { counts, signals: Some(&self.signals) });
        self.lbr.disable();
        self.changed = true;
        self.branches_from_now_on();
    }

    /// The unit's registers, for listings.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// All signals up to the boundary where the processor stands.
    pub fn signals(&mut self) -> Signals {
        let mut signals = self.core.signals_at(false);
        self.tell_inserts(&mut signals);
        signals
    }

    /// What the LBRs count themselves.
    fn tell_inserts(&self, signals: &mut Signals) {
        for ring in [Ring::Kernel, Ring::User] {
            signals.of_mut(ring)[Signal::LbrInserts] = self.lbr.inserts(ring);
        }
    }

    /// The signals at the boundary where the unit was told last: after [`Pmu::settle`] and before anything more is told,
    /// those of that boundary.
    pub fn told(&mut self) -> &Signals {
        if self.late {
            self.look(false);
        }
        &self.signals
    }

    /// The signals at the boundary before the instruction that asks something outside.
    pub fn told_before(&mut self) -> &Signals {
        self.look(true);
        &self.signals
    }

    /// The counters, general ones first. Of what is observed, as the unit was told last.
    pub fn views(&self, counts: &Counts) -> Vec<View> {
        self.unit.views(Now { counts, signals: Some(&self.signals) })
    }

    fn takes_core(&self) -> bool {
        self.always || self.takes_signals() || self.lbr.is_enabled()
    }

    /// Does anything that is programmed count signals?
    fn takes_signals(&self) -> bool {
        self.unit.wants_structures() || self.pebs.enabled_counters() != 0
    }

    /// Brings the signals up to the boundary, or up to that before the instruction that asks.
    fn look(&mut self, before_last: bool) {
        self.late = false;
        if self.observing {
            let mut signals = self.core.signals_at(before_last);
            self.tell_inserts(&mut signals);
            self.signals = signals;
        }
    }

    /// RDMSR; `None`: not a register of the PMU.
    pub fn msr_read(&mut self, number: u32, counts: &Counts) -> Option<Result<u64, Refused>> {
        if has(&self.unit, lbr::CAPABILITIES)
            && let Some(v) = self.lbr.msr_read(number)
        {
            return Some(Ok(v));
        }
        if has(&self.unit, pebs::CAPABILITIES)
            && let Some(v) = self.pebs.msr_read(number)
        {
            return Some(Ok(v));
        }
        self.look(true);
        self.unit.msr_read(number, Now { counts, signals: Some(&self.signals) })
    }

    /// WRMSR, by an instruction in ring 0 that retires unless this refuses; `None`: not a register of the PMU.
    pub fn msr_write(&mut self, number: u32, v: u64, counts: &Counts) -> Option<Result<(), Refused>> {
        self.changed = true;
        if has(&self.unit, lbr::CAPABILITIES)
            && let Some(done) = self.lbr.msr_write(number, v)
        {
            self.branches_from_now_on();
            return Some(done);
        }
        self.look(true);
        let now = Now { counts, signals: Some(&self.signals) };
        if has(&self.unit, pebs::CAPABILITIES)
            && let Some(done) = self.pebs.msr_write(number, v)
        {
            if done.is_ok() {
                self.unit.sample(self.pebs.enabled_counters(), now);
                // Every access is told while a sample may ask for its address.
                self.core.observe_all(self.pebs.enabled_counters() != 0);
            }
            return Some(done);
        }
        self.unit.msr_write(number, v, now)
    }

    /// The core keeps branches while LBRs record.
    fn branches_from_now_on(&mut self) {
        self.core.record_branches(self.lbr.is_enabled());
    }

    /// RDPMC; the privilege was checked.
    ///
    /// # Errors
    /// No such counter.
    pub fn rdpmc(&mut self, ecx: u32, counts: &Counts) -> Result<u64, Refused> {
        self.look(true);
        self.unit.rdpmc(ecx, Now { counts, signals: Some(&self.signals) })
    }

    /// CPUID leaves of the PMU: 0Ah, and 1Ch with LBRs.
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        if leaf == 0x1c && has(&self.unit, lbr::CAPABILITIES) {
            return Some(lbr::CPUID_1C);
        }
        self.unit.cpuid(leaf, subleaf)
    }

    /// How many instructions may retire in `ring` before [`Pmu::settle`] must be asked; `u64::MAX`: any number.
    pub fn deadline(&mut self, counts: &Counts, ring: Ring) -> u64 {
        self.unit.deadline(Now { counts, signals: Some(&self.signals) }, ring)
    }

    /// The processor stands between two instructions with `counts` retired: is a PMI requested? Records of PEBS that are
    /// due are written.
    pub fn settle(&mut self, counts: &Counts, processor: &mut dyn Sampled) -> bool {
        self.changed = true;
        self.late = !self.takes_signals();
        if !self.late {
            self.look(false);
        }
        let mut requests = self.unit.settle(Now { counts, signals: Some(&self.signals) });
        if self.pebs.enabled_counters() != 0 {
            self.sample(counts, processor);
            requests |= self.unit.settle(Now { counts, signals: Some(&self.signals) });
        }
        self.lbr.freeze(self.unit.lbrs_are_frozen());
        requests
    }

    fn sample(&mut self, counts: &Counts, processor: &mut dyn Sampled) {
        let now = Now { counts, signals: Some(&self.signals) };
        let sampled = self.unit.take_sampled(now);
        let due = self.pebs.qualifying(sampled.counted) | self.pebs.overflowed(sampled.overflowed, sampled.precise);
        if due != 0 {
            let sample = self.sample_of(due, processor.tsc());
            let written = self.pebs.write(due, self.unit.adaptive(), &sample, &self.lbr, processor);
            for (bit, value) in written.reloads() {
                self.unit.reload(bit, value, now);
            }
            if written.threshold {
                self.unit.buffer_is_full(now);
            }
        }
        self.unit.await_event(self.pebs.armed());
    }

    /// What the core knows of the instruction that retired last, for the counters `due`.
    fn sample_of(&self, due: u64, tsc: u64) -> Sample {
        let code = self.unit.event_code(due.trailing_zeros());
        let (load, store) = (self.core.last_load(), self.core.last_store());
        let memory = match (self.core.accessed_last(), code) {
            ((_, true), STORE_SAMPLE) => Some(memory(&store, Facility::Source)),
            ((_, true), _) if STORES.contains(&code) => Some(memory(&store, Facility::PreciseStore)),
            ((true, _), _) => Some(memory(&load, Facility::Source)),
            ((_, true), _) => Some(memory(&store, Facility::Source)),
            _ => None,
        };
        Sample { ip: self.core.last_ip(), tsc, memory }
    }

    /// Is state component `n` of XSAVES, if it is the PMU's, out of its initial configuration?
    pub fn component_in_use(&self, n: u32) -> bool {
        n == LBR_COMPONENT && self.lbr.in_use()
    }

    /// XSAVES of component `n` into `to`, which has its size.
    pub fn component_save(&self, n: u32, to: &mut [u8]) {
        let image = self.lbr.image();
        if n == LBR_COMPONENT && to.len() == image.len() {
            to.copy_from_slice(&image);
        }
    }

    /// XRSTORS of component `n`, or of its initial configuration.
    ///
    /// # Errors
    /// The image is not legal, or the component is not the PMU's.
    pub fn component_restore(&mut self, n: u32, from: Option<&[u8]>) -> Result<(), Refused> {
        let image = from.map(<&[u8; lbr::IMAGE_BYTES]>::try_from).transpose().map_err(|_| Refused)?;
        if n != LBR_COMPONENT {
            return Err(Refused);
        }
        self.changed = true;
        self.lbr.restore(image)?;
        self.branches_from_now_on();
        Ok(())
    }

    /// Who is to be told what runs; `None` while nothing takes it.
    pub fn monitor(&mut self) -> Option<&mut dyn Monitor> {
        if !self.changed {
            return self.observing.then_some(self as &mut dyn Monitor);
        }
        self.changed = false;
        let takes = self.takes_core();
        if self.observing && !takes {
            self.core.stop();
            self.look(false);
        }
        self.observing = takes;
        takes.then_some(self as &mut dyn Monitor)
    }

    /// LBRs take the branches that the core has seen.
    #[inline]
    fn record_branches(&mut self) {
        if self.core.records_branches() {
            self.record_branches_and(None);
        }
    }

    /// As [`Pmu::record_branches`]; the last one may be the delivery that goes from and to the addresses given, with its
    /// vector. A #DB is not recorded and disables LBRs.
    fn record_branches_and(&mut self, delivery: Option<(u64, u64, u8)>) {
        while let Some(b) = self.core.next_branch() {
            self.branch_cycle = self.branch_cycle.wrapping_add(b.cycles);
            let mut branch = recorded(&b, self.branch_cycle);
            if let Some((from, to, vector)) = delivery
                && branch.kind == lbr::BranchKind::Far
                && (branch.from, branch.to) == (from, to)
            {
                branch.kind = lbr::BranchKind::Event;
                if vector == DEBUG_EXCEPTION {
                    self.lbr.disable();
                    self.changed = true;
                }
            }
            self.lbr.record(&branch);
        }
    }
}

/// A branch as LBRs record it.
fn recorded(b: &uarch::Branch, cycle: u64) -> lbr::Branch {
    use uarch::BranchKind as Seen;
    let kind = match b.kind {
        Seen::Conditional => lbr::BranchKind::Conditional,
        Seen::IndirectJump => lbr::BranchKind::NearIndirectJump,
        Seen::Jump => lbr::BranchKind::NearRelativeJump,
        Seen::IndirectCall => lbr::BranchKind::NearIndirectCall,
        Seen::Call => lbr::BranchKind::NearRelativeCall,
        Seen::Return => lbr::BranchKind::NearReturn,
        Seen::Other => lbr::BranchKind::Far,
    };
    lbr::Branch {
        from: b.from,
        to: b.to,
        // Only a relative call can go to what follows it, and without prefixes it has five bytes.
        next: b.from.wrapping_add(5),
        kind,
        mispredicted: b.mispredicted,
        cycle,
        from_ring: b.before,
        to_ring: b.after,
    }
}

impl PmuDoors for Pmu {
    fn msr_read(&mut self, msr: u32, now: &Counts) -> Option<Result<u64, Refused>> {
        self.msr_read(msr, now)
    }
    fn msr_write(&mut self, msr: u32, value: u64, now: &Counts) -> Option<Result<(), Refused>> {
        self.msr_write(msr, value, now)
    }
    fn rdpmc(&mut self, ecx: u32, now: &Counts) -> Result<u64, Refused> {
        self.rdpmc(ecx, now)
    }
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        Pmu::cpuid(self, leaf, subleaf)
    }
    fn component_in_use(&mut self, n: u32) -> bool {
        Pmu::component_in_use(self, n)
    }
    fn component_save(&mut self, n: u32, to: &mut [u8]) {
        Pmu::component_save(self, n, to);
    }
    fn component_restore(&mut self, n: u32, from: Option<&[u8]>) -> Result<(), Refused> {
        self.component_restore(n, from)
    }
    fn init(&mut self, now: &Counts) {
        self.init(now);
    }
    fn deadline(&mut self, now: &Counts, ring: Ring) -> u64 {
        self.deadline(now, ring)
    }
    fn settle(&mut self, now: &Counts, processor: &mut dyn Sampled) -> bool {
        self.settle(now, processor)
    }
    fn monitor(&mut self) -> Option<&mut dyn Monitor> {
        self.monitor()
    }
}

impl Monitor for Pmu {
    fn describe(&mut self, code: &Code) -> u32 {
        self.core.describe(code)
    }
    fn forget(&mut self) {
        self.core.forget();
    }
    fn enter(&mut self, block: u32, at: u64, ring: Ring, translate: &mut dyn Translate) {
        self.core.enter(block, at, ring, translate);
        self.record_branches();
    }
    fn pass(&mut self, steps: &[Packed]) {
        if !self.core.records_branches() {
            return self.core.pass(steps);
        }
        for step in steps {
            self.core.pass(std::slice::from_ref(step));
            self.record_branches();
        }
    }
    fn single(&mut self, code: &Code, at: u64, ring: Ring, translate: &mut dyn Translate) {
        self.core.single(code, at, ring, translate);
        self.record_branches();
    }
    fn cut(&mut self, ran: u32) {
        self.core.cut(ran);
    }
    fn settle(&mut self, to: u64) {
        self.core.settle(to);
        self.record_branches();
    }
    fn access(&mut self, access: &DataAccess, translate: &mut dyn Translate) -> Touched {
        self.core.access(access, translate)
    }
    fn happened(&mut self, what: Happening) {
        self.core.happened(what);
        let Happening::Delivery { from, to, vector, .. } = what else { return self.record_branches() };
        let recorded = self.lbr.is_enabled();
        self.record_branches_and(Some((from, to, vector)));
        if recorded && !self.lbr.is_enabled() {
            self.branches_from_now_on();
        }
    }
}
