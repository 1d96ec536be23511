//! The program from outside: exit codes, messages, limits, the console on pipes.

use assert_cmd::Command;
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;

/// A folder with the ROMs and files that the tests use.
struct Bench {
    folder: TempDir,
}

/// Real-mode code for the reset vector, at most 16 bytes.
#[rustfmt::skip] // one row a program
const ROMS: [(&str, &[u8]); 7] = [
    ("spin",     &[0xeb, 0xfe]),                                            // jmp $
    ("exit",     &[0xb0, 0x2a, 0xe6, 0xf4, 0xeb, 0xfe]),                    // mov al, 2Ah; out F4h, al; jmp $
    ("halt",     &[0xfa, 0xf4, 0xeb, 0xfd]),                                // cli; hlt; jmp hlt
    ("off",      &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x34, 0xef, 0xeb, 0xfe]),  // mov dx, 604h; mov ax, 3400h; out dx, ax
    ("reset",    &[0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe]),                    // mov al, FEh; out 64h, al; jmp $
    ("triple",   &[0x0f, 0x01, 0x1e, 0x00, 0x05, 0xcc]),                    // lidt [500h] (zeros); int3
    ("print",    &[0xba, 0xf8, 0x03, 0xb0, b'A', 0xee, 0xe6, 0xf4]),        // out 3F8h, 'A'; out F4h, al
];

impl Bench {
    fn new() -> Bench {
        let folder = TempDir::new().unwrap();
        for (name, code) in ROMS {
            let mut rom = code.to_vec();
            rom.resize(16, 0x90);
            std::fs::write(folder.path().join(name), rom).unwrap();
        }
        Bench { folder }
    }

    fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(contents).unwrap();
        path
    }

    /// Runs the program in the folder with words of `line`: status, standard output, standard error.
    fn run(&self, line: &str) -> (i32, String, String) {
        let mut command = Command::cargo_bin("unhalted").unwrap();
        command.current_dir(self.folder.path()).args(line.split_whitespace()).env_remove("RUST_LOG");
        let out = command.env("NO_COLOR", "1").timeout(std::time::Duration::from_secs(60)).output().unwrap();
        let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
        (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
    }
}

#[test]
fn every_way_to_end_has_its_exit_code() {
    let bench = Bench::new();
    for (line, status) in [
        ("run --rom exit", 85),
        ("run --rom off", 0),
        ("run --rom reset --no-reboot", 0),
        ("run --rom halt", 122),
        ("run --rom triple", 123),
        ("run --rom triple --triple-fault-resets --no-reboot --limit 1000insn", 124),
        ("run --rom spin --limit 1000insn", 124),
        ("run --rom reset --limit 1000insn", 124),
        ("run --rom spin --timeout 10us", 124),
        ("run nothing-there", 127),
        ("run --rom exit --initrd nothing-there", 127),
        ("run", 2),
        ("run --rom exit exit", 2),
        ("--no-such-option", 2),
        ("run --rom exit --log ==", 2),
    ] {
        let (code, _, err) = bench.run(line);
        assert_eq!(code, status, "{line}: {err}");
        assert!(!err.contains("panicked"), "{line}: {err}");
    }
}

#[test]
fn a_limit_on_instructions_is_exact() {
    let bench = Bench::new();
    for n in [1, 999, 100_000, 1_234_567] {
        let (code, _, err) = bench.run(&format!("run --rom spin --limit instructions={n}"));
        assert_eq!(code, 124);
        let grouped = frontend::report::grouped(n);
        assert!(err.contains(&format!(" {grouped} instructions in")), "{n}: {err}");
    }
}

#[test]
fn the_serial_port_is_standard_output_and_nothing_else_is() {
    let bench = Bench::new();
    assert_eq!(bench.run("run --rom print --no-summary"), (131, "A".into(), String::new()));
}

#[test]
fn bad_values_say_what_is_wrong() {
    let bench = Bench::new();
    for (line, words) in [
        ("run -m 0 exit", "too little"),
        ("run -m 5T exit", "too much"),
        ("run -m x exit", "does not begin with a number"),
        ("run -m 1Q exit", "no unit of memory"),
        ("run --smp 0 exit", "1 to 64"),
        ("run --limit 30 exit", "30s"),
        ("run --quantum x exit", "number"),
        ("run -m 99999999999999999999 exit", "is too large"),
        ("run -m 1E exit", "no unit of memory"),
        ("run --smp 1000 exit", "1 to 64"),
        ("run --smp x exit", "is not a number"),
        ("run --limit x exit", "does not begin with a number"),
    ] {
        let (code, _, err) = bench.run(line);
        assert_eq!(code, 2, "{line}: {err}");
        assert!(err.contains(words), "{line}: {err}");
    }
}

#[test]
fn a_file_that_is_no_kernel_is_answered_with_the_kinds() {
    let bench = Bench::new();
    bench.file("text", b"hello, world\n");
    bench.file("empty", b"");
    bench.file("initrd", b"070701");
    for (name, words) in [("text", "not an image"), ("empty", "empty"), ("initrd", "cpio")] {
        let (code, _, err) = bench.run(&format!("run {name}"));
        assert_eq!(code, 126, "{err}");
        assert!(err.contains(words) && err.contains("accepted are") && err.contains("bzImage"), "{err}");
    }
}

/// A bzImage of 4 KiB: one setup sector, and a kernel of zeros.
fn bzimage() -> Vec<u8> {
    let mut b = vec![0; 4096];
    b[0x1f1] = 1;
    b[0x1f4..0x1f6].copy_from_slice(&(3072u16 / 16).to_le_bytes());
    b[0x1fe..0x206].copy_from_slice(b"\x55\xaa\xeb\x6aHdrS");
    b[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    b[0x211] = 1;
    b
}

#[test]
fn a_damaged_image_or_initrd_is_refused_with_the_reason() {
    let bench = Bench::new();
    let pvh = include_bytes!("../src/load/testdata/pvh.elf");
    bench.file("pvh", pvh);
    bench.file("cut", &pvh[..100]);
    // ELF32, EM_386, no program headers.
    let mut elf32 = vec![0; 52];
    elf32[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    elf32[16..24].copy_from_slice(&[2, 0, 3, 0, 1, 0, 0, 0]);
    bench.file("elf32", &elf32);
    bench.file("empty", b"");
    std::fs::create_dir(bench.folder.path().join("folder")).unwrap();
    for (line, status, words) in [
        ("run folder", 127, "Is a directory"),
        ("run --rom folder", 127, "Is a directory"),
        ("run --rom empty", 126, "a ROM has"),
        ("run --rom nothing-there", 127, "cannot read the image"),
        ("run pvh --initrd folder", 127, "cannot read the initrd"),
        ("run cut", 126, "malformed ELF"),
        ("run elf32", 126, "not a kernel"),
        ("run pvh -m 1M", 126, "--memory"),
    ] {
        let (code, _, err) = bench.run(line);
        assert_eq!(code, status, "{line}: {err}");
        assert!(err.contains(words) && !err.contains("panicked"), "{line}: {err}");
    }
}

#[test]
fn a_bzimage_cut_short_anywhere_is_refused() {
    let bench = Bench::new();
    let whole = bzimage();
    for bytes in [1, 0x10, 0x1f0, 0x200, 0x205, 0x208, 0x230, 0x26c, 0x300, 0x400, 0x800, whole.len() - 16] {
        bench.file("vmlinuz", &whole[..bytes]);
        let (code, _, err) = bench.run("run vmlinuz");
        assert_eq!(code, 126, "{bytes:#x} bytes: {err}");
        let words = if bytes < 0x208 { "accepted are" } else { "truncated" };
        assert!(err.contains(words), "{bytes:#x} bytes: {err}");
    }
}

#[test]
fn an_initrd_larger_than_memory_names_the_remedy() {
    let bench = Bench::new();
    bench.file("pvh", include_bytes!("../src/load/testdata/pvh.elf"));
    bench.file("large", &vec![0; 20 << 20]);
    let (code, _, err) = bench.run("run pvh --initrd large -m 16M");
    assert_eq!(code, 126);
    assert!(err.contains("the initrd needs memory") && err.contains("--memory"), "{err}");
}

#[test]
fn a_pvh_kernel_runs_until_its_first_hlt() {
    let bench = Bench::new();
    bench.file("pvh", include_bytes!("../src/load/testdata/pvh.elf"));
    let (code, _, err) = bench.run("run pvh -m 16M");
    assert_eq!(code, 122, "{err}");
    assert!(err.contains(" 1 instructions in"), "{err}");
}

#[test]
fn qemus_spellings_are_understood() {
    let bench = Bench::new();
    let line = "-bios exit -m 64 -smp 1 -display none -nodefaults -serial stdio -no-reboot -nographic \
                -device isa-debug-exit,iobase=0xf4,iosize=4 -accel tcg -cpu max";
    assert_eq!(bench.run(line).0, 85);
}

#[test]
fn two_runs_count_the_same() {
    let bench = Bench::new();
    let line = "run --rom spin --limit 3Minsn --smp 2";
    let counts = |err: String| err.lines().filter(|l| l.contains("vCPU")).collect::<Vec<_>>().join("\n");
    assert_eq!(counts(bench.run(line).2), counts(bench.run(line).2));
}

#[test]
fn help_names_the_exit_codes_and_examples() {
    let bench = Bench::new();
    let (code, out, _) = bench.run("--help");
    assert_eq!(code, 0);
    assert!(out.contains("Exit status:") && out.contains("triple fault"), "{out}");
    let (code, out, _) = bench.run("run --help");
    assert_eq!(code, 0);
    assert!(out.contains("Examples:") && out.contains("--append"), "{out}");
}

#[test]
fn the_devices_are_listed_with_their_addresses() {
    let (code, out, _) = Bench::new().run("devices");
    assert_eq!(code, 0);
    for words in ["16550A", "ports 3F8h-3FFh", "8259A", "memory FEC00000h"] {
        assert!(out.contains(words), "{words}: {out}");
    }
}
