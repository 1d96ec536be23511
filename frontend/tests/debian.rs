//! Debian's stock kernel boots to user space, counts, powers off, and does so the same way every time.
//!
//! The image comes by package through `packages`, out of the cache when it is there. Without it and without a
//! package mirror these tests say so and pass.

mod packages;

use std::fs;
use std::sync::OnceLock;
use std::thread;

use frontend::image::Image;
use frontend::pc::{End, Limits, Machine, Quiet, Setup};
use tracing::Level;

/// What no line of a clean boot holds. Source: spec/platform.md, 5.
const BAD: [&str; 13] = [
    "WARNING:",
    "BUG:",
    "Oops",
    "unchecked MSR access error",
    "spurious",
    "unexpected IRQ",
    "nobody cared",
    "stall",
    "unstable",
    "soft lockup",
    "[Firmware Bug]",
    "calibration not consistent",
    "mismatch",
];

/// SHA-256 of 64 KiB of zeros.
const ZEROS: &str = "de2f256064a0af797747c2b97505dc0b9f3df0de4f489eac731c23ae9ca9cc31";

/// How a run went.
struct Boot {
    console: String,
    end: End,
    /// User and kernel instructions of each processor, and its clock.
    counts: Vec<(u64, u64, u64)>,
}

/// The image, or `None` where it cannot be had.
fn image() -> Option<&'static Image> {
    static IMAGE: OnceLock<Option<Image>> = OnceLock::new();
    IMAGE.get_or_init(packages::debian_cached).as_ref()
}

fn boot(image: &Image, processors: u32) -> Boot {
    let (kernel, initrd) = (fs::read(&image.kernel).unwrap(), fs::read(&image.initrd).unwrap());
    let command = "nproc; dd if=/dev/zero bs=1k count=64 2>&- | sha256sum";
    let mut machine = Machine::build(&Setup {
        ram_bytes: 512 << 20,
        processors,
        quantum: 20_000,
        image: &kernel,
        initrd: Some(&initrd),
        append: &format!("{} run=\"{command}\"", image.append),
        unpack: true,
        kind: None,
        core_mhz: frontend::pc::TSC_MHZ,
        limits: Limits { instructions: 20_000_000_000, ..Limits::NONE },
        reboot: false,
        triple_fault_resets: false,
    })
    .unwrap();
    let mut host = Quiet::default();
    let end = machine.run(&mut host);
    let counts = machine.counts();
    let counts = counts.iter().map(|c| (c.user.instructions, c.kernel.instructions, c.clock)).collect();
    Boot { console: String::from_utf8_lossy(&host.written).replace('\r', ""), end, counts }
}

/// Two runs at once, the second of them with everything traced.
fn twice(image: &'static Image, processors: u32) -> [Boot; 2] {
    let traced = thread::spawn(move || {
        let subscriber = tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(std::io::sink).finish();
        tracing::subscriber::with_default(subscriber, || boot(image, processors))
    });
    let plain = boot(image, processors);
    [plain, traced.join().unwrap()]
}

/// Asserts that `boot` passed every milestone on `processors` processors.
fn check(boot: &Boot, processors: u32) {
    let console = &boot.console;
    assert!(matches!(boot.end, End::PowerOff), "{:?} after:\n{console}", boot.end);
    let processors = format!("{processors}\n{ZEROS}  -\n");
    for milestone in [
        "Performance Events: XSAVE Architectural LBR, PEBS fmt4+-baseline, Sapphire Rapids events, AnyThread deprecated, 32-deep LBR, full-width counters, Intel PMU driver.\n",
        "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.\n",
        "clocksource: Switched to clocksource tsc\n",
        "@@ UP ",
        processors.as_str(),
        "@@ DONE 0\n",
        "reboot: Power down\n",
    ] {
        assert!(console.contains(milestone), "no {milestone:?} in:\n{console}");
    }
    let bad: Vec<&str> = console.lines().filter(|l| BAD.iter().any(|b| l.contains(b))).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(!console.contains("page tables isolation: enabled"), "{console}");
}

fn check_twice(processors: u32) {
    let Some(image) = image() else { return };
    let [plain, traced] = twice(image, processors);
    check(&plain, processors);
    assert_eq!(plain.console, traced.console);
    assert_eq!(plain.counts, traced.counts, "user, kernel, clock by processor");
    assert_eq!(plain.counts.len(), processors as usize);
    assert!(plain.counts.iter().all(|(user, kernel, _)| *user > 10_000 && *kernel > 1_000_000), "{:?}", plain.counts);
    println!("{processors} processor(s): {:?}", plain.counts);
}

#[test]
fn debian_boots_the_same_way_twice_traced_or_not() {
    check_twice(1);
}

#[test]
fn debian_boots_the_same_way_twice_on_two_processors() {
    check_twice(2);
}
