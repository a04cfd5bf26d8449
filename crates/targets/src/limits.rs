//! Rate limits of vendors that all targets share, for a target that uses several channels in one delivery.

use std::time::Duration;

use async_trait::async_trait;
use belfry_model::DeliveryId;

use crate::target::Channel;

/// The limits of vendors, by channel. A target of one channel need not ask: whoever makes its attempts has taken a permit.
#[async_trait]
pub trait VendorLimits: Send + Sync {
    /// Waits for a permit, `at_most` so long. `false`: there was none. Whoever is urgent goes first, then in the order of
    /// acceptance.
    async fn permit(
        &self,
        channel: &Channel,
        urgent: bool,
        delivery: DeliveryId,
        at_most: Duration,
    ) -> bool;

    /// The vendor asks to be left alone, ms from now; `None`: it did not say for how long.
    fn pause(&self, channel: &Channel, wait_ms: Option<u64>);
}

/// No limits.
#[derive(Debug, Clone, Copy)]
pub struct NoLimits;

#[async_trait]
impl VendorLimits for NoLimits {
    async fn permit(&self, _: &Channel, _: bool, _: DeliveryId, _: Duration) -> bool {
        true
    }
    fn pause(&self, _: &Channel, _: Option<u64>) {}
}
