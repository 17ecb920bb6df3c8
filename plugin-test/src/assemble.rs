//! From assembly text to bytes, with the system's assembler.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::TestError;

/// Assembles GNU syntax for the address `code`; `symbols` are known to the text.
pub fn assemble(
    text: &str,
    wide: bool,
    code: u64,
    symbols: &[(&str, u64)],
) -> Result<Vec<u8>, TestError> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let n = SERIAL.fetch_add(1, Ordering::Relaxed);
    let stem = std::env::temp_dir().join(format!("panda-asm-{}-{n}", std::process::id()));
    let (object, linked, binary) =
        (stem.with_extension("o"), stem.with_extension("elf"), stem.with_extension("bin"));
    let result = (|| {
        let mut gas = Command::new("as");
        gas.arg(if wide { "--64" } else { "--32" }).arg("-o").arg(&object);
        for (name, value) in symbols {
            gas.arg("--defsym").arg(format!("{name}={value}"));
        }
        run(&mut gas, text.as_bytes())?;
        let emulation = if wide { "elf_x86_64" } else { "elf_i386" };
        let mut ld = Command::new("ld");
        ld.args(["-m", emulation, "-e", &code.to_string(), "-Ttext", &format!("{code:#x}"), "-o"]);
        run(ld.arg(&linked).arg(&object), &[])?;
        let mut objcopy = Command::new("objcopy");
        run(objcopy.args(["-O", "binary", "-j", ".text"]).arg(&linked).arg(&binary), &[])?;
        std::fs::read(&binary).map_err(|e| TestError::Assembler(e.to_string()))
    })();
    for file in [object, linked, binary] {
        // It is not there when an earlier step failed.
        let _ = std::fs::remove_file(file);
    }
    result
}

fn run(command: &mut Command, input: &[u8]) -> Result<(), TestError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| TestError::NoAssembler { program, source })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read says why on its own.
        let _ = stdin.write_all(input);
    }
    let out = child.wait_with_output().map_err(|e| TestError::Assembler(e.to_string()))?;
    if out.status.success() {
        return Ok(());
    }
    Err(TestError::Assembler(String::from_utf8_lossy(&out.stderr).trim().to_owned()))
}
