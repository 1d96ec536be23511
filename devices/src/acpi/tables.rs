//! The ACPI tables that describe the board to the guest, from RSDP to DSDT.
//!
//! All lie between E0000h and FFFFFh, where a guest without firmware searches for the RSDP; the loader reserves that
//! range in the memory map. The AML is in `dsdt.rs`; everything here is a fixed table.
//!
//! Source: ACPI specification 6.5, section 5.2; MCFG: PCI Firmware specification 3.3, section 4.1.2; HPET: IA-PC HPET
//! specification 1.0a, section 3.2.4; WAET: Windows ACPI Emulated Devices Table specification, 2009.

use super::{dsdt, pm};
use crate::{hpet, ioapic, pci};
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::{Aml, facs::FACS, mcfg::MCFG, rsdp::Rsdp, sdt::Sdt, xsdt::XSDT};
use emu_core::Gpa;

/// What the tables must know of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Logical processors, 1 to 1024; their APIC identifiers are 0 and up.
    pub cpus: u32,
    /// The PM timer has 32 bits.
    pub wide_timer: bool,
    /// The board has an HPET.
    pub hpet: bool,
    /// The board has an 8042.
    pub keyboard: bool,
    /// First byte of the window for 64-bit BARs, above all RAM: a multiple of 1 GiB.
    pub high_mmio: Gpa,
}

/// Where the tables begin, with the RSDP.
pub const TABLES_BASE: Gpa = Gpa(0xe_0000);
/// Bytes of window for 64-bit BARs.
pub const HIGH_MMIO_BYTES: u64 = 64 << 30;

pub(super) const OEM: [u8; 6] = *b"UNHALT";
pub(super) const OEM_TABLE: [u8; 8] = *b"UNHALTED";
pub(super) const OEM_REVISION: u32 = 1;

const LOCAL_APIC: u32 = 0xfee0_0000;
/// Highest APIC identifier that a processor local APIC structure can carry; FFh means "all".
const XAPIC_IDS: u32 = 255;

/// Every table with its address: RSDP first.
pub fn tables(config: &Config) -> Vec<(Gpa, Vec<u8>)> {
    let mut place = Placer { next: TABLES_BASE.0 + 64, placed: Vec::new() };
    let facs = place.put(bytes(&FACS::new()));
    let dsdt = place.put(dsdt::dsdt(config));
    let fadt = place.put(fadt(config, facs, dsdt));
    let mut entries = vec![fadt, place.put(madt(config.cpus)), place.put(mcfg()), place.put(waet())];
    if config.hpet {
        entries.push(place.put(hpet()));
    }
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    entries.into_iter().for_each(|entry| xsdt.add_entry(entry));
    let xsdt = place.put(bytes(&xsdt));
    place.placed.insert(0, (TABLES_BASE, bytes(&Rsdp::new(OEM, xsdt))));
    place.placed
}

/// Lays tables out one after another on 64-byte boundaries, as FACS needs it.
struct Placer {
    next: u64,
    placed: Vec<(Gpa, Vec<u8>)>,
}

impl Placer {
    fn put(&mut self, table: Vec<u8>) -> u64 {
        let at = self.next;
        self.next = (at + table.len() as u64).next_multiple_of(64);
        self.placed.push((Gpa(at), table));
        at
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut to = Vec::new();
    table.to_aml_bytes(&mut to);
    to
}

fn sdt(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut sdt = Sdt::new(*signature, 36, revision, OEM, OEM_TABLE, OEM_REVISION);
    sdt.append_slice(body);
    sdt.as_slice().to_vec()
}

fn fadt(config: &Config, facs: u64, dsdt: u64) -> Vec<u8> {
    let port = |offset: u16| pm::PM_BASE.0 + offset;
    let block = |offset, bits, access| GAS::new(AddressSpace::SystemIo, bits, 0, access, u64::from(port(offset)));
    let mut t = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .preferred_pm_profile(PmProfile::Desktop)
        .gpe_info(port(pm::GPE0).into(), 0, pm::GPE0_BYTES, 0, 0)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup);
    if config.wide_timer {
        t = t.flag(Flags::TmrValExt);
    }
    t.firmware_ctrl = (facs as u32).into();
    t.dsdt = (dsdt as u32).into();
    t.x_dsdt = dsdt.into();
    t.sci_int = u16::from(pm::SCI.0).into();
    t.pm1a_evt_blk = u32::from(port(pm::PM1_EVENT)).into();
    t.pm1a_cnt_blk = u32::from(port(pm::PM1_CONTROL)).into();
    t.pm_tmr_blk = u32::from(port(pm::PM_TIMER)).into();
    (t.pm1_evt_len, t.pm1_cnt_len, t.pm_tmr_len) = (4, 2, 4);
    t.x_pm1a_evt_blk = block(pm::PM1_EVENT, 32, AccessSize::WordAccess);
    t.x_pm1a_cnt_blk = block(pm::PM1_CONTROL, 16, AccessSize::WordAccess);
    t.x_pm_tmr_blk = block(pm::PM_TIMER, 32, AccessSize::DwordAccess);
    t.x_gpe0_blk = block(pm::GPE0, pm::GPE0_BYTES * 8, AccessSize::ByteAccess);
    // Above 100 us and 1000 us: there is no C2 and no C3.
    (t.p_lvl2_lat, t.p_lvl3_lat) = (101.into(), 1001.into());
    t.century = 0x32;
    // Legacy devices, an 8042 perhaps, and no VGA.
    t.iapc_boot_arch = (0x05 | u16::from(config.keyboard) << 1).into();
    t.reset_reg = GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, 0xcf9);
    t.reset_value = 0x06;
    bytes(&t.finalize())
}

fn madt(cpus: u32) -> Vec<u8> {
    // Flags bit 0: there is an 8259A pair to mask.
    let mut body = [LOCAL_APIC.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    for id in 0..cpus {
        if id < XAPIC_IDS {
            body.extend([0, 8, id as u8, id as u8, 1, 0, 0, 0]);
        } else {
            body.extend([9, 16, 0, 0]);
            [id, 1, id].iter().for_each(|field| body.extend(field.to_le_bytes()));
        }
    }
    body.extend([1, 12, 0, 0]);
    body.extend((ioapic::IOAPIC_BASE.0 as u32).to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    // ISA 0 is pin 2, by the bus's rules (edge, high); ISA 9 is SCI: level (3), active high (1).
    body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    body.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0]);
    // NMI is LINT1 of every processor: edge, active high.
    body.extend([4, 6, 0xff, 0x05, 0, 1]);
    if cpus > XAPIC_IDS {
        body.extend([10, 12, 0x05, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    }
    sdt(b"APIC", 5, &body)
}

fn mcfg() -> Vec<u8> {
    let mut mcfg = MCFG::new(OEM, OEM_TABLE, OEM_REVISION);
    mcfg.add_ecam(pci::ECAM_BASE.0, 0, 0, pci::LAST_BUS);
    bytes(&mcfg)
}

/// The clock needs no double reading and its timer no rereading: they are exact here.
fn waet() -> Vec<u8> {
    sdt(b"WAET", 1, &3_u32.to_le_bytes())
}

fn hpet() -> Vec<u8> {
    let mut body = hpet::CAPABILITIES.to_le_bytes()[..4].to_vec();
    // Generic address: memory, 64 bits wide.
    body.extend([0, 64, 0, 0]);
    body.extend(hpet::HPET_BASE.0.to_le_bytes());
    // Number 0, a minimum tick of 128 in periodic mode, no page protection.
    body.extend([0, 128, 0, 0]);
    sdt(b"HPET", 1, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cpus: u32) -> Config {
        Config { cpus, wide_timer: false, hpet: true, keyboard: true, high_mmio: Gpa(8 << 30) }
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn the_rsdp_leads_to_every_table_by_right_addresses_and_sums() {
        for cpus in [1, 2, 64, 300, 1024] {
            let all = tables(&config(cpus));
            let table = |at: u64| &all.iter().find(|(gpa, _)| gpa.0 == at).expect("a table there").1;
            let (base, rsdp) = &all[0];
            assert_eq!(*base, Gpa(0xe0000));
            assert_eq!(&rsdp[..8], b"RSD PTR ");
            assert_eq!((sum(&rsdp[..20]), sum(rsdp)), (0, 0));
            let xsdt = table(u64_at(rsdp, 24));
            let names: Vec<&[u8]> = xsdt[36..].chunks(8).map(|entry| &table(u64_at(entry, 0))[..4]).collect();
            assert_eq!(names, [b"FACP", b"APIC", b"MCFG", b"WAET", b"HPET"]);
            for (at, bytes) in &all[1..] {
                assert!(at.0 + bytes.len() as u64 <= 0x10_0000, "{cpus} processors fit below 1 MiB");
                assert_eq!(u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize, bytes.len());
                assert!(&bytes[..4] == b"FACS" || sum(bytes) == 0, "checksum of {:?}", &bytes[..4]);
            }
            let fadt = table(u64_at(xsdt, 36));
            assert_eq!(&table(u64_at(fadt, 140))[..4], b"DSDT");
        }
    }
}
