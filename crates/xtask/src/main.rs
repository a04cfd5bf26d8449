//! Project commands: test, arch, openapi, config, changes.
fn main() {}
