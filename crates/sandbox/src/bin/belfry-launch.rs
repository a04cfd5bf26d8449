//! The launcher alone, for tests of crates that have no `belfry` binary; the server starts itself instead.

use std::process::ExitCode;

fn main() -> ExitCode {
    belfry_sandbox::launch()
}
