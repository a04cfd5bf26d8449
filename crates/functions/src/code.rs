//! Code on this machine's disk: zip files checked and unpacked, inline code as a file, folders that the settings allow.
//!
//! Code lies below one folder by its digest, read-only, and never changes: equal versions share it, and what runs from it is not
//! disturbed. It appears at once (made beside, flushed, renamed), so what has the right name is whole.
//!
//! Everything about an archive is found out while it is unpacked: what its headers promise is not believed.
//! It must never know versions and aliases: who uses which digest is said by the caller.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use belfry_model::json::FieldError;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zip::{CompressionMethod, ZipArchive};

use crate::spec::{digest, is_layer};

/// The most files and folders in a zip file.
const ENTRIES_MAX: usize = 20_000;
/// How many times larger than the zip file all that is in it may be; small ones are free of it, see [`RATIO_FREE_BYTES`].
const RATIO_MAX: u64 = 100;
/// So much a zip file may unpack to whatever its ratio.
const RATIO_FREE_BYTES: u64 = 1024 * 1024;
/// The longest name in a zip file, with its folders, in bytes.
const NAME_BYTES_MAX: usize = 1_024;
/// How many folders may lie in each other in a zip file.
const DEPTH_MAX: usize = 64;

/// Bounds of a zip file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeLimits {
    /// The file itself, in bytes.
    pub zip_bytes_max: u64,
    /// All that is in it, in bytes.
    pub unpacked_bytes_max: u64,
}

impl Default for CodeLimits {
    /// 50 MiB and 500 MiB.
    fn default() -> Self {
        Self {
            zip_bytes_max: 50 * 1024 * 1024,
            unpacked_bytes_max: 500 * 1024 * 1024,
        }
    }
}

/// What a good zip file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZipFacts {
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its size in bytes.
    pub bytes: u64,
    /// How many files are in it.
    pub files: usize,
    /// Their size in bytes.
    pub unpacked_bytes: u64,
}

/// Why code cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The zip file is too large.
    #[error("the zip file has {bytes} bytes; at most {max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// It has too many entries.
    #[error("the zip file has {0} files and folders; at most {ENTRIES_MAX}")]
    TooMany(usize),
    /// It is none, or damaged.
    #[error("not a zip file that can be read: {0}")]
    Damaged(String),
    /// One of its entries must not be there.
    #[error("{name:?} in the zip file: {why}")]
    Entry {
        /// The name of the entry.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It unpacks to more than it may.
    #[error("the zip file unpacks to more than {max} bytes")]
    UnpacksTooLarge {
        /// The bound.
        max: u64,
    },
    /// It unpacks to far more than it is.
    #[error("the zip file unpacks to more than {RATIO_MAX} times its size")]
    Bomb,
    /// It is not the one that was meant.
    #[error("the zip file has another SHA-256 than the function names")]
    OtherDigest,
    /// A folder is not there, or not allowed.
    #[error("{0}")]
    Folder(String),
    /// The disk.
    #[error("the code cannot be written: {0}")]
    Disk(#[from] io::Error),
}

impl CodeError {
    /// As an error of the body that holds the zip file; `None`: the server is to blame.
    pub fn field(&self) -> Option<FieldError> {
        match self {
            Self::Disk(_) => None,
            _ => Some(FieldError::new("", self.to_string())),
        }
    }
}

/// Reads a zip file from beginning to end as if to unpack it.
///
/// # Errors
/// It is too large, damaged, or not to be unpacked.
pub fn inspect_zip(bytes: &[u8], limits: &CodeLimits) -> Result<ZipFacts, CodeError> {
    read_zip(bytes, limits, &mut |_, content| {
        if let Content::File { bytes, .. } = content {
            io::copy(bytes, &mut io::sink()).map_err(|error| unreadable(&error))?;
        }
        Ok(())
    })
}

/// An entry of a zip file.
enum Content<'a> {
    Folder,
    File {
        executable: bool,
        bytes: &'a mut dyn Read,
    },
}

/// Hands out each entry under its checked name, and stops at the first that breaks a rule.
fn read_zip(
    bytes: &[u8],
    limits: &CodeLimits,
    take: &mut dyn FnMut(&str, Content<'_>) -> Result<(), CodeError>,
) -> Result<ZipFacts, CodeError> {
    let size = bytes.len() as u64;
    if size > limits.zip_bytes_max {
        return Err(CodeError::TooLarge {
            bytes: size,
            max: limits.zip_bytes_max,
        });
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| CodeError::Damaged(error.to_string()))?;
    if archive.len() > ENTRIES_MAX {
        return Err(CodeError::TooMany(archive.len()));
    }
    if archive.has_duplicate_names() {
        return Err(CodeError::Damaged(
            "two files have the same name".to_owned(),
        ));
    }
    let ratio_max = size.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
    let max = limits.unpacked_bytes_max.min(ratio_max);
    let mut files: HashSet<String> = HashSet::new();
    let mut folders: HashSet<String> = HashSet::new();
    let mut left = max;
    for index in 0..archive.len() {
        let mut entry = archive
            .by_index(index)
            .map_err(|error| CodeError::Damaged(error.to_string()))?;
        let raw = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let wrong = |why| CodeError::Entry {
            name: raw.chars().take(200).collect(),
            why,
        };
        let name = entry_name(&raw).map_err(wrong)?;
        let mode = entry.unix_mode().unwrap_or(0);
        let folder = entry.is_dir() || raw.ends_with('/');
        if entry.encrypted() {
            return Err(wrong("it is encrypted"));
        }
        if entry.is_symlink() {
            return Err(wrong("it is a link"));
        }
        // The kind of a file as stat(2) has it; 0 where the archive says nothing.
        if !matches!(mode & 0o170_000, 0 | 0o100_000 | 0o040_000) {
            return Err(wrong("it is neither a file nor a folder"));
        }
        if !matches!(
            entry.compression(),
            CompressionMethod::Stored | CompressionMethod::Deflated
        ) {
            return Err(wrong("it is compressed in another way than deflate"));
        }
        for (end, _) in name.match_indices('/') {
            let above = name.get(..end).unwrap_or_default();
            if files.contains(above) {
                return Err(wrong("one of its folders is also a file"));
            }
            folders.insert(above.to_owned());
        }
        if folder {
            if files.contains(name) {
                return Err(wrong("it is a folder and also a file"));
            }
            folders.insert(name.to_owned());
            take(name, Content::Folder)?;
            continue;
        }
        if folders.contains(name) {
            return Err(wrong("it is a file and also a folder"));
        }
        if !files.insert(name.to_owned()) {
            return Err(wrong("it is there twice"));
        }
        let mut counted = Counted {
            inner: &mut entry,
            left,
            over: false,
        };
        // Archives that were made on Windows know no executable files.
        let executable = mode & 0o111 != 0 || name == "bootstrap";
        let taken = take(
            name,
            Content::File {
                executable,
                bytes: &mut counted,
            },
        );
        if counted.over {
            return Err(if max == ratio_max && max < limits.unpacked_bytes_max {
                CodeError::Bomb
            } else {
                CodeError::UnpacksTooLarge { max }
            });
        }
        left = counted.left;
        taken?;
    }
    Ok(ZipFacts {
        sha256: Sha256::digest(bytes).into(),
        bytes: size,
        files: files.len(),
        unpacked_bytes: max - left,
    })
}

/// A name that stays inside, or why it does not.
fn entry_name(raw: &str) -> Result<&str, &'static str> {
    let name = raw.strip_suffix('/').unwrap_or(raw);
    if raw.len() > NAME_BYTES_MAX {
        return Err("its name is too long");
    }
    if raw.contains(char::REPLACEMENT_CHARACTER) {
        return Err("its name is no UTF-8");
    }
    if raw.chars().any(char::is_control) {
        return Err("its name has control characters");
    }
    if raw.contains(['\\', ':']) {
        return Err("its name has a backslash or a colon; folders are written with /");
    }
    if raw.starts_with('/') {
        return Err("its name is absolute");
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("its name leads out of the archive");
    }
    if name.split('/').any(|part| part.len() > 255) {
        return Err("its name is too long");
    }
    if name.split('/').count() > DEPTH_MAX {
        return Err("it lies in too many folders");
    }
    Ok(name)
}

fn unreadable(error: &io::Error) -> CodeError {
    CodeError::Damaged(error.to_string())
}

/// Reads on until so many bytes have been read.
struct Counted<R> {
    inner: R,
    left: u64,
    over: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        if let Some(left) = self.left.checked_sub(read as u64) {
            self.left = left;
            return Ok(read);
        }
        self.over = true;
        Err(io::Error::other("more than it may be"))
    }
}

/// The code that this machine has unpacked.
#[derive(Debug, Clone)]
pub struct CodeStore {
    folder: PathBuf,
}

impl CodeStore {
    /// Opens the folder, makes it if need be, and removes what an earlier run left half done.
    ///
    /// # Errors
    /// The disk.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                remove(&entry.path())?;
            }
        }
        Ok(Self { folder })
    }

    /// Where code with this digest lies, if it is there.
    pub fn find(&self, digest: &[u8; 32]) -> Option<PathBuf> {
        let place = self.folder.join(hex::encode(digest));
        place.is_dir().then_some(place)
    }

    /// Unpacks a zip file, unless it is there already. Blocks.
    ///
    /// # Errors
    /// It is not the one with this digest, not to be unpacked, or the disk is full.
    pub fn place_zip(
        &self,
        digest: &[u8; 32],
        bytes: &[u8],
        limits: &CodeLimits,
    ) -> Result<PathBuf, CodeError> {
        if let Some(place) = self.find(digest) {
            return Ok(place);
        }
        if Sha256::digest(bytes).as_slice() != digest {
            return Err(CodeError::OtherDigest);
        }
        self.place(digest, &mut |root| {
            read_zip(bytes, limits, &mut |name, content| {
                let path = root.join(name);
                match content {
                    Content::Folder => Ok(fs::create_dir_all(&path)?),
                    Content::File { executable, bytes } => {
                        if let Some(parent) = path.parent() {
                            fs::create_dir_all(parent)?;
                        }
                        write_file(&path, executable, bytes)
                    }
                }
            })
            .map(|_| ())
        })
    }

    /// Writes inline code as its one file, unless it is there already: its digest and where it lies. Blocks.
    ///
    /// # Errors
    /// The name leads outside, or the disk is full.
    pub fn place_inline(&self, file: &str, text: &str) -> Result<([u8; 32], PathBuf), CodeError> {
        let name = entry_name(file).map_err(|why| CodeError::Entry {
            name: file.to_owned(),
            why,
        })?;
        let digest = inline_digest(name, text);
        if let Some(place) = self.find(&digest) {
            return Ok((digest, place));
        }
        let place = self.place(&digest, &mut |root| {
            let path = root.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            write_file(&path, name == "bootstrap", &mut text.as_bytes())
        })?;
        Ok((digest, place))
    }

    /// Removes all code but this: how many there were. What still runs from a folder keeps what it has open, so call it only
    /// with everything that a worker uses. Blocks.
    ///
    /// # Errors
    /// The disk.
    pub fn remove_unused(&self, keep: &HashSet<[u8; 32]>) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let known = entry.file_name().to_str().and_then(digest);
            if known.is_some_and(|digest| !keep.contains(&digest)) {
                // What is half removed must not have the name of what is whole.
                let gone = self.beside();
                fs::rename(entry.path(), &gone)?;
                remove(&gone)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Makes a folder of code: whole, read-only and on the disk before it has its name.
    fn place(
        &self,
        digest: &[u8; 32],
        fill: &mut dyn FnMut(&Path) -> Result<(), CodeError>,
    ) -> Result<PathBuf, CodeError> {
        let place = self.folder.join(hex::encode(digest));
        let beside = self.beside();
        DirBuilder::new().create(&beside)?;
        let made = fill(&beside).and_then(|()| {
            lock(&beside)?;
            flush(&beside)?;
            match fs::rename(&beside, &place) {
                // Somebody else was quicker, with the same.
                Err(_) if place.is_dir() => remove(&beside)?,
                other => other?,
            }
            flush(&self.folder)?;
            Ok(())
        });
        if let Err(error) = made {
            remove(&beside)?;
            return Err(error);
        }
        Ok(place)
    }

    fn beside(&self) -> PathBuf {
        self.folder.join(format!(".{}", Uuid::new_v4().simple()))
    }
}

/// The digest of inline code: of its text and of the name that its file gets.
pub fn inline_digest(file: &str, text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"inline\0");
    hash.update(file.as_bytes());
    hash.update(b"\0");
    hash.update(text.as_bytes());
    hash.finalize().into()
}

/// The folder of a function's code, below one of those that the settings allow; links are followed first.
///
/// # Errors
/// It is not there, no folder, or outside of them.
pub fn allowed_path(path: &Path, allowed: &[PathBuf]) -> Result<PathBuf, CodeError> {
    let real = real_folder(path)?;
    let inside = allowed
        .iter()
        .filter_map(|root| root.canonicalize().ok())
        .any(|root| real.starts_with(root));
    if inside {
        Ok(real)
    } else {
        Err(CodeError::Folder(format!(
            "{} is below none of the folders that the settings allow (functions.code_paths)",
            path.display()
        )))
    }
}

/// The folder of a layer. A layer may be a link: the folder of layers is the operator's own.
///
/// # Errors
/// There is no such layer.
pub fn layer_path(name: &str, layers: Option<&Path>) -> Result<PathBuf, CodeError> {
    let layers = layers.ok_or_else(|| {
        CodeError::Folder("the settings name no folder of layers (functions.layers_dir)".to_owned())
    })?;
    if !is_layer(name) {
        return Err(CodeError::Folder(format!("{name:?} is no name of a layer")));
    }
    real_folder(&layers.join(name))
}

fn real_folder(path: &Path) -> Result<PathBuf, CodeError> {
    let real = path
        .canonicalize()
        .map_err(|error| CodeError::Folder(format!("{}: {error}", path.display())))?;
    if real.is_dir() {
        Ok(real)
    } else {
        Err(CodeError::Folder(format!(
            "{} is no folder",
            path.display()
        )))
    }
}

fn write_file(path: &Path, executable: bool, bytes: &mut dyn Read) -> Result<(), CodeError> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = bytes
            .read(&mut buffer)
            .map_err(|error| unreadable(&error))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
            break;
        };
        file.write_all(part)?;
    }
    set_mode(path, if executable { 0o555 } else { 0o444 })?;
    Ok(())
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Makes a folder and those in it read-only.
fn lock(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            lock(&entry.path())?;
        }
    }
    set_mode(folder, 0o555)
}

/// Removes a folder of code, which is read-only.
fn remove(folder: &Path) -> io::Result<()> {
    fn unlock(folder: &Path) -> io::Result<()> {
        set_mode(folder, 0o755)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                unlock(&entry.path())?;
            }
        }
        Ok(())
    }
    if folder.is_dir() {
        unlock(folder)?;
        fs::remove_dir_all(folder)
    } else {
        fs::remove_file(folder)
    }
}

/// Flushes the file system that a folder is on: once instead of for each of thousands of files.
#[cfg(target_os = "linux")]
fn flush(folder: &Path) -> io::Result<()> {
    rustix::fs::syncfs(fs::File::open(folder)?)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn flush(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const LIMITS: CodeLimits = CodeLimits {
        zip_bytes_max: 1_000_000,
        unpacked_bytes_max: 10_000_000,
    };

    fn zip(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, mode, bytes) in files {
            let options = SimpleFileOptions::default().unix_permissions(*mode);
            writer.start_file(*name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    /// Name, kind of file, flags, method, content.
    type RawEntry = (Vec<u8>, u32, u16, u16, Vec<u8>);

    /// An archive as nobody's library would write it: names, kinds of files, flags and methods at will, stored as they are.
    fn raw_zip(entries: &[RawEntry]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for (name, mode, flags, method, bytes) in entries {
            let mut common = Vec::new();
            common.extend(20_u16.to_le_bytes());
            common.extend(flags.to_le_bytes());
            common.extend(method.to_le_bytes());
            common.extend([0; 4]);
            common.extend(crc32(bytes).to_le_bytes());
            for _ in 0..2 {
                common.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            }
            common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
            common.extend([0; 2]);
            let at = u32::try_from(out.len()).unwrap();
            out.extend(b"PK\x03\x04");
            out.extend(&common);
            out.extend(name);
            out.extend(bytes);
            directory.extend(b"PK\x01\x02");
            directory.extend(0x0314_u16.to_le_bytes());
            directory.extend(&common);
            directory.extend([0; 6]);
            directory.extend((mode << 16).to_le_bytes());
            directory.extend(at.to_le_bytes());
            directory.extend(name);
        }
        let at = u32::try_from(out.len()).unwrap();
        out.extend(&directory);
        out.extend(b"PK\x05\x06");
        out.extend([0; 4]);
        for _ in 0..2 {
            out.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
        }
        out.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
        out.extend(at.to_le_bytes());
        out.extend([0; 2]);
        out
    }

    fn one(name: &str, mode: u32) -> Vec<u8> {
        raw_zip(&[(name.as_bytes().to_vec(), mode, 0, 0, b"x".to_vec())])
    }

    fn all_below(folder: &Path) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                all.extend(
                    all_below(&entry.path())
                        .into_iter()
                        .map(|name| format!("{}/{name}", entry.file_name().to_string_lossy())),
                );
            }
            all.insert(entry.file_name().to_string_lossy().into_owned());
        }
        all
    }

    #[test]
    fn a_zip_file_is_unpacked_once_read_only_with_its_programs_executable() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().join("code")).unwrap();
        let bytes = zip(&[
            ("index.js", 0o644, b"exports.main_handler = 1"),
            ("bin/tool", 0o755, b"#!/bin/sh\n"),
            ("bootstrap", 0o644, b"#!/bin/sh\n"),
        ]);
        let facts = inspect_zip(&bytes, &LIMITS).unwrap();
        assert_eq!((facts.files, facts.unpacked_bytes), (3, 44));
        let place = store.place_zip(&facts.sha256, &bytes, &LIMITS).unwrap();
        assert_eq!(store.place_zip(&facts.sha256, b"", &LIMITS).unwrap(), place);
        let mode =
            |name: &str| fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            ["", "bin", "index.js", "bin/tool", "bootstrap"].map(mode),
            [0o555, 0o555, 0o444, 0o555, 0o555]
        );
        let (digest, inline) = store.place_inline("src/index.py", "x = 1").unwrap();
        assert_eq!(
            fs::read_to_string(inline.join("src/index.py")).unwrap(),
            "x = 1"
        );
        assert_eq!(store.remove_unused(&HashSet::from([digest])).unwrap(), 1);
        assert!(store.find(&facts.sha256).is_none());
        assert!(store.find(&digest).is_some());
        assert_eq!(store.remove_unused(&HashSet::new()).unwrap(), 1);
        assert_eq!(all_below(root.path()), BTreeSet::from(["code".to_owned()]));
    }

    #[test]
    fn what_an_earlier_run_left_half_done_is_gone_at_the_next_start() {
        let root = tempfile::tempdir().unwrap();
        let half = root.path().join(".half");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("a"), "x").unwrap();
        lock(&half).unwrap();
        CodeStore::open(root.path().to_owned()).unwrap();
        assert_eq!(all_below(root.path()), BTreeSet::new());
    }

    #[test]
    fn archives_that_could_do_harm_are_refused() {
        let link = raw_zip(&[(b"a".to_vec(), 0o120_777, 0, 0, b"/etc/passwd".to_vec())]);
        let encrypted = raw_zip(&[(b"a".to_vec(), 0o100_644, 1, 0, b"x".to_vec())]);
        let bzip2 = raw_zip(&[(b"a".to_vec(), 0o100_644, 0, 12, b"x".to_vec())]);
        let file = |name: &[u8]| (name.to_vec(), 0o100_644, 0, 0, b"x".to_vec());
        let twice = raw_zip(&[file(b"a"), file(b"a")]);
        let both = raw_zip(&[file(b"a"), file(b"a/b")]);
        let both_other = raw_zip(&[file(b"a/b"), file(b"a")]);
        let many: Vec<_> = (0..=ENTRIES_MAX)
            .map(|n| file(n.to_string().as_bytes()))
            .collect();
        let mut damaged = zip(&[("a", 0o644, &[7; 1_000])]);
        damaged[40] ^= 0xff;
        let long = "x".repeat(256);
        let table: Vec<(&str, Vec<u8>)> = vec![
            ("nothing", Vec::new()),
            ("no archive", b"exports.main_handler".to_vec()),
            ("absolute", one("/etc/passwd", 0o100_644)),
            ("above", one("../x", 0o100_644)),
            ("above, later", one("a/../../x", 0o100_644)),
            ("dot", one("./x", 0o100_644)),
            ("empty part", one("a//x", 0o100_644)),
            ("no name", one("", 0o100_644)),
            ("windows", one("..\\x", 0o100_644)),
            ("drive", one("c:x", 0o100_644)),
            ("nul", one("a\0b", 0o100_644)),
            ("not UTF-8", raw_zip(&[file(b"\xff\xfe")])),
            ("long", one(&long, 0o100_644)),
            ("deep", one(&"a/".repeat(100), 0o040_755)),
            ("link", link),
            ("device", one("a", 0o020_644)),
            ("pipe", one("a", 0o010_644)),
            ("socket", one("a", 0o140_644)),
            ("encrypted", encrypted),
            ("another method", bzip2),
            ("twice", twice),
            ("file and folder", both),
            ("folder and file", both_other),
            ("many", raw_zip(&many)),
            ("damaged", damaged),
            ("too large", zip(&[("a", 0o644, &noise(1_100_000))])),
        ];
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().join("in/code")).unwrap();
        for (what, bytes) in table {
            let refused = inspect_zip(&bytes, &LIMITS);
            assert!(refused.is_err(), "{what}: {refused:?}");
            let digest = Sha256::digest(&bytes).into();
            assert!(store.place_zip(&digest, &bytes, &LIMITS).is_err(), "{what}");
        }
        assert_eq!(
            all_below(root.path()),
            BTreeSet::from(["in".to_owned(), "in/code".to_owned()])
        );
    }

    /// Bytes that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        (0..length)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect()
    }

    #[test]
    fn bombs_are_stopped_before_they_fill_the_disk() {
        let bomb = zip(&[("zeros", 0o644, &vec![0; 9_000_000])]);
        assert!(bomb.len() < 20_000, "{}", bomb.len());
        assert!(matches!(inspect_zip(&bomb, &LIMITS), Err(CodeError::Bomb)));
        let mut read = 0;
        let stopped = read_zip(&bomb, &LIMITS, &mut |_, content| {
            if let Content::File { bytes, .. } = content {
                let mut buffer = [0; 4_096];
                while let Ok(some @ 1..) = bytes.read(&mut buffer) {
                    read += some as u64;
                }
            }
            Ok(())
        });
        assert!(stopped.is_err());
        assert!(
            read <= RATIO_FREE_BYTES.max(bomb.len() as u64 * RATIO_MAX),
            "{read}"
        );
        let mut mixed = noise(400_000);
        mixed.extend(vec![0; 11_000_000]);
        let large = zip(&[("large", 0o644, &mixed)]);
        assert!(matches!(
            inspect_zip(&large, &LIMITS),
            Err(CodeError::UnpacksTooLarge { max: 10_000_000 })
        ));
        assert!(inspect_zip(&zip(&[("small", 0o644, &vec![0; 900_000])]), &LIMITS).is_ok());
    }

    #[test]
    fn a_folder_counts_where_it_really_is() {
        let root = tempfile::tempdir().unwrap();
        let allowed = root.path().join("allowed");
        let other = root.path().join("other");
        for folder in [&allowed.join("a"), &other] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(allowed.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&other, allowed.join("out")).unwrap();
        let roots = [allowed.clone()];
        assert!(allowed_path(&allowed.join("a"), &roots).is_ok());
        for outside in ["out", "../other", "missing", "file"] {
            assert!(
                allowed_path(&allowed.join(outside), &roots).is_err(),
                "{outside}"
            );
        }
        assert!(layer_path("a", Some(&allowed)).is_ok());
        for none in ["missing", "..", "../other", "a/b", ""] {
            assert!(layer_path(none, Some(&allowed)).is_err(), "{none}");
        }
        assert!(layer_path("a", None).is_err());
    }

    fn names() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just("..".to_owned()),
            Just(".".to_owned()),
            Just(String::new()),
            Just("a".to_owned()),
            Just("b".to_owned()),
            "[a-z/\\\\. :\u{0}]{0,6}",
        ];
        prop_oneof![
            proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/").into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..12),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_archive_writes_outside_its_folder(
            entries in proptest::collection::vec(
                (names(), prop_oneof![Just(0o100_644_u32), Just(0o040_755), Just(0o120_777), any::<u16>().prop_map(u32::from)],
                 prop_oneof![3 => Just(0_u16), 1 => any::<u16>()], prop_oneof![5 => Just(0_u16), 1 => any::<u16>()],
                 proptest::collection::vec(any::<u8>(), 0..40)),
                0..5),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut bytes = raw_zip(&entries);
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let root = tempfile::tempdir().unwrap();
            let store = CodeStore::open(root.path().join("in/code")).unwrap();
            let digest = Sha256::digest(&bytes).into();
            let seen = inspect_zip(&bytes, &LIMITS);
            let placed = store.place_zip(&digest, &bytes, &LIMITS);
            prop_assert_eq!(seen.is_ok(), placed.is_ok());
            let inside = format!("in/code/{}", hex::encode(digest));
            for path in all_below(root.path()) {
                let allowed = ["in", "in/code", inside.as_str()].contains(&path.as_str());
                prop_assert!(allowed || placed.is_ok() && path.starts_with(&format!("{inside}/")), "{path}");
            }
        }
    }
}
