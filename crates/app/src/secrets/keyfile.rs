//! The file with the keys that secrets are sealed with.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{KEY_BYTES, SealError, Sealer};
use crate::random;

impl Sealer {
    /// Reads the key file, or makes one with a new key that only its owner can read.
    ///
    /// One key in base64 a line, `#` starts a comment; the first key seals. A file that others can read is refused.
    pub fn load_or_create(path: &Path) -> Result<Self, SealError> {
        let failed = |why: String| SealError::KeyFile {
            path: path.display().to_string(),
            why,
        };
        match fs::read_to_string(path) {
            Ok(text) => {
                check_mode(path).map_err(failed)?;
                let keys: String = text
                    .lines()
                    .map(|line| line.split('#').next().unwrap_or_default().to_owned() + "\n")
                    .collect();
                Self::from_base64(&keys).map_err(|error| failed(error.to_string()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = random::bytes::<KEY_BYTES>().map_err(|_| SealError::Random)?;
                write_new(path, &key).map_err(|error| failed(error.to_string()))?;
                Self::from_keys(&[key])
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn write_new(path: &Path, key: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    // Never over another file: two servers that start at once must not each keep its own key.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(
        file,
        "# Seals the secrets in Belfry's database. Without it they are lost: keep a copy, not beside the database."
    )?;
    writeln!(file, "{}", STANDARD.encode(key))?;
    file.sync_all()?;
    // The name must outlive a crash as surely as the secrets that will be sealed.
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)
        .map_err(|error| error.to_string())?
        .permissions()
        .mode()
        & 0o777;
    let for_others = mode & 0o077;
    if for_others == 0 {
        Ok(())
    } else {
        Err(format!(
            "others may read it (mode {mode:03o}); make it private with: chmod 600 {}",
            path.display()
        ))
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), String> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_made_once_private_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        let first = Sealer::load_or_create(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let sealed = first.seal("p", b"x").unwrap();
        assert_eq!(
            Sealer::load_or_create(&path)
                .unwrap()
                .open("p", &sealed)
                .unwrap(),
            b"x"
        );
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        Sealer::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Sealer::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        fs::write(&path, "# nothing\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Sealer::load_or_create(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "# nothing\n");
    }
}
