//! From an op's kind and parameters to its handler: the table of all fast forms, spelled out by the compiler.

use super::body::*;
use super::branch::*;
use super::float::*;
use super::native::*;
use super::op::Handler;
use super::threaded;
use super::vector::*;
use super::watch::Watch;
use super::wide::*;

/// The handler's address, as an op stores it.
fn address(h: Handler) -> u64 {
    h as usize as u64
}

/// `pick!(Name [] (value; literals…)…)`: the handler of `Name` with each parameter equal to its value, `None` when a value
/// is not among the literals.
macro_rules! pick {
    ($name:ident [$($done:literal)*]) => { Some(address(threaded::<$name<$($done),*>, Eye>)) };
    ($name:ident [$($done:literal)*] ($v:expr; $($k:literal)*) $($rest:tt)*) => {
        pick!(@ $name [$($done)*] ($v; $($k)*) [$($rest)*])
    };
    (@ $name:ident $done:tt ($v:expr; $($k:literal)*) $rest:tt) => {
        match $v {
            $( $k => pick!(@@ $name $done $k $rest), )*
            _ => None,
        }
    };
    (@@ $name:ident [$($done:literal)*] $k:literal [$($rest:tt)*]) => { pick!($name [$($done)* $k] $($rest)*) };
}

macro_rules! table {
    ($($f:ident = $name:ident($($p:ident: [$($k:literal)*]),*);)*) => { $(
        pub(super) fn $f<Eye: Watch>($($p: usize),*) -> Option<u64> {
            pick!($name [] $(($p; $($k)*))*)
        }
    )* };
}

table! {
    alu_rr = AluRr(o: [0 1 2 3 4 5 6 7 8], w: [0 1 2 3], fl: [0 1]);
    alu_ri = AluRi(o: [0 1 2 3 4 5 6 7 8], w: [0 1 2 3], fl: [0 1]);
    alu_rm = AluRm(o: [0 1 2 3 4 5 6 7 8], w: [0 1 2 3], fl: [0 1], am: [0 5]);
    alu_mr = AluMr(o: [0 1 2 3 4 5 6 7 8], w: [0 1 2 3], fl: [0 1], am: [0 5]);
    alu_mi = AluMi(o: [0 1 2 3 4 5 6 7 8], w: [0 1 2 3], fl: [0 1], am: [0 5]);
    alu_mi32 = AluMi32(o: [0 1 2 3 4 5 6 7 8], w: [0 1 2 3], fl: [0 1], am: [5]);
    mov_rr = MovRr(w: [0 1 2 3]);
    mov_ri = MovRi(w: [0 1 2 3]);
    load = Load(w: [0 1 2 3], x: [0 1 2 3], am: [0 1 2 3 4]);
    store = Store(w: [0 1 2 3], am: [0 1 2 3 4]);
    store_i = StoreI(w: [0 1 2 3], am: [0 5]);
    store_i32 = StoreI32(w: [0 1 2 3], am: [0 5]);
    lea = Lea(w: [1 2 3], am: [0 1 2 3 4]);
    extend = Extend(w: [0 1 2], x: [0 1 2 3]);
    shift_i = ShiftI(o: [0 1 4 5 7], w: [0 1 2 3], fl: [0 1]);
    shift_c = ShiftC(o: [0 1 4 5 7], w: [0 1 2 3], fl: [0 1]);
    shift_x = ShiftX(o: [4 5 7], w: [2 3]);
    rorx = Rorx(w: [2 3]);
    andn = Andn(w: [2 3], fl: [0 1]);
    double = Double(o: [0 1], w: [2 3]);
    inc = Inc(w: [0 1 2 3], fl: [0 1]);
    dec = Dec(w: [0 1 2 3], fl: [0 1]);
    step_m = StepM(o: [0 1], w: [0 1 2 3], fl: [0 1], am: [5]);
    neg = Neg(w: [0 1 2 3], fl: [0 1]);
    not = Not(w: [0 1 2 3]);
    imul_rr = ImulRr(w: [1 2 3], fl: [0 1]);
    imul_rri = ImulRri(w: [1 2 3], fl: [0 1]);
    imul_rm = ImulRm(w: [1 2 3], fl: [0 1]);
    mul_r = MulR(w: [2 3], fl: [0 1]);
    mul_m = MulM(w: [2 3], fl: [0 1]);
    mulx = Mulx(w: [2 3]);
    bswap = Bswap(w: [2 3]);
    widen = Widen(w: [1 2 3]);
    sign = Sign(w: [1 2 3]);
    bit_test = BitTest(w: [1 2 3]);
    set_cc = Set(cc: [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15], p: [0 1 2 3 4 5 6 7 8]);
    set_m = SetM(cc: [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]);
    cmov = Cmov(cc: [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15], p: [2 3 6 7 8], w: [2 3]);
    cmov_m = CmovM(cc: [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15], w: [2 3]);
    xchg_rr = XchgRr(w: [0 1 2 3]);
    xchg_m = XchgM(w: [0 1 2 3]);
    cmpxchg_m = CmpxchgM(w: [0 1 2 3]);
    xadd_m = XaddM(w: [0 1 2 3], fl: [0 1]);
    jcc = Jcc(cc: [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15], p: [0 1 2 3 4 5 6 7 8], cross: [0 1]);
    cmp_jcc_rr = CmpJccRr(cc: [2 3 4 5 6 7 8 9 12 13 14 15], w: [0 1 2 3], cross: [0 1]);
    cmp_jcc_ri = CmpJccRi(cc: [2 3 4 5 6 7 8 9 12 13 14 15], w: [0 1 2 3], cross: [0 1]);
    cmp_jcc_mi = CmpJccMi(cc: [2 3 4 5 6 7 8 9 12 13 14 15], w: [0 1 2 3], cross: [0 1]);
    cmp_jcc_rm = CmpJccRm(cc: [2 3 4 5 6 7 8 9 12 13 14 15], w: [0 1 2 3], cross: [0 1]);
    test_jcc_rr = TestJccRr(cc: [4 5 8 9 12 13 14 15], w: [0 1 2 3], cross: [0 1]);
    test_jcc_ri = TestJccRi(cc: [4 5 8 9 12 13 14 15], w: [0 1 2 3], cross: [0 1]);
    test_jcc_mi = TestJccMi(cc: [4 5 8 9], w: [0 1 2 3], cross: [0 1]);
    sub_jcc_rr = SubJccRr(cc: [2 3 4 5 6 7 8 9 12 13 14 15], w: [2 3], cross: [0 1]);
    sub_jcc_ri = SubJccRi(cc: [2 3 4 5 6 7 8 9 12 13 14 15], w: [2 3], cross: [0 1]);
    add_jcc_ri = AddJccRi(cc: [4 5 8 9], w: [2 3], cross: [0 1]);
    and_jcc_ri = AndJccRi(cc: [4 5 8 9], w: [2 3], cross: [0 1]);
    dec_jcc = DecJcc(cc: [4 5 8 9], w: [2 3], cross: [0 1]);
    goto = Goto(cross: [0 1]);
    call = Call(cross: [0 1]);
    v_mov = VMov(k: [3 4 5 6]);
    v_mov_low = VMovLow(w: [2 3]);
    v_load_low = VLoadLow(w: [2 3], am: [0 5], k: [3 4]);
    v_store_low = VStoreLow(w: [2 3], am: [0 5]);
    v_load = VLoad(al: [0 1], k: [3 4 5 6], am: [0 5]);
    v_store = VStore(al: [0 1], k: [3 4 5 6], am: [0 5]);
    v_load_half = VLoadHalf(h: [0 1]);
    v_store_half = VStoreHalf(h: [0 1]);
    v_from_reg = VFromReg(w: [2 3], k: [3 4]);
    v_to_reg = VToReg(w: [2 3]);
    v_lanes_rr = VLanesRr(o: [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19], k: [3 4 5 6]);
    v_lanes_rm = VLanesRm(o: [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19], k: [3 4 5 6]);
    v_mask_rr = VMaskRr(o: [12 13 14 15 20 24 28 30 31], k: [4 5 6]);
    v_mask_rm = VMaskRm(o: [12 13 14 15 20 24 28 30 31], k: [4 5 6]);
    v_permute64 = VPermute64(k: [5]);
    v_halves = VHalves(k: [5]);
    v_spread_reg = VSpreadReg(e: [0 1 2 3], k: [4 5 6]);
    v_spread_low = VSpreadLow(e: [0 1 2 3], k: [4 5 6]);
    v_spread_mem = VSpreadMem(e: [0 1 2 3], k: [4 5 6]);
    v_ternary = VTernary(k: [4 5 6]);
    v_signs = VSigns(e: [0 2 3], k: [4 5]);
    v_load_masked = VLoadMasked(e: [0 1 2 3], k: [4 5 6]);
    v_store_masked = VStoreMasked(e: [0 1 2 3], k: [4 5 6]);
    k_from_reg = KFromReg(w: [0 1 2 3]);
    k_to_reg = KToReg(w: [0 1 2 3]);
    k_mov = KMov(w: [0 1 2 3]);
    k_not = KNot(w: [0 1 2 3]);
    k_two = KTwo(o: [0 1 2 3 4 5 6], w: [0 1 2 3]);
    k_test = KTest(t: [0 1], w: [0 1 2 3]);
    tzcnt = Tzcnt(w: [2 3], fl: [0 1]);
    kernel_rr = KernelRr(s: [0 1 2 3 4 5 6 7], k: [3 4 5]);
    kernel_rm = KernelRm(s: [0 1 2 3 4 5 6 7], k: [3 4 5]);
    kernel_low = KernelLow(s: [3 4 5 7], k: [3 4], w: [2 3]);
    native_rr = NativeRr(k: [3 4 5]);
    native_rm = NativeRm(k: [3 4 5]);
    native_table_rr = NativeTableRr(k: [3 4 5]);
    native_table_rm = NativeTableRm(k: [3 4 5]);
    v_unpack64 = VUnpack64(h: [0 1]);
    fp_rr = FpRr(o: [0 1 2 3 4], w: [2 3]);
    fp_rm = FpRm(o: [0 1 2 3 4], w: [2 3], am: [0 5]);
    fp3_rr = Fp3Rr(o: [0 1 2 3 4], w: [2 3]);
    fp3_rm = Fp3Rm(o: [0 1 2 3 4], w: [2 3]);
    fp_packed_rr = FpPackedRr(o: [0 1 2 3 4], w: [2 3], k: [3 4 5 6]);
    fp_packed_rm = FpPackedRm(o: [0 1 2 3 4], w: [2 3], k: [3 4 5 6]);
    fp_across_rr = FpAcrossRr(o: [0 2], w: [2 3], k: [3 4 5]);
    fp_fused_rr = FpFusedRr(w: [2 3], k: [2 4 5 6]);
    fp_fused_rm = FpFusedRm(w: [2 3], k: [2 4 5 6]);
    fp_compare_rr = FpCompareRr(s: [0 1], w: [2 3]);
    fp_compare_rm = FpCompareRm(s: [0 1], w: [2 3]);
    fp_truncate = FpTruncate(w: [2 3], t: [2 3]);
    fp_from_int = FpFromInt(w: [2 3]);
}

macro_rules! single {
    ($($f:ident = $name:ident;)*) => { $(
        pub(super) fn $f<Eye: Watch>() -> Option<u64> {
            Some(address(threaded::<$name, Eye>))
        }
    )* };
}

single! {
    mov_ri64 = MovRi64;
    get_high = GetHigh;
    put_high = PutHigh;
    push = Push;
    push_i = PushI;
    push2 = Push2;
    push_m = PushM;
    pop = Pop;
    pop2 = Pop2;
    leave64 = Leave64;
    ret = Ret;
    jmp_r = JmpR;
    jmp_m = JmpM;
    call_r = CallR;
    call_m = CallM;
    v_zero_upper = VZeroUpper;
    v_string_rr = VStringRr;
    v_string_rm = VStringRm;
}
