//! Protection keys, five levels, canonical addresses: page faults with exact error codes.
//!
//! In the spirit of x86/pku.c and x86/la57.c of kvm-unit-tests.

use super::super::Program;
use super::super::boot::PAGE_TABLES;
use super::{Checks, checks};
use iced_x86::code_asm::*;

const GENERAL_PROTECTION: u32 = 13;
const PAGE_FAULT: u32 = 14;
/// Three tables for linear addresses from 2^39, and the page they map twice: for users, and for the supervisor.
const TABLES: u32 = 0x20_0000;
const PAGE: u32 = 0x30_0000;
const USER_PAGE: u64 = 1 << 39;
const SUPERVISOR_PAGE: u64 = USER_PAGE + 0x1000;
/// Bits of an entry, and of its upper half.
const PRESENT_WRITABLE: u32 = 3;
const USER: u32 = 4;
const KEY_2_HIGH: u32 = 2 << (59 - 32);
/// PKRU: no access and no writes with key 2.
const ACCESS_DISABLED: u32 = 0x10;
const WRITE_DISABLED: u32 = 0x20;
const WP: i32 = 1 << 16;
const PKE: i32 = 1 << 22;
const LA57: i32 = 1 << 12;
/// In R14: nothing faulted.
const NOTHING: u64 = 0x7777;

pub fn write(p: &mut Program) {
    checks(p, body);
}

/// The handlers leave the error code in R14, the address of the instruction in RBP, and go on at R11.
fn body(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let (mut handler, mut start) = (c.p.a.create_label(), c.p.a.create_label());
    c.p.a.jmp(start)?;
    c.p.a.set_label(&mut handler)?;
    c.p.a.pop(r14)?;
    c.p.a.mov(rbp, qword_ptr(rsp))?;
    c.p.a.mov(qword_ptr(rsp), r11)?;
    c.p.a.iretq()?;
    c.p.a.set_label(&mut start)?;
    c.p.set_gate(GENERAL_PROTECTION, handler)?;
    c.p.set_gate(PAGE_FAULT, handler)?;
    map(c)?;
    keys(c)?;
    levels(c)?;
    canonical(c)
}

fn map(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let a = &mut c.p.a;
    let link = PRESENT_WRITABLE | USER;
    a.mov(dword_ptr(PAGE_TABLES + 8), TABLES | link)?;
    a.mov(dword_ptr(TABLES), (TABLES + 0x1000) | link)?;
    a.mov(dword_ptr(TABLES + 0x1000), (TABLES + 0x2000) | link)?;
    a.mov(dword_ptr(TABLES + 0x2000), PAGE | link)?;
    a.mov(dword_ptr(TABLES + 0x2004), KEY_2_HIGH)?;
    a.mov(dword_ptr(TABLES + 0x2008), PAGE | PRESENT_WRITABLE)?;
    a.mov(dword_ptr(TABLES + 0x200c), KEY_2_HIGH)
}

fn set_cr4(c: &mut Checks<'_>, bit: i32) -> Result<(), IcedError> {
    c.p.a.mov(rax, cr4)?;
    c.p.a.or(eax, bit)?;
    c.p.a.mov(cr4, rax)
}

fn set_wp(c: &mut Checks<'_>, on: bool) -> Result<(), IcedError> {
    c.p.a.mov(rax, cr0)?;
    c.p.a.and(eax, !WP)?;
    if on {
        c.p.a.or(eax, WP)?;
    }
    c.p.a.mov(cr0, rax)
}

/// With PKRU as given, reads or writes at `at`: what faults?
fn access(c: &mut Checks<'_>, what: &str, pkru: u32, at: u64, store: bool, error: u64) -> Result<(), IcedError> {
    let mut behind = c.p.a.create_label();
    c.p.a.mov(eax, pkru)?;
    c.p.a.xor(ecx, ecx)?;
    c.p.a.xor(edx, edx)?;
    c.p.a.wrpkru()?;
    c.p.a.mov(r14d, NOTHING as u32)?;
    c.p.a.lea(r11, ptr(behind))?;
    c.p.a.mov(rdi, at)?;
    if store {
        c.p.a.mov(dword_ptr(rdi), 1)?;
    } else {
        c.p.a.mov(eax, dword_ptr(rdi))?;
    }
    c.p.a.set_label(&mut behind)?;
    c.p.a.mov(r12, r14)?;
    c.expect(what, error)
}

fn keys(c: &mut Checks<'_>) -> Result<(), IcedError> {
    set_cr4(c, PKE)?;
    c.p.a.mov(eax, 7)?;
    c.p.a.xor(ecx, ecx)?;
    c.p.a.cpuid()?;
    c.p.a.mov(r12d, ecx)?;
    c.p.a.and(r12d, 0x18)?;
    c.expect("CPUID: protection keys, in use", 0x18)?;
    for wp in [false, true] {
        set_wp(c, wp)?;
        let with = if wp { "with WP" } else { "without WP" };
        for (pkru, name) in [(ACCESS_DISABLED, "no access"), (WRITE_DISABLED, "no writes")] {
            let what = format!("{name}, {with}: a supervisor page has no key");
            access(c, &what, pkru, SUPERVISOR_PAGE, true, NOTHING)?;
        }
        access(c, &format!("no access, {with}: reading"), ACCESS_DISABLED, USER_PAGE, false, 0x21)?;
        access(c, &format!("no access, {with}: writing"), ACCESS_DISABLED, USER_PAGE, true, 0x23)?;
        access(c, &format!("no writes, {with}: reading"), WRITE_DISABLED, USER_PAGE, false, NOTHING)?;
        let barred = if wp { 0x23 } else { NOTHING };
        access(c, &format!("no writes, {with}: writing"), WRITE_DISABLED, USER_PAGE, true, barred)?;
        access(c, &format!("all allowed, {with}: writing"), 0, USER_PAGE, true, NOTHING)?;
    }
    Ok(())
}

fn levels(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.mov(eax, 7)?;
    c.p.a.xor(ecx, ecx)?;
    c.p.a.cpuid()?;
    c.p.a.mov(r12d, ecx)?;
    c.p.a.shr(r12d, 16)?;
    c.p.a.and(r12d, 1)?;
    c.expect("CPUID: five levels", 1)?;
    c.p.a.mov(eax, 0x8000_0008u32)?;
    c.p.a.cpuid()?;
    c.p.a.shr(eax, 8)?;
    c.p.a.movzx(r12d, al)?;
    c.expect("CPUID: linear addresses of 57 bits", 57)?;
    let mut behind = c.p.a.create_label();
    c.p.a.mov(r14d, NOTHING as u32)?;
    c.p.a.lea(r11, ptr(behind))?;
    set_cr4(c, LA57)?;
    c.p.a.set_label(&mut behind)?;
    c.p.a.mov(r12, r14)?;
    c.expect("#GP: LA57 does not change in 64-bit mode", 0)
}

/// JMP, RET, a load and a fetch at addresses that are not canonical.
fn canonical(c: &mut Checks<'_>) -> Result<(), IcedError> {
    for (name, which) in [("JMP", 0), ("RET", 1), ("a load", 2)] {
        let (mut at, mut behind) = (c.p.a.create_label(), c.p.a.create_label());
        c.p.a.mov(r14d, NOTHING as u32)?;
        c.p.a.lea(r11, ptr(behind))?;
        c.p.a.mov(rax, 1u64 << 47)?;
        if which == 1 {
            c.p.a.push(rax)?;
        }
        c.p.a.set_label(&mut at)?;
        match which {
            0 => c.p.a.jmp(rax)?,
            1 => c.p.a.ret()?,
            _ => c.p.a.mov(eax, dword_ptr(rax))?,
        }
        c.p.a.set_label(&mut behind)?;
        if which == 1 {
            c.p.a.pop(rax)?;
        }
        c.p.a.mov(r12, r14)?;
        c.expect(&format!("#GP(0): {name} beyond 47 bits"), 0)?;
        c.p.a.mov(r12, rbp)?;
        c.p.a.lea(r13, ptr(at))?;
        c.expect_r13(&format!("{name}: the fault is at the instruction"))?;
    }
    Ok(())
}
