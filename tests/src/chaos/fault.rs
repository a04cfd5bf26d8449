//! Everything that can go wrong, and how it is made to go wrong and well again.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use belfry_testkit::{Line, Postgres, Proxy, Reply, Stop};
use rand::RngExt;
use rand::rngs::StdRng;

use super::world::{LEASE_MS, World};

/// Where a fault strikes. Of one family only one strikes at a time.
///
/// The order is the order in which things become well again: a node cannot start before its database answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// The database server.
    Database,
    /// The lines between the nodes and the database: one of them or all.
    DatabaseLine,
    /// The line between the nodes and the receiver.
    ReceiverLine,
    /// The process of a node.
    Node,
    /// The receiver of one target.
    Receiver,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Database(Outage),
    DatabaseLine(Weather),
    ReceiverLine(Weather),
    Node(Mishap),
    Receiver(Mood),
}

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weather {
    /// All connections are reset, again and again.
    Cut,
    /// Everything takes a while.
    Slow,
    /// Little goes through.
    Narrow,
    /// Nothing goes through, and nobody is told.
    Silent,
    /// Nobody new is let in.
    Refused,
}

/// What happens to the database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outage {
    /// An orderly restart.
    Restarts,
    /// SIGKILL to all its processes.
    Crashes,
    /// SIGSTOP to all its processes: connections stay open, nothing is answered.
    Freezes,
}

/// What happens to the process of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mishap {
    /// SIGKILL.
    Killed,
    /// SIGTERM, as in a rolling restart.
    Restarted,
    /// SIGSTOP.
    Frozen,
    /// SIGKILL, and it stays away until the others have delivered everything that was accepted before.
    Lost,
    /// SIGSTOP for longer than its lease: the others take over, then it wakes up.
    Overslept,
}

/// What a receiver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    /// 500.
    Fails,
    /// No answer.
    Hangs,
    /// A reset in place of an answer.
    Resets,
    /// An answer byte by byte, without end.
    Drips,
    /// A good answer, late.
    IsSlow,
    /// 429 with a `Retry-After`.
    IsBusy,
    /// 410.
    IsGone,
}

/// Everything that happens to the line between the nodes and the receiver.
pub(super) const LINE: &[Fault] = &[
    Fault::ReceiverLine(Weather::Cut),
    Fault::ReceiverLine(Weather::Slow),
    Fault::ReceiverLine(Weather::Narrow),
    Fault::ReceiverLine(Weather::Silent),
    Fault::ReceiverLine(Weather::Refused),
];

/// Everything that happens to the database server.
pub(super) const DATABASE: &[Fault] = &[
    Fault::Database(Outage::Restarts),
    Fault::Database(Outage::Crashes),
    Fault::Database(Outage::Freezes),
];

/// Everything that happens to the lines between nodes and database.
pub(super) const DATABASE_LINE: &[Fault] = &[
    Fault::DatabaseLine(Weather::Cut),
    Fault::DatabaseLine(Weather::Slow),
    Fault::DatabaseLine(Weather::Narrow),
    Fault::DatabaseLine(Weather::Silent),
    Fault::DatabaseLine(Weather::Refused),
];

/// Everything that happens to the process of a node.
pub(super) const NODE: &[Fault] = &[
    Fault::Node(Mishap::Killed),
    Fault::Node(Mishap::Restarted),
    Fault::Node(Mishap::Frozen),
];

/// What happens to the process of a node that others can stand in for.
pub(super) const TAKE_OVER: &[Fault] = &[Fault::Node(Mishap::Lost), Fault::Node(Mishap::Overslept)];

/// SIGTERM alone: a rolling restart.
pub(super) const RESTART: &[Fault] = &[Fault::Node(Mishap::Restarted)];

/// SIGKILL alone.
pub(super) const KILL: &[Fault] = &[Fault::Node(Mishap::Killed)];

/// Everything that a receiver does.
pub(super) const RECEIVER: &[Fault] = &[
    Fault::Receiver(Mood::Fails),
    Fault::Receiver(Mood::Hangs),
    Fault::Receiver(Mood::Resets),
    Fault::Receiver(Mood::Drips),
    Fault::Receiver(Mood::IsSlow),
    Fault::Receiver(Mood::IsBusy),
    Fault::Receiver(Mood::IsGone),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, how) = match self {
            Self::Database(outage) => ("database", format!("{outage:?}")),
            Self::DatabaseLine(weather) => ("line to the database", format!("{weather:?}")),
            Self::ReceiverLine(weather) => ("line to the receiver", format!("{weather:?}")),
            Self::Node(mishap) => ("node", format!("{mishap:?}")),
            Self::Receiver(mood) => ("receiver", format!("{mood:?}")),
        };
        // `IsSlow` is "is slow".
        let how = how.replace("Is", "is ").to_lowercase();
        write!(f, "{what} {how}")
    }
}

/// A fault that has struck and has to be taken back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Struck {
    pub(super) fault: Fault,
    /// The node it struck, where it strikes one.
    node: usize,
    /// Whether it struck every node's line.
    everywhere: bool,
}

impl Fault {
    /// Where it strikes.
    pub(super) fn family(self) -> Family {
        match self {
            Self::Database(_) => Family::Database,
            Self::DatabaseLine(_) => Family::DatabaseLine,
            Self::ReceiverLine(_) => Family::ReceiverLine,
            Self::Node(_) => Family::Node,
            Self::Receiver(_) => Family::Receiver,
        }
    }

    /// The targets at which the end of the fault shows.
    pub(super) fn shows_at(self) -> &'static str {
        match self {
            Self::Receiver(Mood::IsGone) => "gone",
            Self::Receiver(_) => "moody",
            _ => "steady",
        }
    }

    /// For how many milliseconds it lasts: at random in this range.
    pub(super) fn lasts_ms(self) -> Range<u64> {
        match self {
            // The start takes a while by itself.
            Self::Node(Mishap::Killed | Mishap::Lost) => 0..200,
            Self::Node(Mishap::Overslept) => LEASE_MS + 1_000..LEASE_MS + 2_500,
            _ => 50..1_500,
        }
    }

    /// Lets it happen.
    pub(super) async fn strike(self, world: &mut World, chance: &mut StdRng) -> Result<Struck> {
        let mut node = chance.random_range(0..world.nodes.len());
        if self == Self::Node(Mishap::Restarted) {
            node = world.next_to_restart();
        }
        let everywhere = chance.random_range(0..3) == 0;
        let struck = Struck {
            fault: self,
            node,
            everywhere,
        };
        match self {
            Self::Database(outage) => outage.strike(world.database()?)?,
            Self::DatabaseLine(weather) => {
                for line in struck.database_lines(world) {
                    weather.strike(line);
                }
            }
            Self::ReceiverLine(weather) => weather.strike(&world.receiver_line),
            Self::Node(Mishap::Killed | Mishap::Lost) => world.nodes[node].care().await.kill9()?,
            Self::Node(Mishap::Restarted) => world.nodes[node].care().await.terminate()?,
            Self::Node(Mishap::Frozen | Mishap::Overslept) => {
                world.nodes[node].care().await.freeze()?;
            }
            Self::Receiver(mood) => world.sink.script(mood.path(), [mood.reply()]),
        }
        Ok(struck)
    }
}

impl Struck {
    /// Called now and then while it lasts.
    pub(super) fn goes_on(self, world: &World) {
        match self.fault {
            Fault::ReceiverLine(Weather::Cut) => world.receiver_line.cut(),
            Fault::DatabaseLine(Weather::Cut) => {
                self.database_lines(world).iter().for_each(Proxy::cut);
            }
            _ => {}
        }
    }

    /// The lines to the database that it strikes.
    fn database_lines(self, world: &World) -> &[Proxy] {
        let lines = &world.database_lines;
        if self.everywhere {
            lines
        } else {
            lines.get(self.node..=self.node).unwrap_or_default()
        }
    }

    /// Makes everything well again.
    pub(super) async fn lift(self, world: &mut World) -> Result<()> {
        match self.fault {
            Fault::Database(outage) => outage.lift(world.database()?)?,
            Fault::DatabaseLine(_) => {
                for line in self.database_lines(world) {
                    line.set(Line::default());
                }
            }
            Fault::ReceiverLine(_) => world.receiver_line.set(Line::default()),
            Fault::Node(Mishap::Killed) => world.nodes[self.node].care().await.start().await?,
            Fault::Node(Mishap::Lost) => {
                world.taken_over().await?;
                world.nodes[self.node].care().await.start().await?;
            }
            Fault::Node(Mishap::Restarted) => {
                let mut node = world.nodes[self.node].care().await;
                node.end(Duration::from_secs(45)).await?;
                node.start().await?;
            }
            Fault::Node(Mishap::Frozen | Mishap::Overslept) => {
                world.nodes[self.node].care().await.thaw()?;
            }
            Fault::Receiver(mood) => {
                world.sink.script(mood.path(), [Reply::status(204)]);
                if mood == Mood::IsGone {
                    world.enable_gone().await?;
                }
            }
        }
        Ok(())
    }
}

impl Outage {
    fn strike(self, database: &mut Postgres) -> Result<()> {
        // Nothing else of the run waits for this thread: the runtime has others.
        tokio::task::block_in_place(|| match self {
            Self::Restarts => database.stop(Stop::Fast),
            Self::Crashes => database.kill9(),
            Self::Freezes => database.pause(),
        })
        .context("the database")
    }

    fn lift(self, database: &mut Postgres) -> Result<()> {
        tokio::task::block_in_place(|| match self {
            Self::Restarts | Self::Crashes => database.start_again(),
            Self::Freezes => database.resume(),
        })
        .context("the database")
    }
}

impl Weather {
    fn strike(self, line: &Proxy) {
        match self {
            Self::Cut => line.cut(),
            Self::Slow => line.set(Line::slow(Duration::from_millis(100))),
            // A few requests a second.
            Self::Narrow => line.set(Line::narrow(4_000)),
            Self::Silent => line.set(Line::silent()),
            Self::Refused => {
                line.set(Line::refused());
                line.cut();
            }
        }
    }
}

impl Mood {
    /// The path that does so.
    fn path(self) -> &'static str {
        if self == Self::IsGone {
            "/gone"
        } else {
            "/moody"
        }
    }

    fn reply(self) -> Reply {
        match self {
            Self::Fails => Reply::status(500),
            Self::Hangs => Reply::Hang,
            Self::Resets => Reply::Reset,
            Self::Drips => Reply::Drip {
                every: Duration::from_millis(20),
            },
            Self::IsSlow => Reply::Late {
                after: Duration::from_millis(400),
                status: 204,
            },
            Self::IsBusy => Reply::retry_after(429, 1),
            Self::IsGone => Reply::status(410),
        }
    }
}
