//! Functions: their code, what was run, what is to be run.

use async_trait::async_trait;
use belfry_model::{DeliveryId, FunctionName, NodeId};
use uuid::Uuid;

use crate::{Page, Result};

/// A zip file that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeInfo {
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its size.
    pub bytes: u64,
    /// When it came, ms since 1970.
    pub at_ms: i64,
}

/// One run of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvocation {
    /// Which: a UUID of version 7. Lists, ages and purges go by the time in it.
    pub request_id: Uuid,
    /// The function.
    pub function: FunctionName,
    /// The version that ran; `None`: none was found.
    pub version: Option<String>,
    /// The delivery that asked.
    pub delivery: Option<DeliveryId>,
    /// When it was asked for, ms since 1970.
    pub started_at_ms: i64,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// The word for how it ended; `None`: it runs.
    pub outcome: Option<String>,
    /// The node that ran it.
    pub node: NodeId,
    /// Everything about it but the log, as JSON text. Empty in lists when it is longer than [`LISTED_RECORD_BYTES_MAX`].
    pub record: String,
    /// What it printed, a line of JSON for each. Empty in lists.
    pub log: String,
}

/// Records up to this many bytes are in lists.
pub const LISTED_RECORD_BYTES_MAX: usize = 64 * 1024;

/// The word for a run that went well; every other one is a failure.
pub const SUCCEEDED: &str = "succeeded";

/// How an invocation has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndedAs {
    /// By this word.
    Word(String),
    /// Not well: by any word but [`SUCCEEDED`].
    Failed,
    /// Not yet.
    Running,
}

/// What invocations to list. All filters must hold.
#[derive(Debug, Clone, Default)]
pub struct InvocationQuery {
    /// Of this function.
    pub function: Option<FunctionName>,
    /// Asked for by this delivery.
    pub delivery: Option<DeliveryId>,
    /// Which ended so.
    pub ended: Option<EndedAs>,
    /// Whose record or log holds this text, as it is.
    pub text: Option<String>,
    /// Asked for at or after, ms since 1970.
    pub since_ms: Option<i64>,
    /// Asked for before, ms since 1970.
    pub until_ms: Option<i64>,
    /// Before this one.
    pub before: Option<Uuid>,
    /// At most so many rows.
    pub limit: u32,
    /// Looks at no more than so many invocations; then returns what it has, with a cursor.
    pub scan_max: u32,
}

/// An invocation that nobody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// The request id of each of its invocations: a UUID of version 7.
    pub id: Uuid,
    /// The function.
    pub function: FunctionName,
    /// A version, an alias, `$LATEST` or `$DEFAULT`.
    pub qualifier: String,
    /// Who asked: the id of a key, or another name of an actor.
    pub caller: String,
    /// When it was asked for, ms since 1970.
    pub created_at_ms: i64,
    /// When it is to be run, ms since 1970.
    pub due_at_ms: i64,
    /// What it is given, as JSON text.
    pub event: String,
}

/// A call that a node has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedCall {
    /// The call; `due_at_ms` is the end of the lease.
    pub call: NewCall,
    /// Runs so far.
    pub attempts: u32,
    /// Those that ended by the function's own fault.
    pub failures: u32,
}

/// What calls to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallClaim {
    /// For this node.
    pub owner: NodeId,
    /// Those that are due now, ms since 1970.
    pub now_ms: i64,
    /// When they show up again by themselves, ms since 1970.
    pub lease_until_ms: i64,
    /// At most so many.
    pub limit: u32,
}

/// A call to be run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRetry {
    /// The call.
    pub id: Uuid,
    /// The end of the lease under which it was run. When another claim has it by now, nothing is changed.
    pub lease_until_ms: i64,
    /// When it is to be run, ms since 1970.
    pub due_at_ms: i64,
    /// Runs so far.
    pub attempts: u32,
    /// Those that ended by the function's own fault.
    pub failures: u32,
}

/// Calls that wait or are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallBacklog {
    /// How many.
    pub count: u64,
    /// When the first is due, or its lease ends, ms since 1970.
    pub next_due_ms: Option<i64>,
}

/// What was left behind by an earlier run of a node, and is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftBehind {
    /// Invocations that were running.
    pub lost: u64,
    /// Calls that were claimed, and are due now.
    pub freed: u64,
}

/// Keeps the code of functions, the record of what was run, and what is to be run.
#[async_trait]
pub trait Functions: Send + Sync {
    /// Keeps a zip file. One that is there already is left, but counts as come now.
    async fn put_code(&self, sha256: &[u8; 32], bytes: &[u8], now_ms: i64) -> Result<()>;
    /// The bytes of a zip file.
    async fn read_code(&self, sha256: &[u8; 32]) -> Result<Option<Vec<u8>>>;
    /// All zip files, by their SHA-256.
    async fn list_codes(&self) -> Result<Vec<CodeInfo>>;
    /// Removes those of these zip files that came before `before_ms`. Returns how many it were.
    async fn delete_codes(&self, sha256s: &[[u8; 32]], before_ms: i64) -> Result<u64>;

    /// Writes invocations; one with the same id is replaced, unless it has ended and the new one says that it runs.
    async fn put_invocations(&self, invocations: &[NewInvocation]) -> Result<()>;
    /// One invocation, with its log.
    async fn find_invocation(&self, request_id: Uuid) -> Result<Option<NewInvocation>>;
    /// Invocations, newest first, without their logs and without long records.
    async fn list_invocations(&self, query: &InvocationQuery) -> Result<Page<NewInvocation, Uuid>>;
    /// Removes invocations asked for before `before_ms`, oldest first, at most so many. Returns how many it were.
    async fn purge_invocations(&self, before_ms: i64, invocations_max: u32) -> Result<u64>;

    /// Puts right what an earlier run of a node has left behind: its invocations that run and were asked for before `now_ms`
    /// end by the word `lost`, its claimed calls are due at `now_ms`. For who has just taken the node's number, before it
    /// runs anything.
    async fn free_functions(&self, node: NodeId, lost: &str, now_ms: i64) -> Result<LeftBehind>;

    /// Keeps a call until it is finished.
    async fn put_call(&self, call: &NewCall) -> Result<()>;
    /// Takes calls that are due, in the order of their times; no other node gets them before the lease ends.
    async fn claim_calls(&self, claim: &CallClaim) -> Result<Vec<ClaimedCall>>;
    /// Writes the record of a call's last run and removes the call, in one transaction. One that is gone is no error.
    async fn finish_call(&self, id: Uuid, invocation: &NewInvocation) -> Result<()>;
    /// Writes the record of a call's run, if there was one, and when the next is due, in one transaction.
    async fn retry_call(&self, retry: &CallRetry, invocation: Option<&NewInvocation>)
    -> Result<()>;
    /// What waits.
    async fn call_backlog(&self) -> Result<CallBacklog>;
}
