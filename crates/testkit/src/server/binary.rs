//! Where the built binaries are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// The binary that the tests start: the one named by `BELFRY_BIN`, else the one beside the own executable,
/// which is built first when it is missing or older than its sources.
pub fn binary() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| find().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!("the belfry binary: {error}"))
}

/// The launcher of programs that must not be trusted, as a binary of its own: for tests of crates below `belfry`.
pub fn launcher() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            built("belfry-sandbox", "belfry-launch").map_err(|error| format!("{error:#}"))
        })
        .clone()
        .map_err(|error| anyhow!("the launcher: {error}"))
}

fn find() -> Result<PathBuf> {
    let Some(path) = std::env::var_os("BELFRY_BIN") else {
        return built("belfry", "belfry");
    };
    let path = PathBuf::from(path);
    if !path.is_file() {
        bail!("BELFRY_BIN names {}, which is no file", path.display());
    }
    std::path::absolute(path).context("BELFRY_BIN")
}

fn built(package: &str, name: &str) -> Result<PathBuf> {
    // target/<profile>/deps/<test> or target/<profile>/<program>, and the binary is target/<profile>/<name>.
    let own = std::env::current_exe().context("the own executable")?;
    let folder = own.parent().map(|folder| {
        if folder.ends_with("deps") {
            folder.parent().unwrap_or(folder)
        } else {
            folder
        }
    });
    let folder = folder.context("the own executable is not in a target directory")?;
    let binary = folder.join(name);
    if !is_current(&binary) {
        build(folder, package)?;
    }
    Ok(binary)
}

/// Whether the binary is there and none of the sources that cargo noted for it has changed since. Cheap, because
/// each test asks; `cargo build` would take half a second to say the same.
fn is_current(binary: &Path) -> bool {
    let changed = |path: &Path| {
        path.metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    let (Some(built), Ok(noted)) = (
        changed(binary),
        std::fs::read_to_string(binary.with_extension("d")),
    ) else {
        return false;
    };
    let sources = noted.split_once(": ").map_or("", |(_, sources)| sources);
    // Blanks in paths are written `\ `.
    let sources = sources.replace("\\ ", "\0");
    sources
        .split_whitespace()
        .map(|source| source.replace('\0', " "))
        .all(|source| changed(Path::new(&source)).is_some_and(|changed| changed <= built))
}

/// Builds the binary into the target directory of the test. Tests in several processes may come here at once: cargo
/// lets one build and the others wait.
fn build(folder: &Path, package: &str) -> Result<()> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(other) => other,
        None => bail!("{} is no folder of a profile", folder.display()),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("the repository")?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--package",
            package,
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(folder.parent().context("the target directory")?)
        .status()
        .context("cargo")?;
    if !status.success() {
        bail!("cargo build ended with {status}");
    }
    Ok(())
}
