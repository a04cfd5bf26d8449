//! How bad something is, as each channel shows it.

/// How a message looks: its severity, or that all is well again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Look {
    /// All is well again.
    Recovered,
    /// To be known.
    Info,
    /// To be looked at.
    Warning,
    /// Something is broken.
    Error,
    /// Somebody has to get up.
    Critical,
}

/// One row of the table below.
#[derive(Debug)]
pub(crate) struct Style {
    /// In titles and lists of channels without colours.
    pub(crate) emoji: &'static str,
    /// `WeCom` has three colours: `info` is green, `comment` grey, `warning` orange.
    pub(crate) wecom: &'static str,
    /// Feishu: template of a card's head.
    pub(crate) feishu: &'static str,
    /// Red, green and blue.
    pub(crate) rgb: u32,
    /// Teams: colour of a text.
    pub(crate) teams: &'static str,
    /// `PagerDuty`: severity.
    pub(crate) pagerduty: &'static str,
    /// Opsgenie: priority.
    pub(crate) opsgenie: &'static str,
    /// ntfy: priority, 1 to 5.
    pub(crate) ntfy: u8,
    /// ntfy: the tag that becomes an emoji.
    pub(crate) ntfy_tag: &'static str,
    /// Gotify: priority, 0 to 10.
    pub(crate) gotify: u8,
    /// Bark: interruption level.
    pub(crate) bark: &'static str,
}

static CRITICAL: Style = Style {
    emoji: "🔴",
    wecom: "warning",
    feishu: "red",
    rgb: 0x00D9_2D20,
    teams: "Attention",
    pagerduty: "critical",
    opsgenie: "P1",
    ntfy: 5,
    ntfy_tag: "rotating_light",
    gotify: 10,
    bark: "critical",
};
static ERROR: Style = Style {
    emoji: "🟠",
    wecom: "warning",
    feishu: "orange",
    rgb: 0x00F7_9009,
    teams: "Attention",
    pagerduty: "error",
    opsgenie: "P2",
    ntfy: 4,
    ntfy_tag: "orange_circle",
    gotify: 8,
    bark: "timeSensitive",
};
static WARNING: Style = Style {
    emoji: "🟡",
    wecom: "warning",
    feishu: "yellow",
    rgb: 0x00FD_B022,
    teams: "Warning",
    pagerduty: "warning",
    opsgenie: "P3",
    ntfy: 3,
    ntfy_tag: "warning",
    gotify: 5,
    bark: "active",
};
static INFO: Style = Style {
    emoji: "🔵",
    wecom: "comment",
    feishu: "blue",
    rgb: 0x002E_90FA,
    teams: "Accent",
    pagerduty: "info",
    opsgenie: "P5",
    ntfy: 2,
    ntfy_tag: "information_source",
    gotify: 2,
    bark: "passive",
};
static RECOVERED: Style = Style {
    emoji: "✅",
    wecom: "info",
    feishu: "green",
    rgb: 0x0012_B76A,
    teams: "Good",
    pagerduty: "info",
    opsgenie: "P5",
    ntfy: 2,
    ntfy_tag: "white_check_mark",
    gotify: 2,
    bark: "passive",
};

impl Look {
    /// As each channel shows it.
    pub(crate) fn style(self) -> &'static Style {
        match self {
            Self::Critical => &CRITICAL,
            Self::Error => &ERROR,
            Self::Warning => &WARNING,
            Self::Info => &INFO,
            Self::Recovered => &RECOVERED,
        }
    }
}
