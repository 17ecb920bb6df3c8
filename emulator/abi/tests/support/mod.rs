//! A small guest for plugins to watch.
#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use emu_abi::{Entry, GivenValue, PluginSlot, Services, SlotConfig, StartError, check_args};
use emu_cpu::{CpuHeader, GuestArch};
use emu_engine::{Engine, EngineConfig, OwnerId, Slice, Stop};
use emu_ir::TrapKind;
use emu_mem::{Mapping, Prot};
use emu_x86::{X86_64, X86Cpu};
use plugin_api::abi::PluginEntry;

/// ```text
///  0  mov ecx, 3
///  5  nop
///  6  mov [rbx], ecx
///  8  mov edx, [rbx]
/// 10  dec ecx
/// 12  jne 5
/// 14  ud2
/// ```
/// 16 instructions retire, with 3 loads and 3 stores.
const CODE: [u8; 16] =
    [0xb9, 3, 0, 0, 0, 0x90, 0x89, 0x0b, 0x8b, 0x13, 0xff, 0xc9, 0x75, 0xf7, 0x0f, 0x0b];

pub struct Guest {
    pub engine: Engine,
    pub cpu: *mut X86Cpu,
    pub code: u64,
    pub data: u64,
    pub services: Rc<Services>,
    pub log: Arc<Mutex<Vec<String>>>,
    next_owner: RefCell<u32>,
}

impl Guest {
    pub fn new() -> Guest {
        // SAFETY: a fresh mapping.
        let at = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(
                core::ptr::null_mut(),
                0x2000,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED);
        let code = at as u64;
        let data = code + 0x1000;
        let engine = Engine::new(&X86_64, EngineConfig::default());
        {
            let mut space = engine.shared().space.borrow_mut();
            space.insert(code, data, Mapping::anonymous(Prot(7), "code"));
            space.insert(data, data + 0x1000, Mapping::anonymous(Prot::RW, "data"));
        }
        assert!(engine.shared().write_memory(code, &CODE));
        let cpu = X86_64.new_cpu().cast::<X86Cpu>();
        let services = Rc::default();
        let log = Arc::default();
        let next_owner = RefCell::new(1);
        let mut guest = Guest { engine, cpu, code, data, services, log, next_owner };
        guest.restart();
        guest
    }

    pub fn cpu(&mut self) -> &mut X86Cpu {
        // SAFETY: alive until drop; only this borrow uses it.
        unsafe { &mut *self.cpu }
    }

    /// Back to the first instruction.
    pub fn restart(&mut self) {
        let (code, data) = (self.code, self.data);
        let cpu = self.cpu();
        cpu.hdr.pc = code;
        cpu.gpr[3] = data;
        cpu.gpr[4] = data + 0x800;
    }

    /// Runs from the first instruction to the `ud2`, or to a stop request.
    pub fn run(&mut self) -> Option<TrapKind> {
        self.restart();
        loop {
            // SAFETY: the CPU is alive and not otherwise used.
            match unsafe { self.engine.run(self.cpu.cast::<CpuHeader>(), Slice::About(1 << 30)) } {
                Stop::Trap(t) => return Some(t.kind),
                Stop::Interrupted if self.engine.shared().stop_request().is_some() => return None,
                Stop::Interrupted => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn config(&self) -> SlotConfig {
        let log = self.log.clone();
        SlotConfig {
            host_name: "test".to_owned(),
            host_version: "1".to_owned(),
            out_dir: std::env::temp_dir().to_string_lossy().into_owned(),
            continued: false,
            reply: |_, _| {},
            log: Arc::new(move |name, level, text| {
                log.lock().unwrap().push(format!("{name} {level} {text}"));
            }),
            log_level: 5,
            hide_fd: |_, _| {},
            services: self.services.clone(),
            load: Rc::new(|_, _, _| false),
        }
    }

    /// Starts a plugin.
    pub fn start(&self, at: *const PluginEntry) -> Result<PluginSlot, StartError> {
        self.start_with(at, &[])
    }

    pub fn start_with(
        &self,
        at: *const PluginEntry,
        args: &[(String, GivenValue)],
    ) -> Result<PluginSlot, StartError> {
        // SAFETY: an entry that is never unloaded.
        let entry = unsafe { Entry::read(at) }.unwrap();
        let values = check_args(&entry.args, args).unwrap();
        let owner = OwnerId(*self.next_owner.borrow());
        *self.next_owner.borrow_mut() += 1;
        let shared = self.engine.shared();
        // SAFETY: as above; this is the run thread.
        unsafe { PluginSlot::start(&entry, shared, owner, self.config(), &values) }
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: made by `new`; nothing uses them any more.
        unsafe {
            X86_64.free_cpu(self.cpu.cast());
            libc::munmap(self.code as *mut _, 0x2000);
        }
    }
}
