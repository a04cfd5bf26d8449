//! The frame of the kinds that reach phones: one request to a provider for one or several numbers.
//!
//! A kind says what its settings are, how a request is made and what the provider's answer means for each number
//! ([`Phone`]). Everything else is here, once: whom to reach, who has been reached, pauses between two messages to the
//! same phone, sending, records without secrets.
//!
//! It must never know a provider.

pub(crate) mod variable;

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use belfry_alarm::{Alarm, PHONE_NUMBER_EXPECTED, is_phone_number};
use belfry_egress::{
    EgressClient, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Url,
};
use belfry_model::config::Schedule;
use belfry_model::delivery::Reason;
use belfry_model::{Clock, FieldError};
use belfry_transform::Escape;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::{judge_failure, judge_unclear};
use crate::directory::Directory;
use crate::kind::{ConnectContext, LabelPair, TargetKind};
use crate::message::compose;
use crate::message::settings::{self, Beside, Common};
use crate::messenger::{About, Answer, Ask, Check, Class, Refusal};
use crate::people::{Found, People, Person, Progress, Reach};
use crate::record::{Scrub, request_record, response_record, shown_url, shown_url_text};
use crate::settings::object;
use crate::target::{Attempted, Channel, ChannelLimit, Job, RequestRecord, Target, Verdict};

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Most requests that a preview shows.
const REQUESTS_SHOWN_MAX: usize = 4;
/// Most numbers in settings.
const NUMBERS_MAX: usize = 100;
/// Longest pause between two messages to the same number, in seconds.
const PAUSE_SECONDS_MAX: u32 = 86_400;
/// Most numbers whose last message is remembered.
const REMEMBERED_MAX: usize = 2000;

/// A kind that reaches phones.
pub(crate) trait Phone: Sized + Send + Sync + 'static {
    /// Its own settings; those of [`Common`] and [`To`] stand beside them.
    type Settings: DeserializeOwned + JsonSchema;
    /// Name, titles, secrets.
    const ABOUT: About;
    /// How values that the operator's own text inserts are made harmless.
    const ESCAPE: Escape;
    /// Most numbers in one request.
    const NUMBERS_MAX: usize;
    /// Whether a request may name nobody: the receiver knows whom it is for.
    const NOBODY: bool = false;
    /// The pause between two messages or calls to the same number unless the settings say otherwise, in seconds.
    const PAUSE_SECONDS: u32 = 60;

    /// Settings that are valid.
    fn example() -> Value;
    /// Checks settings, secrets in clear, and takes them; nothing when `check` has got an error.
    fn new(settings: Self::Settings, check: &mut Check<'_>) -> Option<Self>;
    /// JSON pointers of the secrets in settings of any shape.
    fn secret_pointers(settings: &Value) -> Vec<String> {
        Self::ABOUT.secret_pointers(settings)
    }
    /// What the provider counts its limit by, and a limit below it.
    fn channel(&self) -> Option<(String, ChannelLimit)>;
    /// Why nobody is called for this event, if so.
    fn skips(&self, alarm: &Alarm) -> Option<&'static str> {
        let _ = alarm;
        None
    }
    /// Most numbers in one request of this target.
    fn numbers_max(&self) -> usize {
        Self::NUMBERS_MAX
    }
    /// Whether two numbers may stand in one request.
    fn together(&self, one: &str, other: &str) -> bool {
        let _ = (one, other);
        true
    }
    /// The request for some numbers, at least one; the error says what cannot be sent.
    fn call(&self, ask: &Ask<'_>, common: &Common, numbers: &[&str]) -> Result<Call, String>;
    /// What the answer means, as far as it is one of the provider's.
    fn judge(&self, answer: &Answer<'_>, numbers: &[&str]) -> Heard;
}

/// Whom to reach: settings of every kind that reaches phones.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct To {
    /// Phone numbers, E.164, at most 100.
    #[serde(default, rename = "to")]
    #[schemars(length(max = 100))]
    numbers: Vec<String>,
    /// Contacts and groups whose phone numbers are added to `to`.
    #[serde(default, deserialize_with = "object")]
    people: People,
    /// The pause between two messages or calls to the same number, in seconds (0 to 86,400). Absent: 60; 300 where calls are all that the kind makes.
    #[serde(default)]
    #[schemars(range(max = 86400))]
    seconds_per_number: Option<u32>,
}

impl Beside for To {
    const MEMBERS: &'static [&'static str] = &["to", "people", "secondsPerNumber"];
}

/// A request.
#[derive(Debug)]
pub(crate) struct Call {
    /// The method.
    pub(crate) method: Method,
    /// Where to.
    pub(crate) url: Url,
    /// Headers besides content type and user agent, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The media type of the body; none when there is no body.
    pub(crate) content_type: Option<&'static str>,
    /// The body.
    pub(crate) body: String,
}

/// What a provider's answer means.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Something for each number, in their order.
    Each(Vec<One>),
    /// The request as a whole is refused.
    Refused(Refusal),
    /// Nothing that the provider is known to say: the HTTP status decides, and 2xx is no success.
    Unclear,
}

/// What an answer means for a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum One {
    /// It was taken.
    Taken,
    /// Not now; again after so many ms, for this reason.
    Later(u64, String),
    /// Never, for this reason.
    Never(String),
}

impl One {
    /// What a refusal means for a number; nothing when it is about the account.
    pub(crate) fn of(refusal: &Refusal) -> Option<Self> {
        let why = refusal.in_words();
        match refusal.class {
            Class::Misconfigured => None,
            Class::Throttled(wait_ms) => Some(Self::Later(wait_ms, why)),
            Class::Retry => Some(Self::Later(10_000, why)),
            Class::Permanent | Class::TooLarge => Some(Self::Never(why)),
        }
    }
}

/// An entry of the registry.
pub(crate) struct PhoneKind<P>(PhantomData<fn() -> P>);

impl<P: Phone> PhoneKind<P> {
    /// The only one.
    pub(crate) const ENTRY: Self = Self(PhantomData);

    fn checked(
        settings: &Value,
        egress: &EgressClient,
    ) -> Result<(Common, To, P), Vec<FieldError>> {
        let (common, to, own) = settings::read_with::<To, P::Settings>(settings)?;
        let mut check = Check::new(egress);
        check.need(
            to.numbers.len() <= NUMBERS_MAX,
            "/to",
            "at most 100 numbers",
        );
        for (n, number) in to.numbers.iter().enumerate() {
            let pointer = format!("/to/{n}");
            check.need(is_phone_number(number), &pointer, PHONE_NUMBER_EXPECTED);
        }
        for error in to.people.check() {
            let error = error.under("/people");
            check.error(error.pointer, error.detail);
        }
        check.need(
            P::NOBODY || !to.numbers.is_empty() || !to.people.is_empty(),
            "/to",
            "nobody is reached: name a number here, or contacts or groups in people",
        );
        check.need(
            to.seconds_per_number
                .is_none_or(|pause| pause <= PAUSE_SECONDS_MAX),
            "/secondsPerNumber",
            "expected at most 86400",
        );
        let made = P::new(own, &mut check);
        check.ok(made).map(|made| (common, to, made))
    }
}

impl<P: Phone> TargetKind for PhoneKind<P> {
    fn name(&self) -> &'static str {
        P::ABOUT.name
    }
    fn title(&self) -> LabelPair {
        P::ABOUT.title
    }
    fn about(&self) -> LabelPair {
        P::ABOUT.about
    }
    fn schema(&self) -> Value {
        settings::schema_with::<To, P::Settings>()
    }
    fn example(&self) -> Value {
        P::example()
    }
    fn secret_pointers(&self, settings: &Value) -> Vec<String> {
        P::secret_pointers(settings)
    }
    fn shown_to(&self, settings: &Value, pointer: &str) -> Option<String> {
        P::ABOUT.shown_to(settings, pointer)
    }
    fn default_schedule(&self) -> Schedule {
        Schedule::Alarm
    }
    fn default_retry_on_4xx(&self) -> bool {
        false
    }
    fn validate(&self, settings: &Value, egress: &EgressClient) -> Vec<FieldError> {
        Self::checked(settings, egress).err().unwrap_or_default()
    }
    fn connect(
        &self,
        settings: Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>> {
        let (common, to, phone) = Self::checked(&settings, &context.egress)?;
        let mut scrub = Scrub::default();
        for pointer in P::secret_pointers(&settings) {
            if let Some(secret) = settings.pointer(&pointer).and_then(Value::as_str) {
                // Of an address its secret parts, so that the rest of it can be shown.
                match Url::parse(secret) {
                    Ok(url) => scrub.add_url(&url),
                    Err(_) => scrub.add(secret),
                }
            }
        }
        Ok(Arc::new(Caller {
            phone,
            numbers: to.numbers,
            people: to.people,
            pause_seconds: to.seconds_per_number.unwrap_or(P::PAUSE_SECONDS),
            timeout: Duration::from_secs(common.timeout_seconds.into()),
            common,
            scrub,
            told: Mutex::default(),
            user_agent: HeaderValue::from_str(&context.user_agent).ok(),
            egress: Arc::clone(&context.egress),
            clock: Arc::clone(&context.clock),
            directory: Arc::clone(&context.directory),
        }))
    }
    fn reaches(&self) -> Option<Reach> {
        Some(Reach::Phone)
    }
}

/// A target that is ready to call.
struct Caller<P> {
    phone: P,
    /// Whom it reaches besides people.
    numbers: Vec<String>,
    people: People,
    pause_seconds: u32,
    common: Common,
    scrub: Scrub,
    timeout: Duration,
    /// When which number was reached last, ms since 1970. The provider has a limit of its own, which holds after a
    /// restart and from other nodes; this one keeps away from it.
    told: Mutex<HashMap<String, i64>>,
    user_agent: Option<HeaderValue>,
    egress: Arc<EgressClient>,
    clock: Arc<dyn Clock>,
    directory: Arc<dyn Directory>,
}

impl<P: Phone> fmt::Debug for Caller<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("kind", &P::ABOUT.name)
            .finish_non_exhaustive()
    }
}

impl<P: Phone> Caller<P> {
    fn recipients(&self) -> Found {
        if P::NOBODY && self.numbers.is_empty() && self.people.is_empty() {
            return Found {
                people: vec![Person::at("")],
                missing: Vec::new(),
            };
        }
        self.people
            .find(Reach::Phone, &*self.directory)
            .with(&self.numbers)
    }

    /// When a number may be reached again, if it has to wait.
    fn pauses_until(&self, number: &str, now_ms: i64) -> Option<i64> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let until = told.get(number)? + i64::from(self.pause_seconds) * 1000;
        (until > now_ms).then_some(until)
    }

    fn remember(&self, number: &str, now_ms: i64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED_MAX {
            let pause_ms = i64::from(self.pause_seconds) * 1000;
            told.retain(|_, at| *at + pause_ms > now_ms);
        }
        if told.len() < REMEMBERED_MAX {
            told.insert(number.to_owned(), now_ms);
        }
    }

    /// Those of `due` who are told by the same request as the first.
    fn in_one_request<'p>(&self, due: &[&'p Person]) -> Vec<&'p Person> {
        let reads = |person: &Person| {
            let common = self.common.read_by(person);
            (common.language, common.time_zone)
        };
        let with_first = |person: &&'p Person| {
            due.first().is_some_and(|first| {
                reads(person) == reads(first)
                    && self.phone.together(&first.address, &person.address)
            })
        };
        let together = due.iter().copied().filter(with_first);
        together.take(self.phone.numbers_max()).collect()
    }

    /// The request with its record, for people who read alike.
    fn ready(
        &self,
        job: &Job<'_>,
        alarm: &Alarm,
        people: &[&Person],
        now_ms: i64,
    ) -> Result<(Request, RequestRecord), String> {
        let common = people
            .first()
            .map_or_else(|| self.common.clone(), |person| self.common.read_by(person));
        let message = compose(job, alarm, &common, P::ESCAPE, now_ms);
        let ask = Ask {
            job,
            alarm,
            message: &message,
            part: None,
            now_ms,
        };
        let numbers: Vec<&str> = people.iter().map(|person| &*person.address).collect();
        let call = self.phone.call(&ask, &common, &numbers)?;
        let mut headers = HeaderMap::new();
        if call.body.is_empty() && call.method != Method::GET {
            // Nobody says so by himself, and some servers ask for it (411).
            headers.insert("content-length", HeaderValue::from_static("0"));
        }
        let mut secret_headers = Vec::new();
        let agent = self
            .user_agent
            .iter()
            .map(|agent| ("user-agent", agent.clone()));
        let kind = call
            .content_type
            .map(|kind| ("content-type", HeaderValue::from_static(kind)));
        for (name, value) in agent.chain(kind) {
            headers.insert(name, value);
        }
        for (name, value) in &call.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) else {
                return Err("a header cannot be sent: it holds a line break or the like".to_owned());
            };
            if name == "authorization" {
                secret_headers.push(name.as_str().to_owned());
            }
            headers.insert(name, value);
        }
        let cleaned = self.scrub.clean(call.url.to_string());
        let shown = Url::parse(&cleaned).map_or_else(|_| shown_url_text(""), |url| shown_url(&url));
        let body = self.scrub.clean(call.body.clone());
        let mut record = request_record(
            call.method.as_str(),
            &shown,
            &headers,
            &secret_headers,
            body.as_bytes(),
            false,
        );
        record.body_bytes = call.body.len();
        let request = Request {
            method: call.method,
            url: call.url,
            headers,
            body: Bytes::from(call.body),
            timeout: self.timeout,
            response_bytes_max: ANSWER_BYTES_MAX,
        };
        Ok((request, record))
    }

    /// What an answer means; the numbers that it is about go into `progress`.
    fn hear(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        numbers: &[&str],
        progress: &mut Progress,
    ) -> Option<Verdict> {
        let now_ms = self.clock.now_ms();
        let text = String::from_utf8_lossy(body);
        let answer = Answer {
            status: status.as_u16(),
            headers,
            text: &text,
            json: serde_json::from_slice(body).unwrap_or_default(),
            now_ms,
        };
        match self.phone.judge(&answer, numbers) {
            Heard::Each(each) => {
                let unheard = || One::Never("the answer does not tell of this number".to_owned());
                let each = each.into_iter().chain(std::iter::repeat_with(unheard));
                for (number, one) in numbers.iter().zip(each) {
                    let number = (*number).to_owned();
                    match one {
                        One::Taken => {
                            self.remember(&number, now_ms);
                            progress.done.push(number);
                        }
                        One::Later(wait_ms, why) => {
                            let until = now_ms.saturating_add_unsigned(wait_ms.max(1000));
                            progress.postpone(&number, until, &self.scrub.clean(why));
                        }
                        One::Never(why) => {
                            progress.refuse(&number, &self.scrub.clean(why));
                        }
                    }
                }
                None
            }
            Heard::Refused(refusal) => Some(refusal.verdict(P::ABOUT.vendor)),
            Heard::Unclear => Some(judge_unclear(status, headers, P::ABOUT.vendor, now_ms)),
        }
    }

    async fn send(&self, job: &Job<'_>, found: Found) -> Attempted {
        let now_ms = self.clock.now_ms();
        let alarm = Alarm::read(job.event);
        if let Some(why) = self.phone.skips(&alarm) {
            return Attempted::unsent(Verdict::Skipped {
                reason: Reason::NothingToSend,
                detail: why.to_owned(),
            });
        }
        let mut progress = Progress::read(job.progress);
        for person in &found.people {
            let number = &person.address;
            if !progress.has(number)
                && progress.is_due(number, now_ms)
                && let Some(until) = self.pauses_until(number, now_ms)
            {
                let why = format!("reached less than {} s ago", self.pause_seconds);
                progress.postpone(number, until, &why);
            }
        }
        let due: Vec<&Person> = found
            .people
            .iter()
            .filter(|person| !progress.has(&person.address))
            .filter(|person| progress.is_due(&person.address, now_ms))
            .collect();
        let now = self.in_one_request(&due);
        if now.is_empty() {
            return self.conclude(&found, &progress, Attempted::unsent(Verdict::Delivered));
        }
        let numbers: Vec<&str> = now.iter().map(|person| &*person.address).collect();
        let (request, record) = match self.ready(job, &alarm, &now, now_ms) {
            Ok(made) => made,
            Err(detail) => {
                return Attempted::unsent(Verdict::Permanent {
                    reason: Reason::TransformError,
                    detail: self.scrub.clean(detail),
                });
            }
        };
        progress
            .later
            .retain(|(later, ..)| !numbers.contains(&later.as_str()));
        let mut attempted = Attempted {
            request: Some(record),
            ..Attempted::unsent(Verdict::Delivered)
        };
        let verdict = match self.egress.send(request).await {
            Ok(answer) => {
                attempted.status = Some(answer.status.as_u16());
                attempted.duration_ms = answer.duration_ms;
                attempted.response = Some(response_record(
                    answer.status,
                    &answer.headers,
                    &answer.body,
                    answer.truncated,
                    &self.scrub,
                ));
                self.hear(
                    answer.status,
                    &answer.headers,
                    &answer.body,
                    &numbers,
                    &mut progress,
                )
            }
            Err(error) => {
                attempted.duration_ms = error.duration_ms;
                if let Some(begun) = &error.answered {
                    attempted.status = Some(begun.status.as_u16());
                    attempted.response = Some(response_record(
                        begun.status,
                        &begun.headers,
                        b"",
                        true,
                        &self.scrub,
                    ));
                }
                let twice = numbers
                    .iter()
                    .all(|number| progress.unanswered.iter().any(|n| n == number));
                if error.reason == Reason::Timeout && twice {
                    // Nobody is to be called a third time for one alarm.
                    for number in &numbers {
                        let why = "two requests were not answered in time; they may have been carried out";
                        progress.refuse(number, why);
                    }
                    None
                } else {
                    if error.reason == Reason::Timeout {
                        let all = numbers.iter().map(|number| (*number).to_owned());
                        progress.unanswered.extend(all);
                    }
                    Some(judge_failure(&error, None, self.clock.now_ms()))
                }
            }
        };
        match verdict {
            None => self.conclude(&found, &progress, attempted),
            Some(mut verdict) => {
                if let Verdict::Retry { detail, .. } | Verdict::Permanent { detail, .. } =
                    &mut verdict
                {
                    *detail = self.scrub.clean(std::mem::take(detail));
                }
                Attempted {
                    verdict,
                    progress: progress.write(),
                    ..attempted
                }
            }
        }
    }

    fn conclude(&self, found: &Found, progress: &Progress, attempted: Attempted) -> Attempted {
        let (verdict, note) = progress.conclude(&found.people, &found.missing, self.clock.now_ms());
        Attempted {
            verdict,
            note,
            progress: progress.write(),
            ..attempted
        }
    }
}

#[async_trait]
impl<P: Phone> Target for Caller<P> {
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
        self.timeout
    }

    fn channel(&self) -> Option<Channel> {
        let (counted_by, limit) = self.phone.channel()?;
        Some(Channel::of(P::ABOUT.name, &counted_by, limit))
    }

    fn folds(&self) -> bool {
        true
    }

    fn escape(&self) -> Escape {
        P::ESCAPE
    }

    fn preview(&self, job: &Job<'_>) -> Result<Vec<RequestRecord>, String> {
        let found = self.recipients();
        let mut people: Vec<&Person> = found.people.iter().collect();
        if people.is_empty() {
            return Err(format!(
                "nobody would be reached: {}",
                found.missing.join(", ")
            ));
        }
        let alarm = Alarm::read(job.event);
        if let Some(why) = self.phone.skips(&alarm) {
            return Err(why.to_owned());
        }
        let mut records = Vec::new();
        while !people.is_empty() && records.len() < REQUESTS_SHOWN_MAX {
            let now = self.in_one_request(&people);
            let (_, record) = self.ready(job, &alarm, &now, self.clock.now_ms())?;
            records.push(record);
            people.retain(|person| !now.iter().any(|other| other.address == person.address));
        }
        Ok(records)
    }
}
