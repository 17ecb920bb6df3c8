//! Under the mock host, too, registers are for callbacks whose subscription declared them.

use std::cell::RefCell;

use plugin_api::abi::status;
use plugin_api::prelude::*;
use plugin_api::testing::MockHost;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Tries;

/// What a callback can do with registers: read, read bytes, write, pc, sp.
fn tries(cpu: &mut Cpu<'_>, rax: Reg) -> String {
    let status = |r: Result<(), Error>| r.map_or_else(|e| e.status().unwrap(), |()| status::OK);
    let read = status(cpu.reg(rax).map(drop));
    let bytes = status(cpu.reg_bytes(rax, &mut [0; 8]).map(drop));
    let write = status(cpu.set_reg(rax, 5));
    format!("{read} {bytes} {write} {:#x} {:#x}", cpu.pc(), cpu.sp())
}

impl Plugin for Tries {
    fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
        let rax = reg.reg("rax")?;
        for reg in [reg.no_regs(), reg.clone(), reg.writes_regs()] {
            reg.before_block_exec(move |_, cpu, _| {
                let line = tries(cpu, rax);
                SEEN.with_borrow_mut(|s| s.push(line));
            })?;
        }
        Ok(Tries)
    }
}

export_plugin! {
    Tries,
    name: "tries",
    about: "Tries accesses to registers",
    args: []
}

#[test]
fn what_was_not_declared_is_refused() {
    let mut host = MockHost::new();
    host.set_reg("rax", 1);
    host.set_reg("rip", 0x1000);
    host.set_reg("rsp", 0x8000);
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host.block(0x1000, 1);
    let not = status::NOT_DECLARED;
    SEEN.with_borrow(|seen| {
        assert_eq!(seen[0], format!("{not} {not} {not} 0x0 0x0"));
        assert_eq!(seen[1], format!("0 0 {not} 0x1000 0x8000"));
        assert_eq!(seen[2], "0 0 0 0x1000 0x8000");
    });
    assert_eq!(host.reg("rax"), 5);
}
