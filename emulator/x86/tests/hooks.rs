//! Accesses that helpers make are reported, each once, and reporting changes nothing.

use std::cell::{Cell, RefCell};

use emu_cpu::{CodeSource, CpuHeader, GuestArch, LiftOptions, MemCall, MemWatch};
use emu_interp::{Interp, MXCSR_ALL_MASKED};
use emu_ir::{HookCell, HookKind, HookSite, When, Within};
use emu_x86::{X86_64, X86Cpu};

const BASE: u64 = 0x40_0000;

struct Bytes(&'static [u8]);

impl CodeSource for Bytes {
    fn window(&mut self, _: u64) -> &[u8] {
        self.0
    }
}

/// One report: (offset in the buffer, size, value, store, before).
type Report = (u64, u64, u64, bool, bool);

thread_local! {
    static REPORTS: RefCell<Vec<Report>> = const { RefCell::new(Vec::new()) };
    static BUFFER: RefCell<u64> = const { RefCell::new(0) };
}

/// The user data says which kind of access it is.
unsafe extern "C" fn record(
    kind: usize,
    _: *mut CpuHeader,
    _: u64,
    addr: u64,
    size: u64,
    data: *const u8,
) {
    let mut value = [0; 8];
    if !data.is_null() {
        // SAFETY: the helper passes the `size` bytes it read or writes.
        let bytes = unsafe { std::slice::from_raw_parts(data, size.min(8) as usize) };
        value[..bytes.len()].copy_from_slice(bytes);
    }
    let at = addr - BUFFER.with(|b| *b.borrow());
    let (store, before) = (kind & 2 != 0, kind & 1 == 0);
    REPORTS.with(|r| r.borrow_mut().push((at, size, u64::from_le_bytes(value), store, before)));
}

/// Reports each access.
fn each() -> &'static MemWatch {
    let cell = |n| HookCell::new(record as *const () as usize, n);
    let cells = Box::leak(Box::new([0, 1, 2, 3].map(cell)));
    // SAFETY: the cells stay; the function is of the type.
    Box::leak(Box::new(unsafe { MemWatch::each(cells) }))
}

unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

/// Runs one instruction on `buffer` with rsi, rdi, rcx set; the registers after and the reports.
fn run(
    code: &'static [u8],
    buffer: &mut [u8],
    (rsi, rdi, rcx): (u64, u64, u64),
    watch: Option<&'static MemWatch>,
) -> ([u64; 16], Vec<Report>) {
    emu_mem::host_fault::install();
    let at = buffer.as_mut_ptr() as u64;
    BUFFER.with(|b| *b.borrow_mut() = at);
    REPORTS.with(|r| r.borrow_mut().clear());
    let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
    let block = X86_64.lift(BASE, &mut Bytes(code), &options);
    let hdr = X86_64.new_cpu();
    // SAFETY: the structure is live until freed; the block was lifted for it; the buffer outlives
    // the run.
    let gpr = unsafe {
        let cpu = &mut *hdr.cast::<X86Cpu>();
        (cpu.gpr[6], cpu.gpr[7], cpu.gpr[1]) = (at + rsi, at + rdi, rcx);
        cpu.gpr[0] = 0x1122_3344_5566_7788;
        cpu.hdr.mem_hook = watch;
        Interp::new(X86_64.helpers(), no_hook).run(hdr, &block, MXCSR_ALL_MASKED);
        let gpr = (*hdr.cast::<X86Cpu>()).gpr;
        assert_eq!((*hdr).take_trap(), None);
        X86_64.free_cpu(hdr);
        gpr
    };
    (gpr, REPORTS.with(|r| r.borrow_mut().drain(..).collect()))
}

fn buffer() -> Vec<u8> {
    (0..64).collect()
}

#[test]
fn watched_and_unwatched_runs_agree() {
    for code in [
        &[0xf3, 0xa4][..],
        &[0xf3, 0xa5],
        &[0xf3, 0x48, 0xab],
        &[0xf3, 0xaa],
        &[0xf3, 0xa6],
        &[0xf2, 0xaf],
        &[0xf3, 0xac],
    ] {
        // Overlapping by 3 bytes, upwards: bytes repeat.
        let (mut a, mut b) = (buffer(), buffer());
        let (plain, none) = run(code, &mut a, (8, 11, 5), None);
        assert!(none.is_empty());
        let (watched, _) = run(code, &mut b, (8, 11, 5), Some(each()));
        let relative = |gpr: [u64; 16], buffer: &[u8]| {
            let at = buffer.as_ptr() as u64;
            (gpr[0], gpr[1], gpr[6] - at, gpr[7] - at)
        };
        assert_eq!(relative(plain, &a), relative(watched, &b), "{code:02x?}");
        assert_eq!(a, b, "{code:02x?}");
    }
}

#[test]
fn each_element_is_reported_before_and_after() {
    let (_, reports) = run(&[0xf3, 0xa4], &mut buffer(), (8, 32, 2), Some(each()));
    assert_eq!(
        reports,
        [
            (8, 1, 0, false, true),
            (8, 1, 8, false, false),
            (32, 1, 8, true, true),
            (32, 1, 8, true, false),
            (9, 1, 0, false, true),
            (9, 1, 9, false, false),
            (33, 1, 9, true, true),
            (33, 1, 9, true, false),
        ]
    );
}

#[test]
fn locked_negation_is_a_read_and_a_write() {
    let mut b = buffer();
    // lock neg dword ptr [rsi]
    let (_, reports) = run(&[0xf0, 0xf7, 0x1e], &mut b, (4, 0, 0), Some(each()));
    let (old, new) = (0x0706_0504u32, 0x0706_0504u32.wrapping_neg());
    assert_eq!(b[4..8], new.to_le_bytes());
    let (old, new) = (u64::from(old), u64::from(new));
    assert_eq!(
        reports,
        [
            (4, 4, 0, false, true),
            (4, 4, old, false, false),
            (4, 4, new, true, true),
            (4, 4, new, true, false),
        ]
    );
}

#[test]
fn a_failed_exchange_reports_the_value_written_back() {
    let mut b = buffer();
    let before = b.clone();
    // cmpxchg8b [rsi]: edx:eax does not match.
    let (gpr, reports) = run(&[0x0f, 0xc7, 0x0e], &mut b, (8, 0, 0), Some(each()));
    let old = 0x0f0e_0d0c_0b0a_0908;
    assert_eq!((gpr[0], gpr[2]), (old & 0xffff_ffff, old >> 32));
    assert_eq!(b, before);
    assert_eq!(
        reports,
        [
            (8, 8, 0, false, true),
            (8, 8, old, false, false),
            (8, 8, old, true, true),
            (8, 8, old, true, false)
        ]
    );
}

#[test]
fn accesses_that_are_only_counted_are_as_many() {
    for (code, loads, stores) in [
        (&[0xf3, 0xa4][..], 5, 5),
        (&[0xf3, 0x66, 0xa5], 5, 5),
        (&[0xf3, 0xaa], 0, 5),
        (&[0xf3, 0xab], 0, 5),
    ] {
        let of = |reports: &[Report], write| {
            reports.iter().filter(|r| r.3 == write && !r.4).count() as u64
        };
        let (_, all) = run(code, &mut buffer(), (8, 32, 5), Some(each()));
        assert_eq!((of(&all, false), of(&all, true)), (loads, stores), "{code:02x?}");
        let numbers: &[Cell<u64>; 2] = Box::leak(Box::default());
        let counter = |n: usize| (numbers[n].as_ptr() as usize, 3);
        // SAFETY: the numbers stay.
        let counting = unsafe { MemWatch::counting(&[counter(0)], &[counter(1)]) };
        let counting = Box::leak(Box::new(counting));
        let (_, single) = run(code, &mut buffer(), (8, 32, 5), Some(counting));
        assert!(single.is_empty(), "{code:02x?}: {single:?}");
        let counted = numbers.each_ref().map(Cell::get);
        assert_eq!(counted, [3 * loads, 3 * stores], "{code:02x?}");
    }
}

#[test]
fn conditions_leave_accesses_out() {
    let mut b = buffer();
    let at = b.as_mut_ptr() as u64;
    let mut watch = MemWatch::default();
    let add = |watch: &mut MemWatch, kind: HookKind, number, when| {
        let cell = Box::leak(Box::new(HookCell::new(record as *const () as usize, number)));
        cell.left.set(2);
        cell.every.set(2);
        let call = MemCall { cell, withheld: 0, counts_calls: true, when };
        // SAFETY: the cell stays; the function is of the type.
        unsafe { watch.call(kind, call) };
        &*cell
    };
    let within = Some(Within { from: at + 34, to: at + 36 });
    let near = add(&mut watch, HookKind::AfterWrite, 3, When { within, countdown: false });
    let second = add(&mut watch, HookKind::AfterRead, 1, When { within: None, countdown: true });
    let watch = Box::leak(Box::new(watch));
    let (_, reports) = run(&[0xf3, 0xa4], &mut b, (8, 32, 5), Some(watch));
    let addresses: Vec<_> = reports.iter().map(|r| r.0).collect();
    assert_eq!(addresses, [9, 34, 11, 35]);
    assert_eq!((near.calls.get(), second.calls.get()), (2, 2));
}
