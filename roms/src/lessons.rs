//! The table of the lessons. Where each number comes from stands beside the code, in `tests/assembler`.

use super::Lesson;

/// The lessons, in the order in which to read them.
pub const fn lessons() -> &'static [Lesson] {
    &LESSONS
}

static LESSONS: [Lesson; 22] = [
    Lesson {
        name: "count",
        title: "Counting a loop of 1000 iterations",
        text: "A fixed and a general counter count the same instructions. The WRMSR that enables the counters is not \
               counted, the one that disables them is: 1 + 3 x 1000 + 4 instructions, of which 1000 are branches.",
        image: include_bytes!("../images/count.bin"),
        expected: &[
            ("instructions.fixed", 3005),
            ("instructions", 3005),
            ("branches", 1000),
            ("branches.conditional", 1000),
            ("sum", 500_500),
        ],
    },
    Lesson {
        name: "rings",
        title: "User and kernel, counted apart",
        text: "A user program makes 101 system calls. The ring filter of a counter decides by the ring in which an \
               instruction began: SYSCALL is the user's, SYSRET and IRET are the kernel's.",
        image: include_bytes!("../images/rings.bin"),
        expected: &[
            ("instructions.user", 304),
            ("instructions.kernel", 307),
            ("branches.conditional.user", 100),
            ("branches.conditional.kernel", 101),
            ("instructions", 611),
        ],
    },
    Lesson {
        name: "overflow",
        title: "An interrupt every 100 instructions",
        text: "A counter that starts at -100 overflows at the 100th user instruction, and the local APIC interrupts \
               right behind it. The loop has four instructions, so every interrupt finds the same one next.",
        image: include_bytes!("../images/overflow.bin"),
        expected: &[("interrupts", 40), ("interrupts.at_the_branch", 40), ("instructions.user", 4002)],
    },
    Lesson {
        name: "attribution",
        title: "Who counts the WRMSR",
        text: "An instruction is counted under the settings in force before it executes. So the WRMSR that enables a \
               counter is not counted by it, the one that disables it is, RDPMC does not see itself, and a WRMSR that \
               writes a running counter leaves exactly the value written. Every row ends with the four instructions \
               that stop: three loads and a WRMSR.",
        image: include_bytes!("../images/attribution.bin"),
        expected: &[
            ("nothing_between", 4),
            ("read_by_rdpmc", 1),
            ("with_the_rdpmc", 7),
            ("written_while_counting", 1004),
            ("by_the_enable_bit", 14),
        ],
    },
    Lesson {
        name: "rep",
        title: "What is one instruction",
        text: "A repeated string instruction retires once, whatever it repeats, also nothing. An instruction that faults \
               does not retire: UD2 is never counted, a load that meets an absent page is counted once, when it \
               completes after the handler. INT3 is a trap and is counted. Each row has the four instructions of the \
               stop; rep_* have a MOV and the REP STOSB; ud2 has its handler's two; int3 itself and its handler's IRETQ; \
               page_fault its handler's three and the load.",
        image: include_bytes!("../images/rep.bin"),
        expected: &[
            ("rep_100_bytes", 6),
            ("rep_1_byte", 6),
            ("rep_0_bytes", 6),
            ("ud2", 6),
            ("int3", 6),
            ("page_fault", 8),
        ],
    },
    Lesson {
        name: "branches",
        title: "Which instructions are branches",
        text: "Ten rounds of TEST JZ JRCXZ CALL RET CALL RET JMP LOOP: all but TEST are branches, taken or not, direct or \
               not; JZ, JRCXZ and LOOP are the conditional ones.",
        image: include_bytes!("../images/branches.bin"),
        expected: &[("instructions", 95), ("branches", 80), ("branches.conditional", 30)],
    },
    Lesson {
        name: "status",
        title: "Overflow and its status",
        text: "A counter that passes 2^48 keeps counting from 0 and sets its bit in IA32_PERF_GLOBAL_STATUS, which stays \
               until a 1 is written to the same bit of GLOBAL_STATUS_RESET. GLOBAL_STATUS_SET sets bits without an \
               overflow, GLOBAL_INUSE tells what is programmed; writing what is read-only or reserved faults. The \
               counter starts two short, and ten instructions follow.",
        image: include_bytes!("../images/status.bin"),
        expected: &[
            ("counter", 8),
            ("status", 1),
            ("status.other_bit_reset", 1),
            ("status.reset", 0),
            ("status.set", 8_589_934_720),
            ("set.reads", 0),
            ("refused", 4),
            ("in_use", 9_223_372_045_444_710_401),
        ],
    },
    Lesson {
        name: "widths",
        title: "Two ways to write a counter",
        text: "IA32_PMC0 takes the low 32 bits of what is written and extends their sign to the counter's 48; IA32_A_PMC0 \
               takes all 48 bits and faults on more. Both read the whole counter. 591751049 is 23456789h, \
               281472829227008 is FFFF80000000h, 280380351801225 is FF0123456789h.",
        image: include_bytes!("../images/widths.bin"),
        expected: &[
            ("legacy", 0x2345_6789),
            ("legacy.read_as_full", 0x2345_6789),
            ("legacy.sign", 0xffff_8000_0000),
            ("full.read_as_legacy", 0xff01_2345_6789),
            ("full.read_by_rdpmc", 0xff01_2345_6789),
            ("full.refused", 1),
            ("full.unchanged", 0xff01_2345_6789),
        ],
    },
    Lesson {
        name: "privilege",
        title: "Who may read a counter",
        text: "RDPMC in ring 3 faults unless the kernel has set CR4.PCE; ring 0 may always read. A selector of a counter \
               that is not there faults in any ring. The counter holds 42: the user reads nothing while PCE is 0, and 42 \
               once it is 1.",
        image: include_bytes!("../images/privilege.bin"),
        expected: &[
            ("ring0.pce0.refused", 0),
            ("ring0.no_such_counter", 4),
            ("ring3.pce0.refused", 1),
            ("ring3.pce0.value", 0),
            ("ring3.pce1.refused", 0),
            ("ring3.pce1.value", 42),
        ],
    },
    Lesson {
        name: "freeze",
        title: "All counters stop at the overflow",
        text: "With FREEZE_PERFMON_ON_PMI the request of an interrupt sets bit 59 of IA32_PERF_GLOBAL_STATUS, and no \
               counter moves while it is set, whatever GLOBAL_CTRL says: a counter that overflows at the 100th \
               instruction and one that only counts both stop there. Clearing the bit goes on where they stopped, with \
               seven NOPs and the four instructions of the stop. 576460752303423489 is bits 59 and 0.",
        image: include_bytes!("../images/freeze.bin"),
        expected: &[
            ("frozen.general", 0),
            ("frozen.fixed", 100),
            ("status", 576_460_752_303_423_489),
            ("global_ctrl", 4_294_967_297),
            ("thawed.general", 11),
            ("thawed.fixed", 111),
            ("status.after", 0),
        ],
    },
    Lesson {
        name: "clocks",
        title: "What goes on while the processor is halted",
        text: "A timer is set for 100,000 ticks ahead, and HLT waits for it. The time-stamp counter goes on and shows the \
               very tick; IA32_MPERF and the fixed counter of reference cycles count only what ran: eleven instructions \
               lie between the two reads of MPERF, and twenty are counted between enable and disable.",
        image: include_bytes!("../images/clocks.bin"),
        expected: &[("tsc", 100_000), ("mperf", 11), ("reference_cycles", 20)],
    },
    Lesson {
        name: "masks",
        title: "In which cycles an event counts",
        text: "A counter mask counts the cycles in which an event happened at least so often, inversion those in \
               which it did not, edge the first of successive such cycles. A cycle has one instruction and six \
               slots here: a mask of 1 over instructions is every cycle, a mask of 2 none, and 2 inverted every one \
               again. Ten rounds of LOAD NOP PAUSE DEC JNZ are 1 + 5 x 10 + 4 instructions, of which ten load and \
               ten are PAUSE.",
        image: include_bytes!("../images/masks.bin"),
        expected: &[
            ("instructions", 55),
            ("instructions.cmask1", 55),
            ("instructions.cmask2", 0),
            ("instructions.cmask2.inv", 55),
            ("slots.cmask6", 55),
            ("loads.cmask1", 10),
            ("loads.cmask1.inv", 45),
            ("pause.cmask1.edge", 10),
        ],
    },
    Lesson {
        name: "metrics",
        title: "Slots first, then the metrics",
        text: "PERF_METRICS holds fractions of the slots that fixed counter 3 has counted since both were set. \
               Setting the slots takes the metrics away, so what was saved is restored in one order: slots, then \
               metrics. They accumulate only while bit 48 of GLOBAL_CTRL is set as well; then the four fields of \
               level 1 sum to 255. Six NOPs and the stop are ten instructions of six slots. 289077006800265280 is \
               040302018F102040h.",
        image: include_bytes!("../images/metrics.bin"),
        expected: &[
            ("slots_first.slots", 2550),
            ("slots_first.metrics", 289_077_006_800_265_280),
            ("metrics_first.slots", 2550),
            ("metrics_first.metrics", 0),
            ("without_bit_48.slots", 60),
            ("without_bit_48.sum", 0),
            ("with_bit_48.slots", 60),
            ("with_bit_48.sum", 255),
        ],
    },
    Lesson {
        name: "topdown",
        title: "Where the slots went",
        text: "Every cycle has six slots, and each is in one of four buckets: retiring, bad speculation, front end, \
               back end. As events the four sum to all slots, as fields of PERF_METRICS to 255; each field of level \
               2 (heavy operations, branch mispredictions, fetch latency, memory) is a part of its parent. A \
               hundred rounds of LOAD INC DEC JNZ, a MOV before and the four of the stop are 405 instructions.",
        image: include_bytes!("../images/topdown.bin"),
        expected: &[
            ("slots", 2430),
            ("buckets", 2430),
            ("level1.sum", 255),
            ("level2.within_parent", 4),
            ("rdpmc_less_rdmsr", 0),
        ],
    },
    Lesson {
        name: "pebs",
        title: "Which instruction PEBS samples",
        text: "A counter that PEBS is enabled for sets no status bit when it overflows. Counter 0 has precise \
               distribution: the instruction that overflows is sampled, the 10th, 20th and 30th of 39. Counter 1 is \
               armed by the overflow, samples the next instruction, and starts anew there: 11th, 22nd, 33rd. When \
               the buffer reaches its threshold bit 62 of GLOBAL_STATUS says so (4611686018427387904); where there \
               is no room a record is dropped without a sign, and the counter starts anew all the same. A basic \
               record has 32 bytes. 281474976710655 is -1, 281474976710652 is -4.",
        image: include_bytes!("../images/pebs.bin"),
        expected: &[
            ("counter0.bytes", 96),
            ("counter0.first", 9),
            ("counter0.value", 281_474_976_710_655),
            ("threshold_at_2.status", 4_611_686_018_427_387_904),
            ("counter1.bytes", 96),
            ("counter1.first", 10),
            ("counter1.value", 281_474_976_710_652),
            ("threshold_at_4.status", 0),
            ("room_for_2.bytes", 64),
            ("room_for_2.status", 0),
            ("room_for_2.value", 281_474_976_710_655),
        ],
    },
    Lesson {
        name: "callstack",
        title: "A list of branches or a stack of calls",
        text: "Last branch records are a list of what was taken: three nested calls and their returns are six. In \
               call-stack mode a call pushes a record and a return takes the newest away, so that what is left is \
               the chain of calls that led here: three in the innermost function, one two returns later, none in \
               the end. The newest is the call that led here, five bytes before where it returns to.",
        image: include_bytes!("../images/callstack.bin"),
        expected: &[
            ("list", 6),
            ("stack.all_returned", 0),
            ("stack.in_c", 3),
            ("stack.newest", 5),
            ("stack.in_a", 1),
            ("stack.in_main", 0),
        ],
    },
    Lesson {
        name: "branch_filter",
        title: "Which branches are recorded",
        text: "IA32_LBR_CTL has a bit for each kind of branch: conditional, JMP, indirect JMP, CALL, indirect CALL, \
               RET, and all others (INT and IRET here). Only branches that are taken are recorded: JZ is, JNZ is \
               not. There are three indirect jumps: into the sequence, within it, and out of it.",
        image: include_bytes!("../images/branch_filter.bin"),
        expected: &[
            ("jcc", 1),
            ("jmp", 1),
            ("jmp.indirect", 3),
            ("call", 1),
            ("call.indirect", 1),
            ("ret", 2),
            ("other", 2),
            ("all", 11),
            ("none", 0),
        ],
    },
    Lesson {
        name: "freeze_branches",
        title: "The branches before the interrupt",
        text: "With FREEZE_LBRS_ON_PMI the request of an interrupt sets bit 58 of IA32_PERF_GLOBAL_STATUS, and \
               nothing is recorded while it is set; IA32_LBR_CTL stays as it was. The counter overflows at the \
               tenth of twenty jumps of two bytes: the newest record is that jump, 18 bytes behind the first, \
               whatever branched later. Clearing the bit lets recording go on: the newest is then the third of \
               three. 288230376151711745 is bits 58 and 0, 8323075 is 7F0003h.",
        image: include_bytes!("../images/freeze_branches.bin"),
        expected: &[
            ("frozen.newest", 18),
            ("frozen.status", 288_230_376_151_711_745),
            ("frozen.enabled", 8_323_075),
            ("thawed.newest", 4),
            ("thawed.status", 0),
        ],
    },
    Lesson {
        name: "selectors",
        title: "What RDPMC reads",
        text: "Bits 31:16 of ECX are a type, the others an index: 0 a general counter, 4000h a fixed one, 2000h \
               PERF_METRICS. The upper half of RCX is without meaning. Whatever is not there faults: index 8, fixed \
               counter 4, a second metrics register, the fast reads of old processors (bit 31), types that are \
               none.",
        image: include_bytes!("../images/selectors.bin"),
        expected: &[
            ("general.7", 77),
            ("fixed.0", 88),
            ("fixed.3", 2550),
            ("metrics", 289_077_006_800_265_280),
            ("upper_half_of_rcx", 77),
            ("refused.so_far", 0),
            ("refused", 7),
        ],
    },
    Lesson {
        name: "adjust",
        title: "A clock and its offset",
        text: "The time-stamp counter is a clock that nobody can set, and an offset, IA32_TSC_ADJUST. Writing the \
               offset moves the counter by as much; writing the counter moves the offset, and the clock below goes \
               on. MPERF has no offset. Between two readings lie the instructions that the text of the program \
               says: 8, 9 and 14.",
        image: include_bytes!("../images/adjust.bin"),
        expected: &[
            ("adjust.at_start", 0),
            ("adjust.moves_tsc", 1_000_008),
            ("mperf.stays", 9),
            ("clock.goes_on", 14),
            ("tsc.as_set", 6),
        ],
    },
    Lesson {
        name: "skid",
        title: "Where the interrupt finds the program",
        text: "A counter that starts at -10 overflows at the tenth instruction, always. With interrupts open the \
               handler finds the program right behind it, and has counted one instruction of its own when it reads \
               the counter. With interrupts closed the request waits, even when its status bit is cleared \
               meanwhile: it is taken behind STI and the instruction that follows it, 49 bytes on, with 30 + 4 + 2 \
               + 1 - 10 instructions counted.",
        image: include_bytes!("../images/skid.bin"),
        expected: &[
            ("open.instructions", 10),
            ("open.counter", 1),
            ("closed.bytes", 49),
            ("closed.counter", 27),
            ("closed.status", 0),
        ],
    },
    Lesson {
        name: "waiting",
        title: "Waiting without halting",
        text: "TPAUSE waits for a time in C0.1 or C0.2, which are part of C0: MPERF and every counter of cycles go on, \
               where HLT would stop them (lesson clocks). Two waits, of 10,000 and 20,000 ticks from their RDTSC, retire \
               ten instructions; all cycles but five of each are those of its state.",
        image: include_bytes!("../images/waiting.bin"),
        expected: &[("mperf", 30_013), ("instructions", 14), ("cycles.c01", 9995), ("cycles.c02", 19_995)],
    },
];
