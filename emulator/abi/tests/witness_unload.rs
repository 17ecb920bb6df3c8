//! The layout check keeps no pointer into a library: a plugin that was unmapped does not disturb the next check.

use std::path::{Path, PathBuf};
use std::process::Command;

use plugin_api::abi::PluginEntry;

/// The Rust plugin that was built once against API 1.0.
fn frozen() -> PathBuf {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/frozen/1.0/panda_frozen_rust.so.gz");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panda_frozen_rust.so");
    let out = std::fs::File::create(&library).unwrap();
    assert!(Command::new("gzip").arg("-dc").arg(packed).stdout(out).status().unwrap().success());
    library
}

#[test]
fn checks_go_on_after_libraries_are_unmapped() {
    let original = frozen();
    for n in 0..50 {
        // A path of its own each time, as the loader knows libraries by their file.
        let copy = original.with_file_name(format!("frozen-{n}.so"));
        std::fs::copy(&original, &copy).unwrap();
        // SAFETY: a plugin; nothing of it is used once it is closed.
        unsafe {
            let library = libloading::Library::new(&copy).unwrap();
            let entry: libloading::Symbol<*const PluginEntry> =
                library.get(b"panda_plugin_entry_v1").unwrap();
            let entry = emu_abi::Entry::read(*entry).unwrap();
            assert_eq!((entry.name.as_str(), entry.api), ("frozen_rust", (1, 0)));
            let symbol = plugin_api::witness::SYMBOL.as_bytes();
            let witness: libloading::Symbol<*const core::ffi::c_void> =
                library.get(symbol).unwrap();
            let at = witness.try_as_raw_ptr().unwrap();
            assert_eq!(plugin_api::witness::check(at, entry.api.1), Ok(()));
            drop(library);
        }
        std::fs::remove_file(copy).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(!maps.contains("frozen-"), "it is unmapped");
    }
}
