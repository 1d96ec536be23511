//! One stream of instructions, told in every way there is: by block, one by one, cut anywhere, with accesses left out or
//! not. All totals and the whole state come out the same.

use super::super::facts::Fact;
use super::super::{Core, Geometry, Parameters};
use super::{Filter, Random, Tables, code, decode, touch};
use cpu_x86::monitor::{DataAccess, Happening, Packed};
use cpu_x86::{Monitor, Ring};
use emu_core::Gpa;
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory};

/// Straight-line instructions of every kind the facts tell apart.
#[rustfmt::skip] // a table
const STRAIGHT: [&[u8]; 40] = [
    &[0x48, 0x8b, 0x43, 0x10],             // mov rax, [rbx+16]
    &[0x48, 0x8b, 0x03],                   // mov rax, [rbx]
    &[0x48, 0x89, 0x43, 0x10],             // mov [rbx+16], rax
    &[0x48, 0x01, 0x43, 0x10],             // add [rbx+16], rax
    &[0xf0, 0x48, 0x01, 0x03],             // lock add [rbx], rax
    &[0x48, 0x87, 0x03],                   // xchg [rbx], rax
    &[0x48, 0x03, 0x03],                   // add rax, [rbx]
    &[0x50], &[0x58],                      // push rax; pop rax
    &[0xff, 0x33],                         // push qword [rbx]
    &[0x48, 0x83, 0xec, 0x08],             // sub rsp, 8
    &[0x48, 0x8b, 0x44, 0x24, 0x08],       // mov rax, [rsp+8]
    &[0x48, 0x39, 0xc8], &[0x85, 0xc0],    // cmp rax, rcx; test eax, eax
    &[0xff, 0xc8], &[0x48, 0x01, 0xc8],    // dec eax; add rax, rcx
    &[0x90], &[0x0f, 0x1f, 0x44, 0, 0],    // nop; nop dword [rax+rax]
    &[0xf3, 0x0f, 0x1e, 0xfa],             // endbr64
    &[0x48, 0xf7, 0xf1], &[0xf7, 0xf1],    // div rcx; div ecx
    &[0x0f, 0xae, 0xe8],                   // lfence
    &[0x0f, 0xa2],                         // cpuid
    &[0xf3, 0x90],                         // pause
    &[0xd8, 0xc1], &[0xd8, 0xf1],          // fadd st, st(1); fdiv st, st(1)
    &[0xdd, 0x03],                         // fld qword [rbx]
    &[0xf2, 0x0f, 0x58, 0xc1],             // addsd
    &[0x0f, 0x58, 0x03],                   // addps xmm0, [rbx]
    &[0xc4, 0xe2, 0xf5, 0x98, 0xc2],       // vfmadd132pd ymm
    &[0x66, 0x0f, 0xfe, 0xc1],             // paddd
    &[0xc5, 0xf5, 0xfe, 0xc2],             // vpaddd ymm
    &[0xf2, 0x0f, 0x5e, 0xc1],             // divsd
    &[0x0f, 0x18, 0x0b],                   // prefetcht0 [rbx]
    &[0x48, 0x0f, 0xc3, 0x03],             // movnti [rbx], rax
    &[0xa4],                               // movsb
    &[0x48, 0x8d, 0x43, 0x08],             // lea rax, [rbx+8]
    &[0x31, 0xc0],                         // xor eax, eax
    &[0x0f, 0xae, 0x3b],                   // clflush [rbx]
    &[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8], // mov rax, imm64
];

/// Instructions that would leave no slot to claim for anything else: lfence, cpuid, pause, div, clflush.
const SLOW: [&[u8]; 6] =
    [&[0x0f, 0xae, 0xe8], &[0x0f, 0xa2], &[0xf3, 0x90], &[0x48, 0xf7, 0xf1], &[0xf7, 0xf1], &[0x0f, 0xae, 0x3b]];

/// What ends a block.
#[rustfmt::skip] // a table
const BRANCHES: [&[u8]; 12] = [
    &[0x74, 0x10], &[0x72, 0x10], &[0x78, 0x10], &[0x7f, 0x10], // je, jb, js, jg
    &[0x75, 0x10],                                              // jne
    &[0xeb, 0x10], &[0xe8, 0, 0, 0, 0],                         // jmp, call
    &[0xff, 0xe0], &[0xff, 0xd0], &[0xc3],                      // jmp rax, call rax, ret
    &[0x0f, 0x05],                                              // syscall
    &[0xe2, 0x10],                                              // loop
];

/// A block of the program.
pub(super) struct Piece {
    at: u64,
    instructions: Vec<Instruction>,
    /// Linear addresses, and one more for the end.
    places: Vec<u64>,
    /// Where its branch goes.
    targets: [usize; 3],
}

/// An instruction that ran, or faulted.
pub(super) struct Step {
    piece: usize,
    n: usize,
    ring: Ring,
    accesses: Vec<DataAccess>,
    faults: bool,
    /// It meets denormals.
    denormal: bool,
    /// What happens after it.
    then: Option<Happening>,
    /// Where control went.
    to: u64,
}

pub(super) fn program(r: &mut Random, pieces: usize) -> Vec<Piece> {
    let mut at = 0x40_0000u64;
    let mut all = Vec::new();
    for _ in 0..pieces {
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..r.below(12) {
            let next = STRAIGHT[r.below(40) as usize];
            if SLOW.contains(&next) && !r.one_in(20) {
                continue;
            }
            if (at + bytes.len() as u64 + next.len() as u64 + 16) >> 12 == at >> 12 || r.one_in(2) {
                bytes.extend(next);
            }
            if (at + bytes.len() as u64) >> 12 != at >> 12 {
                break;
            }
        }
        bytes.extend(BRANCHES[r.below(12) as usize]);
        // Only the last instruction of a block may run into the next page.
        let mut instructions = decode(&bytes, at);
        while instructions.len() > 1 && (at + bytes.len() as u64 - 1) >> 12 != at >> 12 {
            let last = instructions.pop().unwrap();
            bytes.truncate(bytes.len() - last.len());
        }
        let mut places = vec![at];
        instructions.iter().for_each(|i| places.push(places[places.len() - 1] + i.len() as u64));
        let targets = [0; 3].map(|_| r.below(pieces as u64) as usize);
        let end = places[places.len() - 1];
        all.push(Piece { at, instructions, places, targets });
        at = end + if r.one_in(5) { r.below(6000) } else { 0 };
    }
    all
}

fn address(r: &mut Random, recent: &mut Vec<u64>) -> u64 {
    if !recent.is_empty() && !r.one_in(3) {
        let at = recent[recent.len() - 1 - r.below(recent.len().min(12) as u64) as usize];
        return at + r.below(8);
    }
    let at = match r.below(4) {
        0 => 0x1000_0000 + (r.below(1200) << 12) + (r.below(40) << 6),
        1 => 0x1000_0000 + (r.below(20) << 12) + r.below(4090),
        2 => (1 << 40) + r.below(64 << 20) / 8 * 8,
        _ => 0x4000_0000 + (r.below(60) << 12) + (r.below(8) << 6),
    };
    recent.push(at);
    at
}

fn accesses(r: &mut Random, fact: &Fact, recent: &mut Vec<u64>) -> Vec<DataAccess> {
    let mut all = Vec::new();
    let mut one = |r: &mut Random, write: bool| {
        let (at, bytes) = (address(r, recent), 8u64);
        let here = bytes.min(4096 - (at & 0xfff));
        all.push(touch(at, here as u32, write, 0));
        if here < bytes {
            all.push(touch(at + here, (bytes - here) as u32, write, 0));
        }
    };
    if fact.memory.modifies {
        one(r, true);
    } else {
        (0..fact.loads).for_each(|_| one(r, false));
        (0..fact.stores).for_each(|_| one(r, true));
    }
    all
}

fn happening(r: &mut Random, recent: &[u64]) -> Happening {
    match r.below(6) {
        0 => Happening::AddressSpace { pcid: r.below(3) as u16, keep: r.one_in(2) },
        1 => Happening::FlushTlb { global: r.one_in(2) },
        2 => Happening::FlushPage(recent.last().copied().unwrap_or(0)),
        3 => Happening::FlushLine(Gpa(super::physical(recent.last().copied().unwrap_or(0)))),
        4 => Happening::FlushSpace(r.below(3) as u16),
        _ => Happening::FlushPredictor,
    }
}

/// Where piece `at` goes when its branch is taken.
fn target(r: &mut Random, pieces: &[Piece], at: usize) -> usize {
    match r.below(8) {
        0 => r.below(pieces.len() as u64) as usize,
        1..4 => pieces[at].targets[r.below(3) as usize],
        4 => (at + 1) % pieces.len(),
        _ => pieces[at].targets[0],
    }
}

pub(super) fn trace(r: &mut Random, pieces: &[Piece], length: usize) -> Vec<Step> {
    let mut info = InstructionInfoFactory::new();
    let (mut steps, mut recent, mut at, mut ring) = (Vec::new(), Vec::new(), 0, Ring::User);
    while steps.len() < length {
        let piece = &pieces[at];
        let last = piece.instructions.len() - 1;
        let conditional = piece.instructions[last].is_jcc_short_or_near() || piece.instructions[last].is_loop();
        let beside = pieces.get(at + 1).is_some_and(|p| p.at == piece.places[last + 1]);
        let falls = conditional && beside && r.one_in(2);
        let next = if falls { at + 1 } else { target(r, pieces, at) };
        for n in 0..=last {
            let fact = Fact::of(&piece.instructions[n], 0, 0, &mut info);
            let accesses = accesses(r, &fact, &mut recent);
            let (faults, denormal) = (r.one_in(60), r.one_in(9));
            let after = if n == last { pieces[next].at } else { piece.places[n + 1] };
            let to = if faults { piece.places[n] } else { after };
            let then = (n == last && r.one_in(30)).then(|| happening(r, &recent));
            steps.push(Step { piece: at, n, ring, accesses, faults, denormal, then, to });
            if faults {
                break;
            }
        }
        if r.one_in(10) {
            ring = if ring == Ring::User { Ring::Kernel } else { Ring::User };
        }
        at = next;
    }
    steps
}

/// How the stream is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Blocks,
    /// By block, many at once where a page and a ring go on, and so with accesses where their translation is known.
    Passed,
    Alone,
    Singles,
    /// By block, cut at random places and taken up again.
    Cut(u64),
}

struct Teller<'a> {
    core: Core,
    filter: Filter,
    pieces: &'a [Piece],
    /// Numbers of the blocks that begin at each instruction of each piece, and have one instruction or all the rest.
    numbers: Vec<Vec<[Option<u32>; 2]>>,
    way: Way,
    r: Random,
    /// What was entered last: a piece, from which instruction on.
    entered: Option<(usize, usize)>,
    /// The page and the ring in which blocks may be passed, and those that were.
    told: Option<(u64, Ring)>,
    passed: Vec<Packed>,
    /// Pages entered at once, by their lowest bits: their blocks may be passed too.
    pages: [u64; 64],
    turned: u64,
    /// Accesses among them.
    waited: u64,
}

impl Teller<'_> {
    fn number(&mut self, piece: usize, n: usize, alone: bool) -> u32 {
        let known = self.numbers[piece][n][usize::from(alone)];
        known.unwrap_or_else(|| {
            let p = &self.pieces[piece];
            let end = if alone { n + 1 } else { p.instructions.len() };
            let number = self.core.describe(&code(&p.instructions[n..end], p.places[n]));
            self.numbers[piece][n][usize::from(alone)] = Some(number);
            number
        })
    }

    /// Tells that control reaches a step. Returns the instruction at which what it belongs to was entered.
    fn reach(&mut self, s: &Step) -> usize {
        let p = &self.pieces[s.piece];
        let at = p.places[s.n];
        let alone = matches!(self.way, Way::Singles | Way::Alone);
        if let Some((piece, first)) = self.entered
            && (piece == s.piece && first < s.n && !alone)
        {
            if matches!(self.way, Way::Blocks | Way::Passed) || !self.r.one_in(6) {
                return first;
            }
            self.interrupted().cut((s.n - first) as u32);
            self.core.settle(at);
        }
        self.entered = Some((s.piece, s.n));
        if self.way == Way::Singles {
            self.core.single(&code(&p.instructions[s.n..=s.n], at), at, s.ring, &mut Tables);
        } else {
            let number = self.number(s.piece, s.n, alone);
            let (page, crosses) = (at >> 12, self.crosses(s));
            let told = self.told.filter(|(_, ring)| self.way == Way::Passed && *ring == s.ring && !crosses);
            match told {
                Some((last, _)) if last == page => self.passed.push(Packed::block(number)),
                Some(_) if self.pages[page as usize & 63] == page => {
                    self.passed.extend([Packed::page(page), Packed::block(number)]);
                    self.turned += 1;
                }
                _ => {
                    self.flush().enter(number, at, s.ring, &mut Tables);
                    self.pages[page as usize & 63] = page;
                }
            }
            self.told = (!crosses).then_some((page, s.ring));
        }
        s.n
    }

    /// Does the block of `s` run into the next page?
    fn crosses(&self, s: &Step) -> bool {
        let places = &self.pieces[s.piece].places;
        places[s.n] >> 12 != (places[places.len() - 1] - 1) >> 12
    }

    /// The core, which knows by then of all that waited.
    fn flush(&mut self) -> &mut Core {
        self.core.pass(&std::mem::take(&mut self.passed));
        &mut self.core
    }

    /// Something happens that the core is told at once.
    fn interrupted(&mut self) -> &mut Core {
        self.told = None;
        self.flush()
    }

    /// Tells of a step; `first` is the instruction at which what it belongs to was entered.
    fn step(&mut self, s: &Step, first: usize) {
        for a in &s.accesses {
            let a = DataAccess { instruction: (s.n - first) as u32, ..*a };
            if self.filter.leaves_out(&a) {
                continue;
            }
            if self.way == Way::Passed
                && let Some(step) = self.filter.step(&a)
            {
                self.passed.push(step);
                self.waited += 1;
            } else {
                self.flush();
                self.filter.tell(&mut self.core, &a);
            }
        }
        if s.denormal && !s.faults {
            self.flush().happened(Happening::Denormal { instruction: (s.n - first) as u32 });
        }
        if s.faults {
            self.interrupted().cut((s.n - first) as u32);
            let (from, ring) = (s.to, Ring::Kernel);
            self.core.happened(Happening::Delivery { from, to: 0, vector: 14, external: false, ring });
        }
        if let Some(what) = s.then {
            self.interrupted();
            if !s.faults {
                self.core.settle(s.to);
            }
            if what.changes_memory() {
                self.filter.forget();
                self.pages.fill(u64::MAX);
            }
            self.core.happened(what);
        }
    }
}

/// What retired in a ring, counted by the test itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Retired {
    pub instructions: u64,
    pub branches: u64,
    pub conditional: u64,
}

impl Retired {
    fn add(&mut self, i: &Instruction) {
        let conditional = i.is_jcc_short_or_near() || i.is_loop();
        self.instructions += 1;
        self.branches += u64::from(i.flow_control() != FlowControl::Next);
        self.conditional += u64::from(conditional);
    }
}

fn tell(p: &Parameters, pieces: &[Piece], steps: &[Step], way: Way, filtered: bool) -> (Core, u64) {
    tell_with(p, pieces, steps, way, filtered, &mut |_, _| {})
}

/// Tells the stream; `read` is called now and then, with what retired in the kernel and in user mode.
pub(super) fn tell_with(
    p: &Parameters,
    pieces: &[Piece],
    steps: &[Step],
    way: Way,
    filtered: bool,
    read: &mut dyn FnMut(&mut Core, [Retired; 2]),
) -> (Core, u64) {
    let mut retired = [Retired::default(); 2];
    let numbers = pieces.iter().map(|p| vec![[None; 2]; p.instructions.len()]).collect();
    let r = Random(if let Way::Cut(seed) = way { seed } else { 0 });
    let (core, filter) = (Core::new(p), Filter::new(filtered));
    let mut t = Teller {
        core,
        filter,
        pieces,
        numbers,
        way,
        r,
        entered: None,
        told: None,
        passed: Vec::new(),
        pages: [u64::MAX; 64],
        turned: 0,
        waited: 0,
    };
    for s in steps {
        let first = t.reach(s);
        t.step(s, first);
        let over = s.faults || s.n + 1 == pieces[s.piece].instructions.len();
        if over {
            t.entered = None;
        }
        if !s.faults {
            retired[usize::from(s.ring == Ring::User)].add(&pieces[s.piece].instructions[s.n]);
        }
        let boundary = over || matches!(way, Way::Singles | Way::Alone);
        if way != Way::Blocks && boundary && t.r.one_in(20) {
            // Reading changes nothing.
            let before_last = t.r.one_in(2);
            t.flush().signals_at(before_last);
        }
        if boundary && s.n % 3 == 0 {
            // A branch is counted as going somewhere when it is told where.
            t.interrupted().settle(s.to);
            read(&mut t.core, retired);
        }
    }
    t.flush().settle(steps[steps.len() - 1].to);
    assert_eq!(t.turned > 200, way == Way::Passed, "{way:?}: {} pages were passed to", t.turned);
    let many = if p.dtlb_4k.ways == 1 { 10 } else { 200 };
    assert_eq!(t.waited > many, way == Way::Passed, "{way:?}: {} accesses waited", t.waited);
    (t.core, t.filter.left_out)
}

/// A core small enough for a short stream to fill.
pub(super) fn small() -> Parameters {
    Parameters {
        l1i: Geometry::of(16, 2),
        l2: Geometry::of(64, 4),
        l3: Geometry::of(96, 3),
        dsb: Geometry::of(8, 2),
        dtlb_4k: Geometry::of(8, 6),
        dtlb_2m: Geometry::of(2, 6),
        stlb: Geometry::of(16, 4),
        itlb_4k: Geometry::of(2, 2),
        latency: [1, 2, 3, 4],
        stlb_cycles: 1,
        run_ahead: 1,
        recovery: 1,
        resteer: 1,
        delivery: 3,
        store_share: 1,
        ..Parameters::SPR
    }
}

/// One whose TLBs' first levels have one way: what is told last is all that a set holds.
fn small_of_one_way() -> Parameters {
    let [dtlb_4k, dtlb_2m, dtlb_store, itlb_4k] = [8, 2, 4, 4].map(|sets| Geometry::of(sets, 1));
    Parameters { dtlb_4k, dtlb_2m, dtlb_store, itlb_4k, ..small() }
}

fn same_state(a: &Core, b: &Core, what: &str) {
    assert!(a.caches == b.caches, "{what}: caches");
    assert!(a.tlbs.clone().hushed() == b.tlbs.clone().hushed(), "{what}: TLBs");
    assert!(a.predictor == b.predictor, "{what}: predictor");
    assert_eq!(a.front.clone().hushed(), b.front.clone().hushed(), "{what}");
    assert_eq!(a.wake, b.wake, "{what}");
    assert_eq!(a.books.ledger, b.books.ledger, "{what}");
}

#[test]
fn totals_and_state_are_the_same_however_the_stream_is_told() {
    for seed in 0..6 {
        let mut r = Random(seed);
        let pieces = program(&mut r, 120);
        let steps = trace(&mut r, &pieces, 20_000);
        // Of one-way TLBs most insertions make all be told anew.
        let (p, many) = if seed % 3 == 2 { (small_of_one_way(), 300) } else { (small(), 800) };
        let (mut plain, none) = tell(&p, &pieces, &steps, Way::Blocks, false);
        let expected = plain.signals_at(false);
        assert_eq!(none, 0);
        for way in [Way::Blocks, Way::Passed, Way::Alone, Way::Singles, Way::Cut(seed), Way::Cut(seed + 77)] {
            for filtered in [false, true] {
                let (mut core, left_out) = tell(&p, &pieces, &steps, way, filtered);
                let what = format!("seed {seed}, {way:?}, filtered: {filtered}");
                assert_eq!(filtered, left_out > many, "{what}: {left_out} left out");
                let signals = core.signals_at(false);
                for s in crate::signal::Signal::ALL {
                    for ring in [Ring::Kernel, Ring::User] {
                        assert_eq!(signals.of(ring)[*s], expected.of(ring)[*s], "{what}: {s:?} {ring:?}");
                    }
                }
                same_state(&core, &plain, &what);
            }
        }
    }
}

#[test]
fn the_random_stream_counts_nearly_every_signal() {
    use crate::signal::Signal as S;
    let mut r = Random(1);
    let pieces = program(&mut r, 120);
    let steps = trace(&mut r, &pieces, 60_000);
    let signals = tell(&small(), &pieces, &steps, Way::Blocks, true).0.signals_at(false);
    // Not in the program, or not modelled.
    let absent = [
        S::FpScalarSingle,
        S::Fp128Double,
        S::Fp256Single,
        S::Fp512Double,
        S::Fp512Single,
        S::FpScalarHalf,
        S::FpScalarComplex,
        S::Fp128Half,
        S::Fp256Half,
        S::Fp512Half,
        S::IntVectorMul256,
        S::IntVectorVnni128,
        S::IntVectorVnni256,
        S::RepIterations,
        S::ClearsMemoryOrdering,
        S::ClearsSmc,
        S::AssistsPage,
        S::HardwareInterrupts,
        S::LoadFillBuffer,
        S::DtlbLoadWalk1g,
        S::DtlbStoreWalk1g,
        S::ItlbWalk2m,
        S::ItlbWalk1g,
        S::LbrInserts,
    ];
    for s in S::ALL {
        let n = signals.user[*s] + signals.kernel[*s];
        assert_eq!(n == 0, absent.contains(s), "{s:?}: {n}");
    }
}
