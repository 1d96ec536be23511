//! The table of the lessons. Where each number comes from stands beside the code, in `tests/assembler`.

use super::Lesson;

/// The lessons, in the order in which to read them.
pub const fn lessons() -> &'static [Lesson] {
    &LESSONS
}

static LESSONS: [Lesson; 11] = [
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
];
