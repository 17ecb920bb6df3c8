//! A plugin library's entry.

use core::ffi::c_void;

use plugin_api::abi::{
    ABI_MAJOR, ABI_MINOR, ArgDesc, ENTRY_MAGIC, HostApi, InitInfo, PandaPlugin, PluginEntry, Str,
};

use crate::ArgSpec;

/// Why an entry cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryError {
    /// The symbol is there, but not what it should be.
    #[error("its entry is not that of a plugin (wrong magic number)")]
    BadMagic,
    /// The structure is shorter than that of version 1.0.
    #[error("its entry is too small ({size} bytes, at least {least} are needed)")]
    TooSmall {
        /// Its size.
        size: u32,
        /// The size of version 1.0.
        least: u32,
    },
    /// Another major version.
    #[error("it was built for plugin API {theirs}.x, this host has {ABI_MAJOR}.{ABI_MINOR}")]
    Major {
        /// The plugin's.
        theirs: u32,
    },
    /// It needs a newer host.
    #[error(
        "it needs plugin API {ABI_MAJOR}.{theirs} or newer, this host has {ABI_MAJOR}.{ABI_MINOR}"
    )]
    MinorTooNew {
        /// What it needs.
        theirs: u32,
    },
    /// A field makes no sense.
    #[error("its entry is damaged: {0}")]
    Damaged(&'static str),
}

/// A plugin's description, copied out of its library; reading it ran none of the plugin's code.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) raw: PluginEntry,
    /// Name by which users load it.
    pub name: String,
    /// Version of the plugin.
    pub version: String,
    /// One line about what it does.
    pub about: String,
    /// API version it was built for: (major, minor).
    pub api: (u32, u32),
    /// Arguments it takes.
    pub args: Vec<ArgSpec>,
    /// Services of other plugins it uses.
    pub requires: Vec<String>,
}

/// Type of a plugin's init function.
pub type InitFn = unsafe extern "C" fn(
    *const HostApi,
    *mut PandaPlugin,
    *const InitInfo,
    *mut *mut c_void,
) -> u32;

/// Lists longer than this are taken for damage.
const MOST: u32 = 4096;

/// Bytes of a `PluginEntry` of version 1.0.
const LEAST: u32 = PluginEntry::SIZE;

impl Entry {
    /// Puts another init in the place of the plugin's own and returns that one; for hosts that try
    /// plugins out.
    pub fn replace_init(&mut self, init: InitFn) -> Option<InitFn> {
        self.raw.init.replace(init)
    }

    /// Addresses of the functions a plugin is started, ended and flushed with; 0 for one it has not.
    pub fn functions(&self) -> [usize; 3] {
        let raw = &self.raw;
        [
            raw.init.map_or(0, |f| f as usize),
            raw.uninit.map_or(0, |f| f as usize),
            raw.flush.map_or(0, |f| f as usize),
        ]
    }

    /// Reads and checks an entry.
    ///
    /// # Safety
    /// `at` points to the symbol [`plugin_api::abi::ENTRY_SYMBOL`] of a library that stays loaded
    /// while this value and every slot made of it are used.
    pub unsafe fn read(at: *const PluginEntry) -> Result<Entry, EntryError> {
        if at.is_null() {
            return Err(EntryError::BadMagic);
        }
        // SAFETY: every entry begins with magic, size and version; nothing behind the size it
        // states is read.
        let (magic, size, major) = unsafe {
            (
                (&raw const (*at).magic).read_unaligned(),
                (&raw const (*at).struct_size).read_unaligned(),
                (&raw const (*at).abi_major).read_unaligned(),
            )
        };
        if magic != ENTRY_MAGIC {
            return Err(EntryError::BadMagic);
        }
        if major != ABI_MAJOR {
            return Err(EntryError::Major { theirs: major });
        }
        if size < LEAST {
            return Err(EntryError::TooSmall { size, least: LEAST });
        }
        // SAFETY: it is at least that large.
        let raw = unsafe { at.read_unaligned() };
        if raw.abi_minor_required > ABI_MINOR {
            return Err(EntryError::MinorTooNew { theirs: raw.abi_minor_required });
        }
        if raw.init.is_none() {
            return Err(EntryError::Damaged("no init function"));
        }
        if raw.args_count > MOST || raw.requires_count > MOST {
            return Err(EntryError::Damaged("absurd number of arguments or services"));
        }
        if raw.args_count > 0 && (raw.args.is_null() || raw.arg_size < ArgDesc::SIZE) {
            return Err(EntryError::Damaged("no argument table"));
        }
        if raw.requires_count > 0 && raw.requires.is_null() {
            return Err(EntryError::Damaged("no table of services"));
        }
        // SAFETY: the library's own table of that length; texts live as long as the library.
        let (args, requires) = unsafe {
            let args = (0..raw.args_count as usize)
                .map(|i| {
                    let at = raw.args.cast::<u8>().add(i * raw.arg_size as usize);
                    ArgSpec::read(&at.cast::<ArgDesc>().read_unaligned())
                })
                .collect::<Option<Vec<_>>>()
                .ok_or(EntryError::Damaged("an argument's choices"))?;
            let requires =
                (0..raw.requires_count as usize).map(|i| text(*raw.requires.add(i))).collect();
            (args, requires)
        };
        // SAFETY: as above.
        let (name, version, about) =
            unsafe { (text(raw.name), text(raw.version), text(raw.about)) };
        if name.is_empty() {
            return Err(EntryError::Damaged("no name"));
        }
        let api = (raw.abi_major, raw.abi_minor_built);
        Ok(Entry { raw, name, version, about, api, args, requires })
    }
}

/// # Safety
/// The text is valid.
pub(crate) unsafe fn text(s: Str) -> String {
    // SAFETY: promised by the caller.
    unsafe { s.text() }.into_owned()
}
