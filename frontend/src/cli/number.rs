//! Quantities as users write them: memory, counts, times, limits.

use crate::pc::Limits;
use emu_core::Time;

/// Largest guest memory that can be asked for: what the ACPI tables and the host can be expected to cope with.
const MOST_MEMORY: u64 = 1 << 40;
const LEAST_MEMORY: u64 = 1 << 20;

/// A number and the letters after it.
fn split(text: &str) -> Result<(f64, &str), String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let value: f64 =
        number.trim().replace('_', "").parse().map_err(|_| format!("\"{text}\" does not begin with a number"))?;
    if value.is_finite() && value >= 0.0 {
        Ok((value, unit))
    } else {
        Err(format!("\"{text}\" is not a positive number"))
    }
}

/// `value * scale` as an integer, exactly where the text was an integer.
fn scaled(text: &str, value: f64, scale: u64) -> Result<u64, String> {
    let digits: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '_').filter(|c| *c != '_').collect();
    let too_large = || format!("\"{text}\" is too large");
    if value.fract() == 0.0 && !text.contains('.') {
        let whole: u64 = digits.parse().map_err(|_| too_large())?;
        return whole.checked_mul(scale).ok_or_else(too_large);
    }
    let product = value * scale as f64;
    if product < 1e18 { Ok(product.round() as u64) } else { Err(too_large()) }
}

/// A register and its value: NUMBER=VALUE, both hexadecimal, with or without 0x.
///
/// # Errors
/// No such form, or a number that is too large.
pub fn register(text: &str) -> Result<(u32, u64), String> {
    let hex = |t: &str| u64::from_str_radix(t.trim().trim_start_matches("0x"), 16);
    let parts = text.split_once('=').and_then(|(number, value)| Some((hex(number).ok()?, hex(value).ok()?)));
    let (number, value) = parts.ok_or_else(|| format!("\"{text}\" is not NUMBER=VALUE in hexadecimal"))?;
    Ok((u32::try_from(number).map_err(|_| format!("{number:x} is no MSR: 32 bits at most"))?, value))
}

/// Guest memory: a number with K, M, G or T (powers of 1024); without a letter it means MiB, as in QEMU.
///
/// # Errors
/// Not a number, an unknown unit, or less than 1 MiB or more than 1 TiB.
pub fn memory(text: &str) -> Result<u64, String> {
    // QEMU: -m size=1G,slots=0
    let first = text.split(',').next().unwrap_or("");
    let plain = first.strip_prefix("size=").unwrap_or(first);
    let (value, unit) = split(plain)?;
    let shift = match unit.to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "k" => 10,
        "" | "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("\"{unit}\" is no unit of memory: K, M, G or T")),
    };
    let bytes = scaled(plain, value, 1 << shift)?;
    if bytes < LEAST_MEMORY {
        return Err(format!("{plain} is too little: a PC has at least 1M"));
    }
    if bytes > MOST_MEMORY {
        return Err(format!("{plain} is too much: at most 1T"));
    }
    Ok(bytes & !0xfff)
}

/// Frequency of the cores, in MHz.
///
/// # Errors
/// Not a multiple of 100 from 2200 to 4800.
pub fn core_mhz(text: &str) -> Result<u32, String> {
    let mhz: u32 = text.parse().map_err(|_| format!("\"{text}\" is not a number"))?;
    if (2200..=4800).contains(&mhz) && mhz.is_multiple_of(100) {
        Ok(mhz)
    } else {
        Err(format!("{mhz} MHz: multiples of 100 from 2200 to 4800 are possible"))
    }
}

/// Processors: QEMU's `-smp 2`, `-smp cpus=2,cores=2`.
///
/// # Errors
/// Not a number from 1 to 64.
pub fn processors(text: &str) -> Result<u32, String> {
    let first = text.split(',').next().unwrap_or("");
    let n: u32 =
        first.strip_prefix("cpus=").unwrap_or(first).parse().map_err(|_| format!("\"{first}\" is not a number"))?;
    if (1..=64).contains(&n) { Ok(n) } else { Err(format!("{n} processors: 1 to 64 are possible")) }
}

/// A count with K, M, G or T (powers of 1000).
///
/// # Errors
/// Not a number, or an unknown unit.
pub fn count(text: &str) -> Result<u64, String> {
    let (value, unit) = split(text)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        _ => return Err(format!("\"{unit}\" is no unit of a count: K, M, G or T")),
    };
    scaled(text, value, scale)
}

/// One limit: `instructions=N`, `5Ginsn`, `30s`, `500ms`, `2min`.
///
/// # Errors
/// What is wrong, and what the forms are.
pub fn limit(text: &str) -> Result<Limits, String> {
    let number = text.strip_prefix("instructions=").or_else(|| text.strip_suffix("insn"));
    if let Some(n) = number {
        let instructions = count(n)?;
        return if instructions > 0 {
            Ok(Limits { instructions, ..Limits::NONE })
        } else {
            Err("a limit of nothing".to_owned())
        };
    }
    let (value, unit) = split(text.strip_prefix("time=").unwrap_or(text))?;
    let ns = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(format!("\"{text}\" is no limit: write 30s, 500ms, 5Ginsn or instructions=N")),
    };
    let ns = scaled(text.strip_prefix("time=").unwrap_or(text), value, ns)?;
    // Virtual time has a range of 213 days.
    if ns == 0 || ns > u64::MAX / 1000 {
        return Err(format!("\"{text}\" is out of range: up to 5000 hours"));
    }
    Ok(Limits { time: Time::ns(ns), ..Limits::NONE })
}

/// The length of an interval: as [`limit`], and a plain number is milliseconds, as in perf.
///
/// # Errors
/// As [`limit`].
pub fn span(text: &str) -> Result<Limits, String> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { limit(&format!("{text}ms")) } else { limit(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cores_run_at_multiples_of_100_mhz_that_are_not_below_the_tsc_s() {
        assert_eq!([2200, 3300, 4800].map(|mhz: u32| core_mhz(&mhz.to_string())), [Ok(2200), Ok(3300), Ok(4800)]);
        assert!(["2100", "2250", "4900", "3.3", "fast"].iter().all(|text| core_mhz(text).is_err()));
    }

    #[test]
    fn memory_is_in_mib_without_a_letter() {
        assert_eq!(memory("1G"), Ok(1 << 30));
        assert_eq!(memory("512"), Ok(512 << 20));
        assert_eq!(memory("1.5g"), Ok(3 << 29));
        assert_eq!(memory("128MiB"), Ok(128 << 20));
        assert_eq!(memory("size=2G,slots=1"), Ok(2 << 30));
        assert_eq!(memory("1024K"), Ok(1 << 20));
    }

    #[test]
    fn memory_that_makes_no_sense_is_refused() {
        for bad in ["", "0", "x", "1Q", "512K", "2T", "-1G", "1e30", "99999999999999999999G", "nan", "1..5G"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_instructions_or_guest_time() {
        assert_eq!(limit("instructions=1_000"), Ok(Limits { instructions: 1000, ..Limits::NONE }));
        assert_eq!(limit("5Ginsn"), Ok(Limits { instructions: 5_000_000_000, ..Limits::NONE }));
        assert_eq!(limit("30s"), Ok(Limits { time: Time::s(30), ..Limits::NONE }));
        assert_eq!(limit("1.5ms"), Ok(Limits { time: Time::us(1500), ..Limits::NONE }));
        for bad in ["", "0s", "0insn", "30", "5Xinsn", "s", "instructions=", "99999999999h"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn registers_are_hexadecimal() {
        assert_eq!(register("186=4300c0"), Ok((0x186, 0x43_00c0)));
        assert_eq!(register("0x38F = 0xf000000ff"), Ok((0x38f, 0xf_0000_00ff)));
        for bad in ["", "186", "186=", "=1", "186=x", "100000000=1", "186=10000000000000000"] {
            assert!(register(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn processors_are_one_to_sixty_four() {
        assert_eq!(processors("4"), Ok(4));
        assert_eq!(processors("cpus=2,cores=2"), Ok(2));
        assert!(processors("0").is_err() && processors("65").is_err() && processors("x").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_number_parser_panic(text in "\\PC{0,24}") {
            let _ = (memory(&text), processors(&text), count(&text), limit(&text));
        }

        #[test]
        fn a_whole_count_is_exact(n in 0u64..u64::MAX) {
            prop_assert_eq!(count(&n.to_string()), Ok(n));
        }
    }
}
