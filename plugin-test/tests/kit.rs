//! The test kit, used as an author would.

use plugin_api::prelude::*;
use plugin_test::{End, PluginTest};

struct Probe {
    out: Output,
    result: Reg,
}

impl Plugin for Probe {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        if args.bool("fail") {
            return Err("told to fail".into());
        }
        let stop_at = args.u64("stop_at");
        reg.insn_translate(|_, _, insn| insn.bytes == [0x90])?;
        reg.writes_regs().insn_exec(move |this, cpu, pc| {
            let value = cpu.reg(this.result).unwrap_or(0);
            writeln!(this.out, "nop at +{:x} with {value}", pc & 0xfff);
            if value == stop_at {
                let _ = cpu.request_stop(3, "enough");
            }
            if value == 77 {
                panic!("77 is too much");
            }
            let _ = cpu.set_reg(this.result, value + 1);
        })?;
        reg.syscall_return(|this, _, call, result| {
            writeln!(this.out, "call {} {} gives {result}", call.number, call.args[0]);
        })?;
        reg.guest_exit(|this, _, exit| writeln!(this.out, "{exit:?}"))?;
        let name = if reg.word_size() == 8 { "rax" } else { "eax" };
        Ok(Probe { out: reg.output("probe.txt")?, result: reg.reg(name)? })
    }
}

export_plugin! {
    Probe,
    name: "probe",
    about: "Is tested",
    args: [
        Arg::bool("fail", "fail at once").default("false"),
        Arg::u64("stop_at", "stop at this value").default("99"),
    ]
}

#[test]
fn a_snippet_runs_with_callbacks_registers_memory_and_calls() {
    for wide in [true, false] {
        let mut test = if wide { PluginTest::x86_64() } else { PluginTest::i386() }.unwrap();
        test.load(&panda_plugin_entry_v1, &[]).unwrap();
        let text = if wide {
            "mov $5, %eax\n nop\n mov %eax, data\n mov $39, %eax\n mov $8, %edi\n syscall\n
             mov %eax, data+4\n mov $60, %eax\n mov $7, %edi\n syscall"
        } else {
            "mov $5, %eax\n nop\n mov %eax, data\n mov $39, %eax\n mov $8, %ebx\n int $0x80\n
             mov %eax, data+4\n mov $1, %eax\n mov $7, %ebx\n int $0x80"
        };
        test.asm(text).unwrap();
        test.answers(|number, args| (number == 39).then_some(args[0] as i64 + 100));
        assert_eq!(test.run(), End::Exited(7));
        assert_eq!(test.memory(test.data(), 8), [6, 0, 0, 0, 108, 0, 0, 0]);
        assert_eq!((test.calls("insn_exec"), test.retired()), (1, 10));
        test.unload();
        assert_eq!(test.file("probe.txt"), "nop at +5 with 5\ncall 39 8 gives 108\nExited(7)\n");
    }
}

#[test]
fn stops_faults_and_failures_are_told() {
    let mut test = PluginTest::x86_64().unwrap();
    let error = test.load(&panda_plugin_entry_v1, &[("fail", "true")]).unwrap_err().to_string();
    assert_eq!(error, "the plugin does not start: told to fail");
    let error = test.load(&panda_plugin_entry_v1, &[("stop", "1")]).unwrap_err().to_string();
    assert!(error.contains("stop_at"), "{error}");
    test.load(&panda_plugin_entry_v1, &[("stop_at", "1")]).unwrap();
    test.code(&[0x90, 0x90, 0x0f, 0x0b]).unwrap();
    test.set_reg("rax", 77);
    assert_eq!(test.run(), End::Fault);
    assert!(test.failure().is_some_and(|f| f.contains("77 is too much")));

    let mut test = PluginTest::x86_64().unwrap();
    test.load(&panda_plugin_entry_v1, &[("stop_at", "1")]).unwrap();
    test.code(&[0x90, 0xeb, 0xfd]).unwrap();
    assert_eq!(test.run(), End::Stopped(3, "plugin probe: enough".to_owned()));
    assert_eq!(test.calls("insn_exec"), 2);
}

#[test]
fn text_that_is_no_assembly_is_refused_with_the_assemblers_words() {
    let mut test = PluginTest::x86_64().unwrap();
    let error = test.asm("frobnicate %rax").unwrap_err().to_string();
    assert!(
        error.starts_with("the code does not assemble:") && error.contains("frobnicate"),
        "{error}"
    );
}
