//! QEMU's spellings: single-dash long options are turned into ours before clap sees them.
//!
//! Only what has a meaning here is translated; what only chooses between QEMU's machines, displays and accelerators is
//! dropped with a note. Source: qemu-system-x86_64(1).

use std::ffi::OsString;

/// What an option of QEMU becomes.
#[derive(Clone, Copy)]
enum To {
    /// This option of ours, with the same value.
    Option(&'static str),
    /// This flag of ours.
    Flag(&'static str),
    /// Nothing; it has no value.
    Drop,
    /// Nothing, nor its value.
    DropValue,
    /// A device: those that are there anyway are dropped quietly, others with a warning.
    Device,
}

#[rustfmt::skip] // one row an option
const OPTIONS: [(&str, To); 36] = [
    ("-kernel",     To::Option("--kernel")),
    ("-initrd",     To::Option("--initrd")),
    ("-append",     To::Option("--append")),
    ("-smp",        To::Option("--smp")),
    ("-bios",       To::Option("--rom")),
    ("-no-reboot",  To::Flag("--no-reboot")),
    ("-nographic",  To::Drop),
    ("-nodefaults", To::Drop),
    ("-no-hpet",    To::Drop),
    ("-enable-kvm", To::Drop),
    ("-no-user-config", To::Drop),
    ("-no-shutdown", To::Drop),
    ("-snapshot",   To::Drop),
    ("-serial",     To::DropValue),
    ("-display",    To::DropValue),
    ("-monitor",    To::DropValue),
    ("-cpu",        To::DropValue),
    ("-machine",    To::DropValue),
    ("-M",          To::DropValue),
    ("-accel",      To::DropValue),
    ("-vga",        To::DropValue),
    ("-net",        To::DropValue),
    ("-nic",        To::DropValue),
    ("-netdev",     To::DropValue),
    ("-rtc",        To::DropValue),
    ("-icount",     To::DropValue),
    ("-name",       To::DropValue),
    ("-boot",       To::DropValue),
    ("-chardev",    To::DropValue),
    ("-mon",        To::DropValue),
    ("-object",     To::DropValue),
    ("-global",     To::DropValue),
    ("-overcommit", To::DropValue),
    ("-parallel",   To::DropValue),
    ("-device",     To::Device),
    ("-drive",      To::Device),
];

/// Devices of QEMU that the board has anyway.
const PRESENT: [&str; 7] = [
    "isa-debug-exit",
    "virtio-rng-pci",
    "virtio-serial-pci",
    "virtio-serial",
    "virtconsole",
    "isa-debugcon",
    "pc-testdev",
];
/// Subcommands and options of ours: anything else with a dash in front of it at the start means `run`.
const OURS: [&str; 5] = ["-h", "--help", "-V", "--version", "--log"];

/// What was left out, to be logged once logging is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    option: String,
    loud: bool,
}

impl Note {
    /// Logs it.
    pub fn log(&self) {
        let option = &self.option;
        if self.loud {
            tracing::warn!(%option, "this machine has no such device: ignored");
        } else {
            tracing::debug!(%option, "ignored: it changes nothing on this machine");
        }
    }
}

/// Turns QEMU's spellings in the program's arguments into ours. Values are passed on as they are.
pub fn translate(arguments: Vec<OsString>) -> (Vec<OsString>, Vec<Note>) {
    let mut ours = Vec::new();
    let mut notes = Vec::new();
    let mut from = arguments.into_iter();
    ours.extend(from.next());
    let mut from = from.peekable();
    if let Some(first) = from.peek().and_then(|a| a.to_str()) {
        let log = first.starts_with("--log=");
        if first.starts_with('-') && !log && !OURS.contains(&first) {
            ours.push("run".into());
        }
    }
    let mut raw = false;
    while let Some(argument) = from.next() {
        raw |= argument == "--";
        let found = argument.to_str().and_then(|a| OPTIONS.iter().find(|(o, _)| *o == a));
        let Some((option, to)) = found.filter(|_| !raw) else {
            // A value is never mistaken for an option: it is taken together with its own option.
            let takes_value = argument.to_str().is_some_and(|a| VALUED.contains(&a));
            ours.push(argument);
            ours.extend(takes_value.then(|| from.next()).flatten());
            continue;
        };
        match to {
            To::Option(name) => ours.push(joined(name, from.next())),
            To::Flag(name) => ours.push((*name).into()),
            To::Drop => notes.push(Note { option: (*option).to_owned(), loud: false }),
            To::DropValue | To::Device => {
                let value = from.next().unwrap_or_default().to_string_lossy().into_owned();
                let model = value.split(',').next().unwrap_or("");
                let loud = matches!(to, To::Device) && !PRESENT.contains(&model);
                notes.push(Note { option: format!("{option} {value}"), loud });
            }
        }
    }
    (ours, notes)
}

/// Our options whose next argument is a value that may look like an option.
const VALUED: [&str; 4] = ["--append", "--kernel", "--initrd", "--rom"];

/// `name=value`, so that a value that begins with a dash stays one.
fn joined(name: &str, value: Option<OsString>) -> OsString {
    let mut whole = OsString::from(name);
    if let Some(value) = value {
        whole.push("=");
        whole.push(value);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> (Vec<String>, usize) {
        let (ours, notes) = translate(text.split(' ').map(OsString::from).collect());
        (ours.iter().map(|a| a.to_string_lossy().into_owned()).collect(), notes.iter().filter(|n| n.loud).count())
    }

    #[test]
    fn a_qemu_command_line_becomes_ours() {
        let line = "unhalted -m 256 -display none -nodefaults -serial stdio -no-reboot -device \
                    isa-debug-exit,iobase=0xf4,iosize=4 -kernel sieve.mb -append -x";
        let (ours, loud) = words(line);
        assert_eq!(ours, ["unhalted", "run", "-m", "256", "--no-reboot", "--kernel=sieve.mb", "--append=-x"]);
        assert_eq!(loud, 0);
    }

    #[test]
    fn an_unknown_device_is_mentioned_aloud() {
        assert_eq!(
            words("unhalted run -device ich9-intel-hda x"),
            (vec!["unhalted".into(), "run".into(), "x".into()], 1)
        );
    }

    #[test]
    fn a_value_that_looks_like_an_option_stays_a_value() {
        assert_eq!(words("unhalted run --append -kernel x").0, ["unhalted", "run", "--append", "-kernel", "x"]);
        assert_eq!(words("unhalted run -- -kernel").0, ["unhalted", "run", "--", "-kernel"]);
    }

    #[test]
    fn options_that_are_ours_are_left_alone() {
        assert_eq!(words("unhalted --help").0, ["unhalted", "--help"]);
        assert_eq!(words("unhalted demo").0, ["unhalted", "demo"]);
        assert_eq!(words("unhalted --log debug devices").0, ["unhalted", "--log", "debug", "devices"]);
        assert_eq!(words("unhalted").0, ["unhalted"]);
        assert_eq!(words("unhalted --kernel k").0, ["unhalted", "run", "--kernel", "k"]);
        assert_eq!(words("unhalted run -kernel").0, ["unhalted", "run", "--kernel"]);
    }
}
