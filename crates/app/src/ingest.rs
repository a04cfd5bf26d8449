//! Events that are posted.

use belfry_engine::{AcceptContext, Accepted};
use belfry_model::access::Scope;
use belfry_model::{BusName, Event};

use crate::App;
use crate::actor::Actor;
use crate::error::{Code, Error, Result};
use crate::idempotency::Answered;

impl App {
    /// Refuses whoever may not post to the bus, before their body is read.
    pub fn may_post(&self, actor: &Actor, bus: &BusName) -> Result<()> {
        actor.require(&Scope::EventsWrite(Some(bus.clone())))?;
        if bus.is_system() {
            return Err(Error::new(
                Code::ReservedBus,
                "bus system is for what Belfry itself reports; post to another bus",
            ));
        }
        if !self.has_bus(bus) {
            return Err(Error::not_found("bus", bus));
        }
        Ok(())
    }

    /// Whether there is such a bus.
    pub fn has_bus(&self, bus: &BusName) -> bool {
        self.engine.snapshot().bus(bus).is_some()
    }

    /// Makes events durable, all or none. Their deliveries begin after that.
    pub async fn post_events(
        &self,
        actor: &Actor,
        bus: &BusName,
        events: Vec<Event>,
        context: AcceptContext,
    ) -> Result<Answered<Vec<Accepted>>> {
        self.may_post(actor, bus)?;
        // The engine decides by this record too; while it is there, the answer comes from it.
        let replayed = match &context.idempotency {
            Some(key) => self.store.find_idempotency(&key.scope).await?.is_some(),
            None => false,
        };
        let value = self.engine.accept(bus, events, context).await?;
        Ok(Answered { value, replayed })
    }

    /// Whether senders of this origin may post to the bus without asking twice (CloudEvents web hooks, section 4).
    pub fn allows_origin(&self, bus: &BusName, origin: &str) -> bool {
        let listed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        !bus.is_system() && self.has_bus(bus) && self.settings.webhook_origins.iter().any(listed)
    }
}
