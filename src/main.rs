//! Hands over to the command line.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Gives back what a busy hour took: with the C library's, the daemon stays at its largest.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    origo_adapter::cli::main()
}
