//! What is asked on the command line of `cargo bench`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "\
cargo bench -p belfry-pattern -- [--quick] [--json FILE] [NAME]

  --quick      fewer events, sizes and passes: to see that it works, not for figures
  --json FILE  also write the tables to FILE; tables that FILE holds from before stay unless they
               are measured again
  NAME         only this: a table, or part of one, as in `alarms`, `alarms/mixed/1000`,
               `citylots/EXACT`, `building`, `changes/mixed`, `publishing`, `memory`, `allocations`

BELFRY_PATTERN_DATA=FOLDER measures with given files instead of invented events and rules.";

/// The options, read.
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) json: Option<PathBuf>,
    name: Option<String>,
}

/// How thoroughly to measure.
pub(crate) struct Effort {
    /// How many passes the median is taken of.
    pub(crate) passes: usize,
    /// Processor time that one pass may take; slow engines get fewer events.
    pub(crate) pass: Duration,
    /// Processor time to spend on comparing engines with the naive matcher.
    pub(crate) check: Duration,
    /// Sizes of the sets of alarm rules.
    pub(crate) sizes: &'static [usize],
    /// Sizes of the sets that are built and changed.
    pub(crate) built: &'static [usize],
    /// How many changes to time.
    pub(crate) changes: usize,
    /// How many events of each sort at most.
    pub(crate) events: usize,
}

impl Options {
    /// Reads the arguments; none when there is nothing to measure, which has then been said.
    pub(crate) fn read() -> Result<Option<Self>> {
        let mut options = Self {
            quick: false,
            json: None,
            name: None,
        };
        let mut measured = false;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => measured = true,
                "--quick" => options.quick = true,
                "--json" => {
                    let file = arguments.next().context("--json needs a file")?;
                    options.json = Some(PathBuf::from(file));
                }
                "--help" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                // Test runners ask every target of a package what tests it has.
                "--list" => return Ok(None),
                option if option.starts_with('-') && measured => {
                    bail!("no such option: {option}\n\n{USAGE}")
                }
                name => options.name = Some(name.to_owned()),
            }
        }
        // `cargo test --all-targets` runs this too; it has no test.
        Ok(measured.then_some(options))
    }

    /// Whether this is asked for.
    pub(crate) fn wants(&self, section: &str, row: &str) -> bool {
        let Some(name) = &self.name else { return true };
        format!("/{section}/{row}/").contains(&format!("/{name}/"))
    }

    pub(crate) const fn effort(&self) -> Effort {
        if self.quick {
            Effort {
                passes: 5,
                pass: Duration::from_millis(10),
                check: Duration::from_millis(100),
                sizes: &[1, 10, 100, 1000],
                built: &[1000],
                changes: 200,
                events: 5000,
            }
        } else {
            Effort {
                passes: 11,
                pass: Duration::from_millis(250),
                check: Duration::from_secs(1),
                sizes: &[1, 10, 100, 1000, 10_000, 100_000],
                built: &[1000, 100_000],
                changes: 2000,
                events: usize::MAX,
            }
        }
    }
}
