//! One attempt: one mail to those who have not got it yet, and what of it is done for whom.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use belfry_alarm::{Alarm, AlarmState};
use belfry_egress::{EgressClient, Trust};
use belfry_model::Clock;
use belfry_model::delivery::Reason;
use belfry_transform::Escape;
use lettre::Address;
use lettre::message::Mailbox;

use super::answer::{ForOne, Meaning, for_one, judge};
use super::check::mailbox;
use super::config::{EmailSettings, Security};
use super::mail::{Mail, html};
use super::pool::Pool;
use super::smtp::{Protection, Reply, Server, Session, Step, Trouble};
use crate::directory::Directory;
use crate::kind::ConnectContext;
use crate::message::settings::Common;
use crate::message::{Look, Message, compose, cut};
use crate::people::{Found, Person, Progress, Reach};
use crate::record::Scrub;
use crate::target::{
    Attempted, Channel, ChannelLimit, Job, RequestRecord, ResponseRecord, Target, Verdict,
};

/// Most recipients of one mail; more get one of their own.
const RECIPIENTS_MAX: usize = 50;
/// Largest text and HTML of a mail together, in bytes.
const CONTENT_BYTES_MAX: usize = 256 * 1024;
/// The same after a server found a mail too large.
const SHORT_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of a mail that are kept in a record.
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// How long somebody waits for whom there is no room even in a mail of his own.
const TOO_MANY_MS: i64 = 60_000;
/// A conversation has many answers: it may take as many times as long as one answer.
const CONVERSATION_FACTOR: u32 = 6;
/// Mails a minute through one account.
const LIMIT: ChannelLimit = ChannelLimit {
    permits: 60,
    per: Duration::from_mins(1),
    burst: 20,
};

/// A mail target that is ready to send.
pub(crate) struct Mailer {
    settings: EmailSettings,
    common: Common,
    from: Mailbox,
    reply_to: Option<Mailbox>,
    trust: OnceLock<Trust>,
    pool: Arc<Pool>,
    scrub: Scrub,
    egress: Arc<EgressClient>,
    clock: Arc<dyn Clock>,
    directory: Arc<dyn Directory>,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer")
            .field("host", &self.settings.smtp.host)
            .finish_non_exhaustive()
    }
}

/// One mail, ready to go.
struct Prepared {
    bytes: Vec<u8>,
    record: RequestRecord,
    /// What answers and repeats refer to.
    message_id: String,
    /// Whether it is the first of its alarm.
    is_first: bool,
}

/// What was said in a conversation.
#[derive(Default)]
struct Said {
    lines: Vec<String>,
    last: Option<u16>,
}

impl Said {
    fn note(&mut self, what: &str, reply: &Reply) {
        self.lines.push(format!("{what}: {reply}"));
        self.last = Some(reply.code);
    }
}

impl Mailer {
    /// A mailer of checked settings; none if `from` is no address after all.
    pub(crate) fn new(
        settings: EmailSettings,
        common: Common,
        context: &ConnectContext,
    ) -> Option<Self> {
        let mut scrub = Scrub::default();
        if let Some(password) = &settings.smtp.password {
            scrub.add(password.expose());
        }
        Some(Self {
            from: mailbox(&settings.from)?,
            reply_to: settings.reply_to.as_deref().and_then(mailbox),
            trust: OnceLock::new(),
            pool: Arc::default(),
            scrub,
            egress: Arc::clone(&context.egress),
            clock: Arc::clone(&context.clock),
            directory: Arc::clone(&context.directory),
            settings,
            common,
        })
    }

    /// Everybody who is named in the settings.
    fn recipients(&self) -> Found {
        let addresses = [&*self.settings.to, &*self.settings.cc].concat();
        self.settings
            .people
            .find(Reach::Email, &*self.directory)
            .with(&addresses)
    }

    /// The mail for some people, who all read alike.
    fn prepare(
        &self,
        job: &Job<'_>,
        people: &[&Person],
        bytes_max: usize,
    ) -> Result<Prepared, String> {
        let common = people
            .first()
            .map_or_else(|| self.common.clone(), |person| self.common.read_by(person));
        let now_ms = self.clock.now_ms();
        let alarm = Alarm::read(job.event);
        let mut message = compose(job, &alarm, &common, Escape::None, now_ms);
        cut::fit(&mut message, |message| content_bytes(message) <= bytes_max);
        let domain = self.from.email.domain();
        let root = root_id(job, &alarm, domain);
        let is_first = root.is_some()
            && alarm.state == AlarmState::Firing
            && job.alarm.is_some_and(|life| life.told_at_ms.is_none());
        let thread = job
            .alarm
            .and_then(|life| life.thread.clone())
            .or_else(|| root.clone());
        let message_id = match root {
            Some(root) if is_first => root,
            _ => format!("<{}@{domain}>", job.delivery),
        };
        let (mut to, mut cc) = (Vec::new(), Vec::new());
        for person in people {
            let copy = self.settings.cc.contains(&person.address);
            let list = if copy { &mut cc } else { &mut to };
            list.extend(mailbox_of(person));
        }
        let mail = Mail {
            from: &self.from,
            reply_to: self.reply_to.as_ref(),
            to,
            cc,
            thread: thread.filter(|_| !is_first),
            message_id: message_id.clone(),
            at_ms: now_ms,
            important: message.look == Look::Critical,
            marks: vec![
                ("X-Event-Id", job.delivery.event.to_string()),
                ("X-Alarm-Key", alarm.key.as_str().to_owned()),
                ("X-Severity", alarm.severity.as_str().to_owned()),
            ],
            message: &message,
        };
        let bytes = mail.bytes()?;
        let record = RequestRecord {
            method: "SMTP".to_owned(),
            url: self.address(),
            headers: mail.headers(),
            body_bytes: bytes.len(),
            body: Some(format!("{}\n\n{}", mail.text(), html(&message))),
            body_is_event: false,
        };
        Ok(Prepared {
            bytes,
            record,
            message_id,
            is_first,
        })
    }

    /// The server as records name it.
    fn address(&self) -> String {
        let smtp = &self.settings.smtp;
        let scheme = match smtp.security {
            Security::Tls => "smtps",
            Security::StartTls | Security::None => "smtp",
        };
        format!("{scheme}://{}:{}", smtp.host, smtp.port())
    }

    fn protection(&self) -> Result<Protection, Trouble> {
        let smtp = &self.settings.smtp;
        if smtp.security == Security::None {
            return Ok(Protection::None);
        }
        let known = self.trust.get().cloned();
        let trust = known.map_or_else(|| self.egress.trust(smtp.ca.as_deref()), Ok);
        let trust = trust.map_err(|error| Trouble::Broken {
            reason: Reason::TlsError,
            detail: error.to_string(),
        })?;
        let trust = self.trust.get_or_init(|| trust).clone();
        Ok(match smtp.security {
            Security::Tls => Protection::Tls(trust),
            Security::StartTls | Security::None => Protection::StartTls(trust),
        })
    }

    /// A conversation that waits, if it still lives; else a new one.
    async fn session(&self) -> Result<Session, Trouble> {
        if let Some(mut session) = self.pool.take()
            && session.reset().await.is_ok()
        {
            return Ok(session);
        }
        let smtp = &self.settings.smtp;
        let protection = self.protection()?;
        let login = smtp
            .username
            .as_deref()
            .zip(smtp.password.as_ref().map(crate::secret::Secret::expose));
        let server = Server {
            host: &smtp.host,
            port: smtp.port(),
            protection: &protection,
            hello: smtp.hello.as_deref(),
            login,
        };
        Session::open(&self.egress, &server).await
    }

    /// Sends one mail to `people`; what becomes of each stands in `progress` afterwards, also when it breaks off.
    async fn converse(
        &self,
        mail: &Prepared,
        people: &[&Person],
        progress: &mut Progress,
        said: &mut Said,
    ) -> Result<(), Trouble> {
        let mut session = self.session().await?;
        if let Some(max) = session.size_max().filter(|max| *max < mail.bytes.len()) {
            self.pool.give(session);
            let text = format!(
                "takes at most {max} bytes, and the mail has {}",
                mail.bytes.len()
            );
            return Err(Trouble::Refused(Step::Sender, Reply { code: 552, text }));
        }
        let sender = self.settings.bounces_to.as_deref();
        let sender = sender.unwrap_or_else(|| self.from.email.as_ref());
        session.sender(sender, mail.bytes.len()).await?;
        let mut taken = Vec::new();
        for person in people {
            let address = &person.address;
            let reply = session.recipient(address).await?;
            said.note(address, &reply);
            match for_one(&reply) {
                ForOne::Taken => taken.push(address.clone()),
                ForOne::Later(wait_ms) => {
                    let due_ms = self.clock.now_ms().saturating_add_unsigned(wait_ms);
                    progress.postpone(address, due_ms, &reply.to_string());
                }
                // Those after it were not asked; they are in the next mail.
                ForOne::TooMany if !taken.is_empty() => break,
                ForOne::TooMany => {
                    let due_ms = self.clock.now_ms().saturating_add(TOO_MANY_MS);
                    progress.postpone(address, due_ms, &reply.to_string());
                }
                ForOne::Never => progress.refuse(address, &reply.to_string()),
            }
        }
        if taken.is_empty() {
            session.reset().await?;
        } else {
            let reply = session.content(&mail.bytes).await?;
            said.note("message", &reply);
            progress.done.append(&mut taken);
        }
        self.pool.give(session);
        Ok(())
    }

    async fn send(&self, job: &Job<'_>, found: Found) -> Attempted {
        let started = Instant::now();
        let mut progress = Progress::read(job.progress);
        let now_ms = self.clock.now_ms();
        let open: Vec<&Person> = found
            .people
            .iter()
            .filter(|person| !progress.has(&person.address))
            .collect();
        let is_due = |person: &&&Person| progress.is_due(&person.address, now_ms);
        let Some(first) = open.iter().find(is_due).copied() else {
            return self.conclude(&found, &progress, Attempted::unsent(Verdict::Delivered));
        };
        // One mail is in one language.
        let reads = |person: &Person| {
            let common = self.common.read_by(person);
            (common.language, common.time_zone)
        };
        let alike: Vec<&Person> = found
            .people
            .iter()
            .filter(|person| reads(person) == reads(first))
            .collect();
        let now: Vec<&Person> = open
            .iter()
            .filter(is_due)
            .copied()
            .filter(|person| reads(person) == reads(first))
            .take(RECIPIENTS_MAX)
            .collect();
        let bytes_max = if progress.short {
            SHORT_BYTES_MAX
        } else {
            CONTENT_BYTES_MAX
        };
        let mail = match self.prepare(job, &alike, bytes_max) {
            Ok(mail) => mail,
            Err(detail) => {
                return Attempted::unsent(Verdict::Permanent {
                    reason: Reason::Internal,
                    detail,
                });
            }
        };
        for person in &now {
            progress
                .later
                .retain(|(later, ..)| *later != person.address);
        }
        let mut said = Said::default();
        let conversation = self.converse(&mail, &now, &mut progress, &mut said);
        let outcome = tokio::time::timeout(self.limit(), conversation).await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(Trouble::Broken {
                reason: Reason::Timeout,
                detail: "the conversation with the mail server was not over within the limit"
                    .to_owned(),
            })
        });
        let mut attempted = Attempted {
            thread: mail.is_first.then(|| mail.message_id.clone()),
            ..Attempted::unsent(Verdict::Delivered)
        };
        let mut record = mail.record;
        if let Some(body) = &mut record.body {
            body.truncate(body.floor_char_boundary(RECORD_BYTES_MAX));
        }
        attempted.request = Some(record);
        let failed = outcome.err();
        if let Some(Trouble::Refused(step, reply)) = &failed {
            said.note(&step.to_string(), reply);
        }
        attempted.status = said.last;
        attempted.response = said.last.map(|status| {
            let body = self.scrub.clean(said.lines.join("\n"));
            ResponseRecord {
                status,
                headers: Vec::new(),
                truncated: false,
                bytes: body.len(),
                body,
            }
        });
        let mut attempted = match failed.as_ref().map(judge) {
            None => self.conclude(&found, &progress, attempted),
            Some(Meaning::TooLarge(detail)) if !progress.short => {
                progress.short = true;
                attempted.verdict = Verdict::More {
                    detail: format!("{detail}; it goes again, shortened"),
                };
                attempted
            }
            Some(Meaning::TooLarge(detail)) => {
                attempted.verdict = Verdict::Permanent {
                    reason: Reason::RequestTooLarge,
                    detail,
                };
                attempted
            }
            Some(Meaning::Verdict(verdict)) => {
                attempted.verdict = verdict;
                attempted
            }
        };
        if let Verdict::Retry { detail, .. }
        | Verdict::Later { detail, .. }
        | Verdict::Permanent { detail, .. } = &mut attempted.verdict
        {
            *detail = self.scrub.clean(std::mem::take(detail));
        }
        attempted.progress = progress.write();
        attempted.duration_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
        attempted
    }

    /// What follows when a conversation has come to its end.
    fn conclude(&self, found: &Found, progress: &Progress, attempted: Attempted) -> Attempted {
        let (verdict, note) = progress.conclude(&found.people, &found.missing, self.clock.now_ms());
        Attempted {
            verdict,
            note,
            ..attempted
        }
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.common.timeout_seconds.into()) * CONVERSATION_FACTOR
    }
}

fn content_bytes(message: &Message) -> usize {
    crate::message::markup::write(message, &crate::message::markup::Plain).len()
        + html(message).len()
}

/// The id of the first mail of an alarm: the same for everybody who knows alarm and beginning.
fn root_id(job: &Job<'_>, alarm: &Alarm, domain: &str) -> Option<String> {
    let life = job.alarm?;
    // A sender's key may hold anything.
    let key = belfry_alarm::AlarmKey::of([alarm.key.as_str()]);
    Some(format!("<{key}.{}@{domain}>", life.first_at_ms))
}

fn mailbox_of(person: &Person) -> Option<Mailbox> {
    let address: Address = person.address.parse().ok()?;
    let name: String = Escape::Line.apply(&person.display_name).trim().to_owned();
    Some(Mailbox::new((!name.is_empty()).then_some(name), address))
}

#[async_trait]
impl Target for Mailer {
    async fn deliver(&self, job: &Job<'_>) -> Attempted {
        self.send(job, self.recipients()).await
    }

    async fn deliver_to(&self, job: &Job<'_>, people: &[Person]) -> Attempted {
        let found = Found {
            people: people.to_vec(),
            missing: Vec::new(),
        };
        self.send(job, found).await
    }

    fn timeout(&self) -> Duration {
        self.limit() + Duration::from_secs(1)
    }

    fn channel(&self) -> Option<Channel> {
        let smtp = &self.settings.smtp;
        let account = format!(
            "{}\n{}\n{}",
            smtp.host,
            smtp.port(),
            smtp.username.as_deref().unwrap_or_default()
        );
        Some(Channel::of("email", &account, LIMIT))
    }

    fn folds(&self) -> bool {
        true
    }

    fn preview(&self, job: &Job<'_>) -> Result<Vec<RequestRecord>, String> {
        let found = self.recipients();
        if found.people.is_empty() {
            return Err(format!(
                "nobody would get the mail: {}",
                found.missing.join(", ")
            ));
        }
        let people: Vec<&Person> = found.people.iter().collect();
        let mail = self.prepare(job, &people, CONTENT_BYTES_MAX)?;
        Ok(vec![mail.record])
    }
}
