//! Keeps everything that must outlive the process: storage traits and the SQLite store.
