//! Everything that can go wrong, and how it is made to go wrong and well again.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use belfry_testkit::{Line, Proxy, Reply};
use rand::RngExt;
use rand::rngs::StdRng;

use super::world::World;

/// Where a fault strikes. Of one family only one strikes at a time.
///
/// The order is the order in which things become well again: a node cannot start before its database answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
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

/// What happens to the process of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mishap {
    /// SIGKILL.
    Killed,
    /// SIGTERM, as in a rolling restart.
    Restarted,
    /// SIGSTOP.
    Frozen,
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

/// Everything that happens to the process of a node.
pub(super) const NODE: &[Fault] = &[
    Fault::Node(Mishap::Killed),
    Fault::Node(Mishap::Restarted),
    Fault::Node(Mishap::Frozen),
];

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
}

impl Fault {
    /// Where it strikes.
    pub(super) fn family(self) -> Family {
        match self {
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
            Self::ReceiverLine(_) | Self::Node(_) => "steady",
        }
    }

    /// For how many milliseconds it lasts: at random in this range.
    pub(super) fn lasts_ms(self) -> Range<u64> {
        match self {
            // The start takes a while by itself.
            Self::Node(Mishap::Killed) => 0..200,
            _ => 50..1_500,
        }
    }

    /// Lets it happen.
    pub(super) fn strike(self, world: &mut World, chance: &mut StdRng) -> Result<Struck> {
        let node = chance.random_range(0..world.nodes.len());
        match self {
            Self::ReceiverLine(weather) => weather.strike(&world.receiver_line),
            Self::Node(Mishap::Killed) => world.nodes[node].kill9()?,
            Self::Node(Mishap::Restarted) => world.nodes[node].terminate()?,
            Self::Node(Mishap::Frozen) => world.nodes[node].freeze()?,
            Self::Receiver(mood) => world.sink.script(mood.path(), [mood.reply()]),
        }
        Ok(Struck { fault: self, node })
    }
}

impl Struck {
    /// Called now and then while it lasts.
    pub(super) fn goes_on(self, world: &World) {
        if self.fault == Fault::ReceiverLine(Weather::Cut) {
            world.receiver_line.cut();
        }
    }

    /// Makes everything well again.
    pub(super) async fn lift(self, world: &mut World) -> Result<()> {
        match self.fault {
            Fault::ReceiverLine(_) => world.receiver_line.set(Line::default()),
            Fault::Node(Mishap::Killed) => world.restart(self.node).await?,
            Fault::Node(Mishap::Restarted) => {
                world.nodes[self.node]
                    .ended(Duration::from_secs(45))
                    .await?;
                world.restart(self.node).await?;
            }
            Fault::Node(Mishap::Frozen) => world.nodes[self.node].thaw()?,
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
