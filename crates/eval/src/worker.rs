//! The helper process: takes limits upon itself, then answers questions until its standard input ends.

use std::io::{self, Read, Write};

use belfry_sandbox::{Cage, Support};
use serde_json::value::RawValue;

use crate::frame::{Answer, Question, Task, length, write};
use crate::script::Scripts;
use crate::template::evaluate;

/// Memory of the helper, in bytes: far more than the largest event with its template needs.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Open files: the three standard ones, and a few that the runtime may hold.
const FILES_MAX: u64 = 32;

/// Answers questions on standard input and output. Ends when standard input does.
///
/// # Errors
/// Limits that the kernel does not grant, and broken pipes.
pub fn work() -> io::Result<()> {
    restrict()?;
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let mut scripts = Scripts::default();
    let mut head = [0; 4];
    loop {
        match stdin.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut body = vec![0; length(head)?];
        stdin.read_exact(&mut body)?;
        let question: Question<'_> = serde_json::from_slice(&body)?;
        let context = question.context.map(RawValue::get);
        let answer = match &question.task {
            Task::Template(template) => evaluate(template, context).map(Answer::Pieces),
            Task::Script(script) => scripts
                .evaluate(script, context)
                .map(|ran| ran.map_or(Answer::Pieces(Vec::new()), Answer::Ran)),
        };
        let answer = answer.unwrap_or_else(Answer::Fault);
        stdout.write_all(&write(&answer)?)?;
        stdout.flush()?;
    }
}

/// What this process may not do from here on, whatever a template finds: it needs nothing but what it has open. A kernel that lacks
/// some of it is no reason to do without templates: the limits of memory hold everywhere.
fn restrict() -> io::Result<()> {
    let support = Support::of_kernel();
    let cage = Cage {
        level: support.highest(),
        read: Vec::new(),
        write: Vec::new(),
        network: !support.seccomp,
        data_bytes: Some(MEMORY_BYTES_MAX),
        files: FILES_MAX,
        file_bytes: 0,
        processes: None,
        nice: 0,
    };
    belfry_sandbox::restrict(&cage)
}
