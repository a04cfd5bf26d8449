//! People whom a target reaches one by one, by mail address or phone number.
//!
//! A kind that reaches people takes them from its settings (addresses, contacts, groups), or is given them by a
//! notification policy that has looked at the clock first. Contacts are looked up when a delivery is made: whoever has
//! left the group meanwhile is not told any more.

use belfry_alarm::{Contact, Language};
use belfry_model::FieldError;
use belfry_model::delivery::Reason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::target::Verdict;

/// Most names of contacts or groups in settings.
const NAMES_MAX: usize = 100;
/// Most people of one delivery; whoever comes after them is told of as not reached.
const PEOPLE_MAX: usize = 200;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// By what people are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// A mail address.
    Email,
    /// A phone number.
    Phone,
}

impl Reach {
    /// What a contact has of it.
    pub(crate) fn of(self, contact: &Contact) -> Option<&str> {
        match self {
            Self::Email => contact.email.as_deref(),
            Self::Phone => contact.phone.as_deref(),
        }
    }

    /// What it is called, for people.
    const fn name(self) -> &'static str {
        match self {
            Self::Email => "mail address",
            Self::Phone => "phone number",
        }
    }
}

/// Somebody to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The contact's name; absent for an address that stands in settings.
    pub contact: Option<String>,
    /// What the person is called; may be empty.
    pub display_name: String,
    /// The mail address or phone number.
    pub address: String,
    /// The person's time zone.
    pub time_zone: Option<String>,
    /// The person's language.
    pub language: Option<Language>,
}

impl Person {
    /// Somebody of whom nothing but the address is known.
    pub(crate) fn at(address: &str) -> Self {
        Self {
            contact: None,
            display_name: String::new(),
            address: address.to_owned(),
            time_zone: None,
            language: None,
        }
    }
}

/// Contacts and groups, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct People {
    /// Names of contacts, at most 100.
    #[schemars(length(max = 100))]
    pub(crate) contacts: Vec<String>,
    /// Names of groups, at most 100.
    #[schemars(length(max = 100))]
    pub(crate) groups: Vec<String>,
}

/// Whom names led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Each once, in the order in which they are named.
    pub(crate) people: Vec<Person>,
    /// Who cannot be reached, and why.
    pub(crate) missing: Vec<String>,
}

impl People {
    /// Whether nobody is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.contacts.is_empty() && self.groups.is_empty()
    }

    /// Everything wrong with the names; whether they exist is told when somebody is to be reached.
    pub(crate) fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (member, names) in [("contacts", &self.contacts), ("groups", &self.groups)] {
            if names.len() > NAMES_MAX {
                let detail = format!("at most {NAMES_MAX} names, got {}", names.len());
                errors.push(FieldError::new(format!("/{member}"), detail));
            }
            for (n, name) in names.iter().enumerate() {
                if name.is_empty() || name.len() > NAME_BYTES_MAX {
                    let detail = format!("expected a name of 1 to {NAME_BYTES_MAX} bytes");
                    errors.push(FieldError::new(format!("/{member}/{n}"), detail));
                }
            }
        }
        errors
    }

    /// The people behind the names.
    pub(crate) fn find(&self, reach: Reach, directory: &dyn Directory) -> Found {
        let mut found = Found::default();
        for name in &self.contacts {
            found.add(name, reach, directory);
        }
        for name in &self.groups {
            match directory.group(name) {
                Some(group) => {
                    for name in &group.contacts {
                        found.add(name, reach, directory);
                    }
                }
                None => found.miss(format!("group {name}: there is none of this name")),
            }
        }
        found
    }
}

impl Found {
    fn add(&mut self, name: &str, reach: Reach, directory: &dyn Directory) {
        let known = |person: &Person| person.contact.as_deref() == Some(name);
        if self.people.iter().any(known) {
            return;
        }
        let Some(contact) = directory.contact(name) else {
            return self.miss(format!("contact {name}: there is none of this name"));
        };
        let Some(address) = reach.of(&contact) else {
            return self.miss(format!("contact {name}: has no {}", reach.name()));
        };
        if self.people.len() >= PEOPLE_MAX {
            return self.miss(format!("those after the first {PEOPLE_MAX}"));
        }
        self.people.push(Person {
            contact: Some(name.to_owned()),
            display_name: contact.display_name.clone(),
            address: address.to_owned(),
            time_zone: contact.time_zone.clone(),
            language: contact.language,
        });
    }

    fn miss(&mut self, why: String) {
        if !self.missing.contains(&why) {
            self.missing.push(why);
        }
    }

    /// Adds addresses that stand in settings, in front; those of contacts that are the same are dropped.
    pub(crate) fn with(mut self, addresses: &[String]) -> Self {
        let mut all: Vec<Person> = addresses
            .iter()
            .map(|address| Person::at(address))
            .collect();
        all.append(&mut self.people);
        for person in all {
            let same = |other: &Person| other.address.eq_ignore_ascii_case(&person.address);
            if !self.people.iter().any(same) {
                self.people.push(person);
            }
        }
        self
    }
}

/// A reason as it is kept: what is kept for many people must not grow without a bound.
fn short(why: &str) -> String {
    const BYTES_MAX: usize = 120;
    let end = why.floor_char_boundary(BYTES_MAX);
    why.get(..end).unwrap_or_default().to_owned()
}

/// What of a delivery to several people is done; kept from attempt to attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Progress {
    /// Addresses that have it.
    pub(crate) done: Vec<String>,
    /// Addresses that were refused for good, each with the reason.
    pub(crate) refused: Vec<(String, String)>,
    /// Addresses that were refused for now: until when, ms since 1970, and why.
    pub(crate) later: Vec<(String, i64, String)>,
    /// Addresses in a request that was sent and not answered.
    pub(crate) unanswered: Vec<String>,
    /// Whether the message has to be short: a longer one was refused.
    pub(crate) short: bool,
}

impl Progress {
    /// What the last attempt left behind; what cannot be read is none.
    pub(crate) fn read(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// For [`Attempted::progress`](crate::Attempted::progress).
    pub(crate) fn write(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// An address that will never be reached.
    pub(crate) fn refuse(&mut self, address: &str, why: &str) {
        self.refused.push((address.to_owned(), short(why)));
    }

    /// An address that may be reached later.
    pub(crate) fn postpone(&mut self, address: &str, until_ms: i64, why: &str) {
        self.later.retain(|(later, ..)| later != address);
        self.later.push((address.to_owned(), until_ms, short(why)));
    }

    /// Whether an address is finished, one way or the other.
    pub(crate) fn has(&self, address: &str) -> bool {
        self.done.iter().any(|done| done == address)
            || self.refused.iter().any(|(refused, _)| refused == address)
    }

    /// Whether an address may be tried now.
    pub(crate) fn is_due(&self, address: &str, now_ms: i64) -> bool {
        self.wait_of(address).is_none_or(|until| until <= now_ms)
    }

    fn wait_of(&self, address: &str) -> Option<i64> {
        let mut later = self.later.iter();
        later
            .find(|(later, ..)| later == address)
            .map(|(_, until, _)| *until)
    }

    /// What follows for the delivery, and what is to be said of a success. `people` are all there are; `missing` those
    /// who have no address.
    pub(crate) fn conclude(
        &self,
        people: &[Person],
        missing: &[String],
        now_ms: i64,
    ) -> (Verdict, Option<String>) {
        if people.is_empty() {
            let detail = format!("nobody to be told: {}", missing.join(", "));
            let reason = Reason::InvalidTarget;
            return (Verdict::Permanent { reason, detail }, None);
        }
        let summary = self.summary(people.len(), missing);
        let open = || people.iter().filter(|person| !self.has(&person.address));
        if open().any(|person| self.is_due(&person.address, now_ms)) {
            return (Verdict::More { detail: summary }, None);
        }
        if let Some(until) = open()
            .filter_map(|person| self.wait_of(&person.address))
            .min()
        {
            let later: Vec<String> = self
                .later
                .iter()
                .map(|(address, _, why)| format!("{address} ({why})"))
                .collect();
            let verdict = Verdict::Later {
                reason: Reason::ProviderRejected,
                detail: format!("{summary}; to be tried again: {}", later.join(", ")),
                wait_ms: u64::try_from(until.saturating_sub(now_ms)).unwrap_or(0),
            };
            return (verdict, None);
        }
        if self.done.is_empty() {
            let reason = Reason::ProviderRejected;
            let detail = summary;
            return (Verdict::Permanent { reason, detail }, None);
        }
        let all = self.refused.is_empty() && missing.is_empty();
        (Verdict::Delivered, (!all).then_some(summary))
    }

    /// "2 of 3 reached; refused for good: b@example.com (550 no such user)".
    fn summary(&self, of: usize, missing: &[String]) -> String {
        let mut text = format!("{} of {} reached", self.done.len(), of + missing.len());
        if !self.refused.is_empty() {
            let refused: Vec<String> = self
                .refused
                .iter()
                .map(|(address, why)| format!("{address} ({why})"))
                .collect();
            text.push_str("; refused for good: ");
            text.push_str(&refused.join(", "));
        }
        if !missing.is_empty() {
            text.push_str("; not reached: ");
            text.push_str(&missing.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use belfry_alarm::ContactGroup;

    use super::*;

    struct Two;

    impl Directory for Two {
        fn contact(&self, name: &str) -> Option<Arc<Contact>> {
            let email = match name {
                "ann" => Some("ann@example.com".to_owned()),
                "bob" => None,
                _ => return None,
            };
            Some(Arc::new(Contact {
                display_name: name.to_uppercase(),
                email,
                ..Contact::default()
            }))
        }
        fn group(&self, name: &str) -> Option<Arc<ContactGroup>> {
            (name == "all").then(|| {
                Arc::new(ContactGroup {
                    description: String::new(),
                    contacts: ["ann", "bob", "eve"].map(str::to_owned).to_vec(),
                })
            })
        }
    }

    #[test]
    fn everybody_is_found_once_and_whoever_is_missing_is_named() {
        let people = People {
            contacts: vec!["ann".to_owned(), "bob".to_owned()],
            groups: vec!["all".to_owned(), "none".to_owned()],
        };
        let found = people
            .find(Reach::Email, &Two)
            .with(&["ops@example.com".to_owned(), "ANN@example.com".to_owned()]);
        let addresses: Vec<_> = found
            .people
            .iter()
            .map(|person| person.address.as_str())
            .collect();
        assert_eq!(addresses, ["ops@example.com", "ANN@example.com"]);
        assert_eq!(
            found.missing,
            [
                "contact bob: has no mail address",
                "contact eve: there is none of this name",
                "group none: there is none of this name",
            ]
        );
    }

    #[test]
    fn progress_round_trips_and_says_who_was_not_reached() {
        let progress = Progress {
            done: vec!["a@x".to_owned()],
            refused: vec![("b@x".to_owned(), "550 no".to_owned())],
            ..Progress::default()
        };
        assert_eq!(Progress::read(progress.write().as_deref()), progress);
        assert_eq!(Progress::read(Some("{")), Progress::default());
        assert!(progress.has("a@x") && progress.has("b@x") && !progress.has("c@x"));
        assert_eq!(
            progress.summary(2, &["contact bob: has no mail address".to_owned()]),
            "1 of 3 reached; refused for good: b@x (550 no); not reached: contact bob: has no mail address"
        );
    }

    #[test]
    fn what_follows_depends_on_who_is_still_to_be_reached() {
        let people: Vec<Person> = ["a@x", "b@x"].map(Person::at).to_vec();
        let mut progress = Progress::default();
        let verdict = |progress: &Progress| progress.conclude(&people, &[], 1000);
        assert!(matches!(verdict(&progress).0, Verdict::More { .. }));
        progress.done.push("a@x".to_owned());
        assert!(matches!(verdict(&progress).0, Verdict::More { .. }));
        progress
            .later
            .push(("b@x".to_owned(), 1500, "450 wait".to_owned()));
        assert!(!progress.is_due("b@x", 1000) && progress.is_due("b@x", 1500));
        assert_eq!(
            verdict(&progress).0,
            Verdict::Later {
                reason: Reason::ProviderRejected,
                detail: "1 of 2 reached; to be tried again: b@x (450 wait)".to_owned(),
                wait_ms: 500,
            }
        );
        progress.later.clear();
        progress
            .refused
            .push(("b@x".to_owned(), "550 no".to_owned()));
        assert_eq!(
            verdict(&progress),
            (
                Verdict::Delivered,
                Some("1 of 2 reached; refused for good: b@x (550 no)".to_owned())
            )
        );
        let refused = Progress {
            refused: people
                .iter()
                .map(|person| (person.address.clone(), "550".to_owned()))
                .collect(),
            ..Progress::default()
        };
        assert!(matches!(verdict(&refused).0, Verdict::Permanent { .. }));
        let nobody = Progress::default().conclude(&[], &["contact bob: gone".to_owned()], 0);
        assert!(matches!(
            nobody.0,
            Verdict::Permanent {
                reason: Reason::InvalidTarget,
                ..
            }
        ));
    }
}
