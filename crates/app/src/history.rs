//! What happened: events, alarms, deliveries, attempts, logs; and redrive, which makes it happen again.

mod alarms;
mod deliveries;
mod events;
mod filter;
mod logs;
mod names;
mod redrive;
mod view;

pub use alarms::{AlarmDetail, AlarmFilter, AlarmView, ToldView};
pub use filter::{DeliveryFilter, EventFilter, LogFilter};
pub use logs::{LogEntryView, LogSpec, LogView};
pub use redrive::{RETRY_MAX, RetriedView, RetryMany};
pub use view::{
    AttemptView, DeliveryDetail, DeliveryView, EventDetail, EventSummary, EventView, MatchView,
    NoticeView,
};
