//! How a command fails: an exit code for programs, a message and a hint for people.

use std::fmt;

/// What a command answers.
pub type Result<T = ()> = std::result::Result<T, Failure>;

/// Why a command ends, by what a script can do about it. The numbers are documented in `docs/reference/cli.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something did not work.
    Failed = 1,
    /// The command was called wrongly, or its input or configuration is invalid.
    Usage = 2,
    /// The thing asked for does not exist.
    NotFound = 3,
    /// `diff` found differences.
    Different = 4,
    /// The server was taken over by another node; start it again.
    Fenced = 5,
}

/// A command's end that is no success.
#[derive(Debug)]
pub struct Failure {
    /// For scripts.
    pub exit: Exit,
    /// For people; empty when everything was said already.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the same may work in a moment: the server is away or busy.
    pub transient: bool,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            transient: false,
        }
    }
    /// Something did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }
    /// The input is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
    /// The server is to be started again.
    pub fn fenced(message: impl Into<String>) -> Self {
        Self::new(Exit::Fenced, message)
    }
    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }
    /// Ends with this code; what there was to say was said.
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }
    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// The same may work in a moment.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }
    /// Puts where it happened before the message.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// An error with all its causes, in one line: the edge is the only place that prints them.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat their source in their own text.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Gives an error a place, on its way to a [`Failure`].
pub trait Context<T> {
    /// `place: error: cause ...`
    fn context(self, place: impl fmt::Display) -> Result<T>;
}

impl<T, E: std::error::Error> Context<T> for std::result::Result<T, E> {
    fn context(self, place: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::failed(format!("{place}: {}", chain(&error))))
    }
}
