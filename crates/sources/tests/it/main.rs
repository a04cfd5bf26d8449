//! Requests as vendors send them, and as nobody should.

mod generic;
mod hostile;
mod samples;
mod signatures;
mod support;
