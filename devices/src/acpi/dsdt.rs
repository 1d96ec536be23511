//! The DSDT: the PCI host bridge with its windows and routing, the ISA chips, the processors and S5, in AML.
//!
//! Source: ACPI specification 6.5, chapters 6 (configuration) and 7 (power); PNP identifiers: "Plug and Play ID"
//! list of 1994.

use super::pm;
use super::tables::{Config, HIGH_MMIO_BYTES, OEM, OEM_REVISION, OEM_TABLE};
use crate::{hpet, pci};
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Arg, Device, EISAName, IO, Memory32Fixed, Method, Name, Package,
    PackageBuilder, Path, ResourceTemplate, Return, Scope,
};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};

/// The whole table.
pub(super) fn dsdt(config: &Config) -> Vec<u8> {
    let mut board = Vec::new();
    host_bridge(config, &mut board);
    motherboard(&mut board);
    isa_devices(config, &mut board);
    for id in 0..config.cpus {
        processor(id, &mut board);
    }
    let mut aml = Scope::raw("\\_SB_".into(), board);
    // SLP_TYP for PM1a and PM1b, and two reserved words.
    let types = Package::new(vec![&pm::S5, &pm::S5, &0u8, &0u8]);
    Name::new("\\_S5_".into(), &types).to_aml_bytes(&mut aml);
    let mut sdt = Sdt::new(*b"DSDT", 36, 2, OEM, OEM_TABLE, OEM_REVISION);
    sdt.append_slice(&aml);
    sdt.as_slice().to_vec()
}

/// The small resource "IRQ, edge, active high, not shared".
struct Irq(u8);

impl Aml for Irq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1 << self.0);
    }
}

fn ports(first: u16, count: u8) -> IO {
    IO::new(first, first, 1, count)
}

fn host_bridge(config: &Config, to: &mut Vec<u8>) {
    let uncached = AddressSpaceCacheable::NotCacheable;
    let low = pci::LOW_MMIO;
    let high = config.high_mmio.0;
    let windows = Name::new(
        "_CRS".into(),
        &ResourceTemplate::new(vec![
            &AddressSpace::<u16>::new_bus_number(0, u16::from(pci::LAST_BUS)),
            &ports(0xcf8, 8),
            &AddressSpace::<u16>::new_io(0, 0xcf7, None),
            &AddressSpace::<u16>::new_io(0xd00, 0xffff, None),
            &AddressSpace::<u32>::new_memory(uncached, true, low.start().0 as u32, low.end().0 as u32, None),
            &AddressSpace::<u64>::new_memory(uncached, true, high, high + (HIGH_MMIO_BYTES - 1), None),
        ]),
    );
    // _OSC grants what is asked for: there is nothing here that firmware would keep to itself.
    let granted = Return::new(&Arg(3));
    Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A08")),
            &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_SEG".into(), &0u8),
            &Name::new("_BBN".into(), &0u8),
            // Memory is coherent with DMA.
            &Name::new("_CCA".into(), &1u8),
            &windows,
            &Name::new("_PRT".into(), &routing()),
            &Method::new("_OSC".into(), 4, false, vec![&granted]),
        ],
    )
    .to_aml_bytes(to);
}

/// Each slot's four INTx pins go straight to I/O APIC pins.
fn routing() -> PackageBuilder {
    let mut table = PackageBuilder::new();
    for slot in 0..32u8 {
        for pin in 0..4u8 {
            let address = u32::from(slot) << 16 | 0xffff;
            let line = pci::intx_line(slot, pin).0;
            table.add_element(&Package::new(vec![&address, &pin, &0u8, &line]));
        }
    }
    table
}

/// Addresses that belong to no device of their own: the ECAM, which Linux wants reserved here, and chipset ports.
fn motherboard(to: &mut Vec<u8>) {
    let ecam_bytes = (u32::from(pci::LAST_BUS) + 1) << 20;
    Device::new(
        "MBRD".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C02")),
            &Name::new("_UID".into(), &0u8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &Memory32Fixed::new(true, pci::ECAM_BASE.0 as u32, ecam_bytes),
                    &ports(pm::PM_BASE.0, 0x30),
                    &ports(0x4d0, 2),
                    &ports(0x61, 1),
                    &ports(0x80, 1),
                    &ports(0x92, 1),
                ]),
            ),
        ],
    )
    .to_aml_bytes(to);
}

fn isa(name: &str, id: &str, resources: Vec<&dyn Aml>, to: &mut Vec<u8>) {
    Device::new(
        Path::new(name),
        vec![
            &Name::new("_HID".into(), &EISAName::new(id)),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_STA".into(), &0x0fu8),
            &Name::new("_CRS".into(), &ResourceTemplate::new(resources)),
        ],
    )
    .to_aml_bytes(to);
}

fn isa_devices(config: &Config, to: &mut Vec<u8>) {
    isa("PIC_", "PNP0000", vec![&ports(0x20, 2), &ports(0xa0, 2), &Irq(2)], to);
    isa("PIT_", "PNP0100", vec![&ports(0x40, 4), &Irq(0)], to);
    isa("RTC_", "PNP0B00", vec![&ports(0x70, 2), &Irq(8)], to);
    isa("COM1", "PNP0501", vec![&ports(0x3f8, 8), &Irq(4)], to);
    if config.keyboard {
        // No node for the auxiliary port: nothing is plugged in, and probing it costs time.
        isa("KBD_", "PNP0303", vec![&ports(0x60, 1), &ports(0x64, 1), &Irq(1)], to);
    }
    if config.hpet {
        isa("HPET", "PNP0103", vec![&Memory32Fixed::new(true, hpet::HPET_BASE.0 as u32, 0x400)], to);
    }
}

fn processor(id: u32, to: &mut Vec<u8>) {
    Device::new(
        Path::new(&format!("C{id:03X}")),
        vec![&Name::new("_HID".into(), &"ACPI0007"), &Name::new("_UID".into(), &id)],
    )
    .to_aml_bytes(to);
}
