//! Guests of a few instructions: they write a line and end with a status of their own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const STATUS: i32 = 42;
const LINE: &[u8] = b"ok\n";
const BASE: u32 = 0x40_0000;

/// Runs the guest under the plugin. The note tells of a plugin that refuses such guests.
pub fn run(file: &Path, dir: &Path, guest: &[u8]) -> Result<String, String> {
    let io = |e: std::io::Error| format!("the guest cannot be written: {e}");
    let (program, config) = (dir.join("guest"), dir.join("config.toml"));
    std::fs::write(&program, guest).map_err(io)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).map_err(io)?;
    std::fs::write(&config, "on_plugin_failure = \"stop\"\n").map_err(io)?;
    let out = std::env::current_exe()
        .and_then(|exe| {
            Command::new(exe)
                .arg("--config")
                .arg(&config)
                .arg("--out-dir")
                .arg(dir)
                .arg("--plugins")
                .arg(file)
                .arg("--")
                .arg(&program)
                .output()
        })
        .map_err(|e| format!("the host cannot be started: {e}"))?;
    let stderr = String::from_utf8_lossy(&out.stderr);
    let line = stderr.lines().find(|l| l.contains("error")).unwrap_or_default();
    if line.contains("did not start") || line.contains("takes no default") {
        return Ok(format!("not run: {line}"));
    }
    if out.status.code() != Some(STATUS) {
        return Err(format!("the guest ended with {} instead of {STATUS}; {line}", out.status));
    }
    if out.stdout != LINE {
        return Err(format!("the guest wrote {:?}", String::from_utf8_lossy(&out.stdout)));
    }
    Ok(String::new())
}

/// The code with its line behind it, in an executable of one segment.
fn elf(wide: bool, code: &[u8]) -> Vec<u8> {
    let header = if wide { 64 + 56 } else { 52 + 32 };
    let total = (header + code.len() + LINE.len()) as u64;
    let entry = u64::from(BASE) + header as u64;
    let mut out = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1];
    out.resize(16, 0);
    let half = |out: &mut Vec<u8>, values: &[u16]| {
        out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    };
    let long = |out: &mut Vec<u8>, values: &[u32]| {
        out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    };
    let word = |out: &mut Vec<u8>, values: &[u64]| {
        for v in values {
            let bytes = v.to_le_bytes();
            out.extend_from_slice(if wide { &bytes } else { &bytes[..4] });
        }
    };
    // Executable; EM_X86_64 or EM_386; version 1.
    half(&mut out, &[2, if wide { 62 } else { 3 }]);
    long(&mut out, &[1]);
    word(&mut out, &[entry, if wide { 64 } else { 52 }, 0]);
    long(&mut out, &[0]);
    half(&mut out, if wide { &[64, 56, 1, 0, 0, 0] } else { &[52, 32, 1, 0, 0, 0] });
    // PT_LOAD of the whole file, readable and executable.
    let base = u64::from(BASE);
    if wide {
        long(&mut out, &[1, 5]);
        word(&mut out, &[0, base, base, total, total, 0x1000]);
    } else {
        long(&mut out, &[1, 0, BASE, BASE, total as u32, total as u32, 5, 0x1000]);
    }
    out.extend_from_slice(code);
    out.extend_from_slice(LINE);
    out
}

/// `write(1, line, 3); exit(42)` for x86-64.
pub fn elf64() -> Vec<u8> {
    #[rustfmt::skip]
    let mut code = vec![
        0xb8, 1, 0, 0, 0,               // mov eax, 1 (write)
        0xbf, 1, 0, 0, 0,               // mov edi, 1
        0xbe, 0, 0, 0, 0,               // mov esi, line
        0xba, 3, 0, 0, 0,               // mov edx, 3
        0x0f, 0x05,                     // syscall
        0xb8, 60, 0, 0, 0,              // mov eax, 60 (exit)
        0xbf, 42, 0, 0, 0,              // mov edi, 42
        0x0f, 0x05,                     // syscall
    ];
    let line = BASE + (64 + 56 + code.len()) as u32;
    code[11..15].copy_from_slice(&line.to_le_bytes());
    elf(true, &code)
}

/// The same for i386.
pub fn elf32() -> Vec<u8> {
    #[rustfmt::skip]
    let mut code = vec![
        0xb8, 4, 0, 0, 0,               // mov eax, 4 (write)
        0xbb, 1, 0, 0, 0,               // mov ebx, 1
        0xb9, 0, 0, 0, 0,               // mov ecx, line
        0xba, 3, 0, 0, 0,               // mov edx, 3
        0xcd, 0x80,                     // int 0x80
        0xb8, 1, 0, 0, 0,               // mov eax, 1 (exit)
        0xbb, 42, 0, 0, 0,              // mov ebx, 42
        0xcd, 0x80,                     // int 0x80
    ];
    let line = BASE + (52 + 32 + code.len()) as u32;
    code[11..15].copy_from_slice(&line.to_le_bytes());
    elf(false, &code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_run_natively_as_expected() {
        let dir = std::env::temp_dir().join(format!("panda-tiny-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in [("64", elf64()), ("32", elf32())] {
            let path = dir.join(name);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
            let out = Command::new(&path).output().unwrap();
            assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(STATUS), LINE), "{name}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
