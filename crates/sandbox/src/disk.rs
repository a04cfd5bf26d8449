//! What a program has on disk: counting it, and removing a folder that it could write to, whatever it has done there.
//!
//! Programs may nest folders deeper than a path can name, take the right to read them from their owner, and go on writing while
//! they are counted.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::Family;

/// Deeper folders are moved up before they are removed: a path may have 4,096 bytes.
const PATH_BYTES_MAX: usize = 2048;
/// What the kernel counts blocks in, whatever the file system does.
const BLOCK_BYTES: u64 = 512;

/// An amount of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    /// The room that they take, in bytes.
    pub bytes: u64,
    /// Files, folders, links.
    pub files: u64,
}

impl Disk {
    /// Whether it is more than `most`, in either way.
    pub fn is_over(&self, most: Self) -> bool {
        self.bytes > most.bytes || self.files > most.files
    }

    fn add(&mut self, file: &fs::Metadata) {
        self.files = self.files.saturating_add(1);
        let bytes = file.blocks().saturating_mul(BLOCK_BYTES);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Family {
    /// What there is in a folder that the program writes to, and in files that it holds open but has removed. Counts no further
    /// than a little over `most`. Blocks for as long as the kernel needs to list the files: about 2 µs each.
    pub fn disk(&self, folder: &Path, most: Disk) -> Disk {
        let mut found = in_folder(folder, most);
        for process in self.processes() {
            if found.is_over(most) {
                break;
            }
            for open in entries(Path::new(&format!("/proc/{process}/fd"))) {
                let file = fs::metadata(open.path()).ok();
                if let Some(file) = file.filter(|file| file.is_file() && file.nlink() == 0) {
                    found.add(&file);
                }
            }
        }
        found
    }
}

/// What cannot be listed is too much: nothing but evil will makes it so.
fn in_folder(folder: &Path, most: Disk) -> Disk {
    let mut found = Disk::default();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let listed = match fs::read_dir(&folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => {
                found.files = u64::MAX;
                return found;
            }
        };
        // One that is removed meanwhile does not count.
        for entry in listed.flatten() {
            let Ok(file) = entry.metadata() else { continue };
            found.add(&file);
            if found.is_over(most) {
                return found;
            }
            if file.is_dir() {
                open.push(entry.path());
            }
        }
    }
    found
}

/// Removes a folder with everything in it, after the program that could write to it has ended. One that is not there is as good.
///
/// # Errors
/// Something cannot be removed: it belongs to another user, or the disk fails.
pub fn remove(folder: &Path) -> io::Result<()> {
    let mut open = vec![folder.to_owned()];
    let mut seen = Vec::new();
    let mut moved: u64 = 0;
    while let Some(inner) = open.pop() {
        let listed = match fs::read_dir(&inner) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                fs::set_permissions(&inner, fs::Permissions::from_mode(0o700))?;
                fs::read_dir(&inner)
            }
            listed => listed,
        };
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in listed {
            let entry = entry?;
            let mut path = entry.path();
            if !entry.file_type()?.is_dir() {
                remove_in(&inner, || fs::remove_file(&path))?;
                continue;
            }
            if path.as_os_str().len() > PATH_BYTES_MAX {
                let to = free_name(folder, &mut moved);
                // Moving a folder takes the right to write to it, too.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
                remove_in(&inner, || fs::rename(&path, &to))?;
                path = to;
            }
            open.push(path);
        }
        seen.push(inner);
    }
    // What is inside of another was seen after it.
    for inner in seen.iter().rev() {
        match fs::remove_dir(inner) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Changes something in a folder, whose owner may have taken the right to do so.
fn remove_in(folder: &Path, change: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match change() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
            change()
        }
        done => done,
    }
}

fn free_name(folder: &Path, moved: &mut u64) -> PathBuf {
    loop {
        *moved += 1;
        let name = folder.join(format!("moved-{moved}"));
        if fs::symlink_metadata(&name).is_err() {
            return name;
        }
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const MOST: Disk = Disk {
        bytes: 1 << 20,
        files: 100,
    };

    #[test]
    fn a_folder_is_counted_by_the_room_that_it_takes_and_no_further_than_needed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(in_folder(folder.path(), MOST), Disk::default());
        assert_eq!(
            in_folder(&folder.path().join("none"), MOST),
            Disk::default()
        );
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), vec![1; 300_000]).unwrap();
        // A large hole takes no room, and what a link points to is not there.
        let hole = fs::File::create(folder.path().join("hole")).unwrap();
        hole.set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        let found = in_folder(folder.path(), MOST);
        assert_eq!(found.files, 4);
        assert!((300_000..400_000).contains(&found.bytes), "{found:?}");
        assert!(!found.is_over(MOST));
        for n in 0..200 {
            fs::write(folder.path().join(n.to_string()), "").unwrap();
        }
        let found = in_folder(folder.path(), MOST);
        assert!(found.is_over(MOST) && found.files <= 101, "{found:?}");
    }

    #[test]
    fn a_folder_goes_however_deep_it_is_and_whatever_rights_its_folders_have() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("scratch");
        fs::create_dir(&folder).unwrap();
        let nest = r#"
import os, sys
os.chdir(sys.argv[1])
for mode in (0, 0o300, 0o500, 0o600):
    os.mkdir("m%o" % mode, 0o700)
    os.mkdir("m%o/inner" % mode)
    open("m%o/file" % mode, "w").close()
    os.chmod("m%o" % mode, mode)
os.mkdir("moved-1")
open("moved-1/file", "w").close()
for n in range(3000):
    os.mkdir("deeper")
    os.chdir("deeper")
    open("file", "w").close()
"#;
        let made = Command::new("/usr/bin/python3")
            .args(["-c", nest])
            .arg(&folder)
            .status()
            .unwrap();
        assert!(made.success());
        let most = Disk {
            bytes: u64::MAX,
            files: 1_000_000,
        };
        assert!(in_folder(&folder, most).is_over(most));
        remove(&folder).unwrap();
        assert!(!folder.exists());
        remove(&folder).unwrap();
    }
}
