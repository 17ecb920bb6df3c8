use core::ffi::c_void;
use std::cell::RefCell;

use plugin_api::abi::{
    CallInfo, CallStackApi, PandaCpu, ThreadInfo, call_event, call_flags, fork_side, kind, status,
};
use plugin_api::testing::MockHost;

use super::*;

fn start() -> (MockHost, CallStackApi) {
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host.set_reg("rsp", 0x8000);
    let table = host.service::<CallStackApi>().expect("the service");
    (host, table)
}

/// A call at `pc` to `callee` that pushes its return address at `slot`.
fn call(host: &MockHost, pc: u64, callee: u64, slot: u64) {
    let asked = host.insn_translate(pc, &[0xe8, 0, 0, 0, 0]);
    assert!(asked);
    host.insn_around(pc, asked, || {
        host.set_reg("rsp", slot);
        host.set_reg("rip", callee);
        host.set_memory(slot, &(pc + 5).to_le_bytes());
    });
}

/// A return at `pc` to `to`, above which the stack pointer is `sp`.
fn ret(host: &MockHost, pc: u64, to: u64, sp: u64) {
    let asked = host.insn_translate(pc, &[0xc3]);
    host.insn_around(pc, asked, || {
        host.set_reg("rsp", sp);
        host.set_reg("rip", to);
    });
}

fn caller(host: &MockHost, table: &CallStackApi) -> Option<u64> {
    let mut out = 0;
    // SAFETY: the plugin's table and the mock's processor.
    let code = unsafe { table.caller.unwrap()(table.context, host.raw_cpu(), &mut out) };
    assert!(matches!(code, status::OK | status::UNKNOWN), "{code}");
    (code == status::OK).then_some(out)
}

#[test]
fn the_caller_is_known_until_the_stack_pointer_rises() {
    let (host, table) = start();
    assert_eq!(caller(&host, &table), None);
    call(&host, 0x1000, 0x2000, 0x7ff8);
    call(&host, 0x2100, 0x3000, 0x7ff0);
    assert_eq!(caller(&host, &table), Some(0x2105));
    type List = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *mut u64, u64, *mut u64) -> u32;
    let list = |f: Option<List>, size: usize| {
        let (mut buf, mut count) = (vec![0u64; size], 0u64);
        // SAFETY: as above.
        let code = unsafe {
            f.unwrap()(table.context, host.raw_cpu(), buf.as_mut_ptr(), size as u64, &mut count)
        };
        assert_eq!((code, count), (status::OK, 2));
        buf
    };
    assert_eq!(list(table.callers, 4), [0x2105, 0x1005, 0, 0]);
    assert_eq!(list(table.functions, 1), [0x3000]);
    host.set_reg("rsp", 0x7ff8);
    assert_eq!(caller(&host, &table), Some(0x1005));
    host.set_reg("rsp", 0x8000);
    assert_eq!(caller(&host, &table), None);
}

#[test]
fn threads_have_calls_of_their_own_and_forget_them_at_their_end() {
    let (host, table) = start();
    call(&host, 0x1000, 0x2000, 0x7ff8);
    host.set_tid(2);
    assert_eq!(caller(&host, &table), None);
    call(&host, 0x1200, 0x2000, 0x7ff0);
    let size = ThreadInfo::SIZE;
    let ended = ThreadInfo { struct_size: size, tid: 2, pid: 1, status: 0, pc: 0, sp: 0 };
    host.thread(kind::THREAD_EXIT, &ended);
    assert_eq!(caller(&host, &table), None);
    host.set_tid(1);
    assert_eq!(caller(&host, &table), Some(0x1005));
    // A forked child has the calls of the thread that forked.
    host.set_tid(3);
    host.fork(fork_side::CHILD, 1, 3);
    assert_eq!(caller(&host, &table), Some(0x1005));
    host.exec("/bin/other");
    assert_eq!(caller(&host, &table), None);
}

thread_local! {
    static HEARD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

unsafe extern "C" fn hear(_: *mut c_void, _: *mut PandaCpu, event: u32, info: *const CallInfo) {
    // SAFETY: as the contract says.
    let i = unsafe { &*info };
    let what = match (event, i.flags) {
        (call_event::CALL, 0) => "call",
        (call_event::RETURN, 0) => "return",
        (call_event::RETURN, call_flags::UNWOUND) => "unwound",
        other => panic!("{other:?}"),
    };
    HEARD.with_borrow_mut(|h| {
        h.push(format!("{what} {:x} {:x} {:x} {}", i.pc, i.callee, i.returns_to, i.depth));
    });
}

fn listen(table: &CallStackApi, events: u32) -> (u32, u64) {
    let mut id = 0;
    let user = core::ptr::null_mut();
    // SAFETY: the plugin's table.
    let code = unsafe { table.listen.unwrap()(table.context, events, Some(hear), user, &mut id) };
    (code, id)
}

#[test]
fn calls_and_returns_are_told_once_each() {
    let (host, table) = start();
    call(&host, 0x1000, 0x2000, 0x7ff8);
    assert!(!host.insn_translate(0x2050, &[0xc3]), "nobody listens to returns");
    let (code, id) = listen(&table, call_event::CALL | call_event::RETURN);
    assert_eq!(code, status::OK);
    call(&host, 0x2100, 0x3000, 0x7ff0);
    call(&host, 0x3100, 0x4000, 0x7fe8);
    // Two calls end without a return, a third with one.
    host.set_reg("rsp", 0x7ff8);
    assert_eq!(caller(&host, &table), Some(0x1005));
    ret(&host, 0x2050, 0x1005, 0x8000);
    let expected = [
        "call 2100 3000 2105 1",
        "call 3100 4000 3105 2",
        "unwound 3100 4000 3105 2",
        "unwound 2100 3000 2105 1",
        "return 1000 2000 1005 0",
    ];
    assert_eq!(HEARD.take(), expected);
    // SAFETY: the plugin's table.
    let unlisten = |id| unsafe { table.unlisten.unwrap()(table.context, id) };
    assert_eq!((unlisten(id), unlisten(id)), (status::OK, status::STALE_ID));
    call(&host, 0x1000, 0x2000, 0x7ff8);
    assert_eq!(HEARD.take(), [""; 0]);
}

#[test]
fn wrong_arguments_are_refused() {
    let (host, table) = start();
    assert_eq!(listen(&table, 0).0, status::UNKNOWN);
    let null = core::ptr::null_mut();
    // SAFETY: null is looked for.
    unsafe {
        assert_eq!(table.caller.unwrap()(table.context, host.raw_cpu(), null), status::INVALID);
        let callers = table.callers.unwrap();
        let mut count = 0;
        let (context, cpu) = (table.context, host.raw_cpu());
        assert_eq!(callers(context, cpu, null, 0, &mut count), status::OK);
        assert_eq!(callers(context, cpu, null, 1, &mut count), status::INVALID);
        assert_eq!(callers(context, cpu, null, 0, null), status::INVALID);
        let mut id = 0;
        let user = core::ptr::null_mut();
        assert_eq!(table.listen.unwrap()(context, 1, None, user, &mut id), status::INVALID);
    }
}
