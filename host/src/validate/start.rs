//! Starting a plugin against the host's own tables, or variants of them.

use core::ffi::c_void;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use emu_abi::{ArgError, InitFn, PluginSlot, Services, SlotConfig, check_args};
use emu_engine::{Engine, EngineConfig, OwnerId, Shared};
use plugin_api::abi::{HostApi, InitInfo, PandaPlugin, Str, level, status};

use crate::discover::SearchPath;
use crate::plugin::{Loaded, provider_of};

/// Which table `init` gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tables {
    /// The host's.
    Normal,
    /// The host's, directly before memory that cannot be read.
    Exact,
    /// The host's with more functions at the end than this version knows.
    Long,
    /// The host's, but no extension table is there.
    NoServices,
}

/// How init went.
#[derive(Debug)]
pub enum Started {
    /// It runs; dropping it ends it.
    Running(Box<Running>),
    /// It said no, and why.
    Refused(String),
}

/// A running plugin with those whose services it needs.
#[derive(Debug)]
pub struct Running {
    /// It; ends first.
    pub plugin: PluginSlot,
    _providers: Vec<PluginSlot>,
}

impl Started {
    /// Ends the plugin; the note for the reader.
    pub fn note(self) -> String {
        match self {
            Started::Running(_) => String::new(),
            Started::Refused(note) => note,
        }
    }
}

/// The plugin's own init while a variant of the table is tried; a check starts one plugin at a time.
static INIT: Mutex<Option<(InitFn, Tables)>> = Mutex::new(None);

thread_local! {
    /// What every plugin of this process is started against, as in a host. An engine for each would leave a
    /// hole of megabytes in the heap, which grows by that much whenever something stays allocated behind it.
    static SHARED: Rc<Shared> =
        Engine::new(emu_linux::Abi::X86_64.arch(), EngineConfig::default()).shared().clone();
}

/// Loads and starts the plugin. A refusal without a reason is an error.
pub fn start(file: &Path, out_dir: &Path, tables: Tables) -> Result<Started, String> {
    let mut loaded = Loaded::open_file(file).map_err(|e| e.to_string())?;
    let values = match check_args(&loaded.entry.args, &[]) {
        Ok(values) => values,
        Err(e @ ArgError::Missing { .. }) => {
            loaded.library.retire();
            return Ok(Started::Refused(format!("not started: {e}")));
        }
        Err(e) => return Err(e.to_string()),
    };
    if tables != Tables::Normal {
        let own = loaded.entry.replace_init(init_with_variant);
        *INIT.lock().unwrap_or_else(PoisonError::into_inner) = own.map(|f| (f, tables));
    }
    let config = SlotConfig {
        host_name: "host".into(),
        host_version: env!("CARGO_PKG_VERSION").into(),
        out_dir: out_dir.to_string_lossy().into_owned(),
        continued: false,
        reply: |_, _| {},
        log: Arc::new(|_, _, _| {}),
        log_level: level::TRACE,
        hide_fd: |_, _| {},
        services: Rc::<Services>::default(),
        load: Rc::new(|_, _, _| false),
    };
    let mut providers = Vec::new();
    let shared = SHARED.with(Rc::clone);
    start_providers(&loaded.entry.requires, file, &shared, &config, &mut providers)?;
    let owner = OwnerId(providers.len() as u32 + 1);
    // SAFETY: the library is never unmapped; callbacks and init run on this thread only.
    let slot = unsafe { PluginSlot::start(&loaded.entry, &shared, owner, config, &values) };
    loaded.library.retire();
    match slot {
        Ok(plugin) => Ok(Started::Running(Box::new(Running { plugin, _providers: providers }))),
        Err(e) if e.reason.contains("without giving a reason") => Err(e.reason),
        Err(e) => Ok(Started::Refused(format!("init refused: {}", e.reason))),
    }
}

/// Starts the plugins whose services are required, from beside the plugin or where the host looks.
fn start_providers(
    requires: &[String],
    file: &Path,
    shared: &Rc<Shared>,
    config: &SlotConfig,
    started: &mut Vec<PluginSlot>,
) -> Result<(), String> {
    for id in requires {
        if config.services.has(id) {
            continue;
        }
        // Each provider adds a service; a chain that does not is a cycle.
        if started.len() > 32 {
            return Err(format!("the service `{id}` needs itself"));
        }
        let beside: Vec<_> = file.parent().map(Path::to_owned).into_iter().collect();
        let name = provider_of(id);
        let Ok(loaded) = Loaded::open(name, &SearchPath::new(&beside, &[])) else {
            return Err(format!(
                "it needs the service `{id}`, and there is no plugin `{name}`; put it beside the plugin"
            ));
        };
        start_providers(&loaded.entry.requires, file, shared, config, started)?;
        let values = check_args(&loaded.entry.args, &[])
            .map_err(|e| format!("`{name}`, whose service it needs, does not start: {e}"))?;
        let owner = OwnerId(started.len() as u32 + 1);
        // SAFETY: as in `start`.
        let slot =
            unsafe { PluginSlot::start(&loaded.entry, shared, owner, config.clone(), &values) };
        loaded.library.retire();
        started.push(slot.map_err(|e| format!("`{name}`, whose service it needs: {e}"))?);
    }
    Ok(())
}

unsafe extern "C" fn no_extension(_: *const HostApi, _: *mut PandaPlugin, _: Str) -> *const c_void {
    core::ptr::null()
}

/// Calls the plugin's init with a variant of the table it was called with.
unsafe extern "C" fn init_with_variant(
    host: *const HostApi,
    plugin: *mut PandaPlugin,
    info: *const InitInfo,
    state: *mut *mut c_void,
) -> u32 {
    let Some((init, tables)) = *INIT.lock().unwrap_or_else(PoisonError::into_inner) else {
        return status::FAILED;
    };
    // SAFETY: the host calls this with its own complete table.
    let mut api = unsafe { host.read() };
    let size = size_of::<HostApi>();
    // The table lives as long as the process, which does one check.
    let at: *mut HostApi = match tables {
        Tables::Exact => match table_at_end_of_page(size) {
            Some(at) => at.cast(),
            None => return status::UNSUPPORTED,
        },
        // Pages of zeros behind it: functions this version does not know, and that are not there.
        _ => Box::leak(Box::new([0u64; 512])).as_mut_ptr().cast(),
    };
    match tables {
        Tables::Long => {
            api.struct_size = (size + 256) as u32;
            api.abi_minor += 1;
        }
        Tables::NoServices => api.get_extension = Some(no_extension),
        Tables::Normal | Tables::Exact => {}
    }
    // SAFETY: there is room for a table, aligned; the rest is passed on as it came.
    unsafe {
        at.write(api);
        init(at, plugin, info, state)
    }
}

/// Room for `size` bytes (a multiple of 8) at the end of a page; behind it is no memory.
fn table_at_end_of_page(size: usize) -> Option<*mut u8> {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
    const PAGE: usize = 4096;
    // SAFETY: a new mapping, and the protection of its second page, which nothing uses.
    unsafe {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let base = mmap_anonymous(core::ptr::null_mut(), 2 * PAGE, prot, MapFlags::PRIVATE).ok()?;
        let second = base.cast::<u8>().add(PAGE);
        mprotect(second.cast(), PAGE, MprotectFlags::empty()).ok()?;
        Some(second.sub(size))
    }
}
