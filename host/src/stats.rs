//! What `--stats` prints.

use std::fmt::Write;
use std::time::Duration;

use emu_engine::Stats;
use plugin_api::abi::kind_name;

use crate::plugin::Plugins;

/// The report, one item a line.
pub fn report(stats: &Stats, wall: Duration, plugins: &Plugins) -> String {
    let mut out = String::new();
    let seconds = wall.as_secs_f64();
    let rate = stats.instructions as f64 / seconds.max(1e-9) / 1e6;
    let _ = writeln!(out, "instructions:        {}", stats.instructions);
    let _ = writeln!(out, "wall time:           {seconds:.3} s");
    let _ = writeln!(out, "speed:               {rate:.1} M instructions/s");
    let _ = writeln!(
        out,
        "blocks translated:   {} ({} instructions, {:.3} s)",
        stats.blocks_translated,
        stats.instructions_translated,
        stats.translation.as_secs_f64()
    );
    let _ = writeln!(
        out,
        "blocks compiled:     {} ({} bytes, {:.3} s)",
        stats.blocks_compiled,
        stats.code_bytes,
        stats.compilation.as_secs_f64()
    );
    let _ = writeln!(out, "blocks reused:       {}", stats.blocks_reused);
    let _ = writeln!(out, "versions of blocks:  {}", stats.block_versions);
    let _ = writeln!(out, "entries into code:   {}", stats.code_entries);
    let _ = writeln!(out, "blocks interpreted:  {}", stats.blocks_interpreted);
    let _ = writeln!(out, "blocks dropped:      {}", stats.blocks_dropped);
    let _ = writeln!(out, "stores into code:    {}", stats.code_writes);
    for c in &stats.callbacks {
        let _ = writeln!(
            out,
            "callbacks:           {} {} {}",
            plugins.name_of(c.owner),
            kind_name(c.kind).unwrap_or("?"),
            c.calls
        );
    }
    out
}
