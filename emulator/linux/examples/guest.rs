//! Runs a Linux program without plugins: `guest PROGRAM [ARGS...]`.

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use emu_engine::{Engine, EngineConfig};
use emu_linux::{LoadRequest, Process, end_host_process, load};

fn main() {
    let argv: Vec<Vec<u8>> = std::env::args_os().skip(1).map(OsStringExt::into_vec).collect();
    let Some(name) = argv.first() else {
        eprintln!("usage: guest PROGRAM [ARGS...]");
        std::process::exit(125);
    };
    let name = String::from_utf8_lossy(name);
    let path = load::find_program(&name, std::env::var_os("PATH").as_deref());
    let envp =
        std::env::vars_os().map(|(k, v)| [k.as_bytes(), b"=", v.as_bytes()].concat()).collect();
    let mut engine = Engine::new(&emu_x86::X86_64, EngineConfig::default());
    let loaded = path.and_then(|path| {
        let path = path.into_os_string().into_vec();
        Process::load(
            &LoadRequest { path, argv: argv.clone(), envp, ..Default::default() },
            &mut engine,
        )
    });
    match loaded {
        Err(e) => {
            eprintln!("guest: {e}");
            std::process::exit(e.exit_code());
        }
        Ok(mut process) => {
            let status = process.run(&mut engine);
            end_host_process(status, 1)
        }
    }
}
