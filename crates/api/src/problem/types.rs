//! The catalogue of problems: the only place where codes become status codes.

/// A type of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemType {
    /// The stable word for programs.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The same for every occurrence.
    pub title: &'static str,
    /// What it means and what to do about it.
    pub about: &'static str,
}

impl ProblemType {
    /// The last part of its page's path.
    pub fn slug(&self) -> String {
        self.code.to_ascii_lowercase().replace('_', "-")
    }
}

pub(super) const fn of(
    code: &'static str,
    status: u16,
    title: &'static str,
    about: &'static str,
) -> ProblemType {
    ProblemType {
        code,
        status,
        title,
        about,
    }
}

/// Every type of problem there is.
pub static TYPES: &[ProblemType] = &[
    of(
        "INVALID_REQUEST",
        400,
        "Request is not valid",
        "A member of the body, a query parameter, a header or a name in the path is wrong. `errors` lists everything that is wrong, with where and what would be right.",
    ),
    of(
        "INVALID_JSON",
        400,
        "Body is not valid JSON",
        "The body is no JSON, no UTF-8, nested too deeply, or repeats a name within an object. `errors` says where.",
    ),
    of(
        "INVALID_CLOUDEVENT",
        400,
        "Event is not a valid CloudEvent",
        "An attribute is missing or not what CloudEvents 1.0 asks for. `errors` lists each; in a batch the pointer begins with the event's index. Nothing of the request was stored.",
    ),
    of(
        "INVALID_PATTERN",
        400,
        "Event pattern is not valid",
        "The pattern cannot be read. `errors` gives line, column, a code and a hint for each mistake.",
    ),
    of(
        "INVALID_CURSOR",
        400,
        "Cursor is not valid",
        "A cursor is what an earlier page of the same list gave as `next`. Begin again without one.",
    ),
    of(
        "UNREADABLE_BODY",
        400,
        "Body cannot be read",
        "The source's format does not fit the body; `errors` says where. It is kept: `GET /v1/buses/{bus}/sources/{name}/unparsed` lists what could not be read.",
    ),
    of(
        "BAD_SIGNATURE",
        401,
        "Signature is not right",
        "The sender signs with another secret than the source knows, does not sign, or names a topic or certificate that is not taken.",
    ),
    of(
        "UNAUTHENTICATED",
        401,
        "An API key is needed",
        "Send `Authorization: Bearer bfy_...` (or `X-Api-Key`) with a key that this server knows.",
    ),
    of(
        "KEY_EXPIRED",
        401,
        "API key has expired",
        "The key stopped working by time, or was rotated. Ask for a new one.",
    ),
    of(
        "KEY_REVOKED",
        401,
        "API key was revoked",
        "The key was revoked and does not come back. Ask for a new one.",
    ),
    of(
        "FORBIDDEN",
        403,
        "API key lacks a scope",
        "The key works, but not for this. The detail names the scope that is needed.",
    ),
    of(
        "RESERVED_BUS",
        403,
        "Bus is reserved",
        "Bus `system` carries what Belfry itself reports. Nobody can post to it, change or delete it; its rules can be managed like any others.",
    ),
    of(
        "NOT_FOUND",
        404,
        "Not found",
        "There is no such thing, or none any more.",
    ),
    of(
        "METHOD_NOT_ALLOWED",
        405,
        "Method not allowed",
        "The header `Allow` lists the methods that this path takes.",
    ),
    of(
        "BODY_TIMEOUT",
        408,
        "Body took too long",
        "The body did not arrive within the server's limit. Send it again.",
    ),
    of(
        "BUS_NOT_EMPTY",
        409,
        "Bus has rules",
        "Delete its rules first, or say `cascade=true`. Bus `default` can be deleted only without rules.",
    ),
    of(
        "BUS_IN_USE",
        409,
        "Bus is in use",
        "Another bus's rule sends its dead letters here. Change that rule first.",
    ),
    of(
        "FUNCTION_IN_USE",
        409,
        "Function is in use",
        "Targets of rules run the function; the detail names them. Delete or change them first, or delete it with `force=true`: their deliveries are given up then.",
    ),
    of(
        "FUNCTIONS_DISABLED",
        409,
        "Functions are disabled",
        "This server runs no functions. Its operator turns them on with `functions.enabled = true` in the configuration; what that implies is in the guide to functions.",
    ),
    of(
        "LIMIT_REACHED",
        409,
        "Limit reached",
        "There are as many of these as the server allows.",
    ),
    of(
        "CONFLICT",
        409,
        "Changed at the same time",
        "Somebody else changed the same thing at the same moment. Try again.",
    ),
    of(
        "DELIVERY_NOT_FINAL",
        409,
        "Delivery has not ended",
        "A delivery that is queued or retrying is made anyway. Only one that is delivered, dead, expired or skipped can be made again.",
    ),
    of(
        "WRONG_STATE",
        409,
        "Not in this state",
        "What you asked for can be done only in another state: a running replay can be paused, a paused one resumed, and one that has ended stays so.",
    ),
    of(
        "KEY_NOT_ACTIVE",
        409,
        "API key does not work any more",
        "A key that was revoked or has expired cannot be rotated. Create a new one.",
    ),
    of(
        "LAST_ADMIN_KEY",
        409,
        "Last administrator's key",
        "Revoking it would leave nobody who can administer the server. Create another key with scope `admin` first.",
    ),
    of(
        "IDEMPOTENCY_IN_PROGRESS",
        409,
        "Same request is under way",
        "A request with this `Idempotency-Key` has not been answered yet. Ask again after `Retry-After`.",
    ),
    of(
        "PRECONDITION_FAILED",
        412,
        "Precondition failed",
        "`If-Match` or `If-None-Match` does not hold: somebody changed it since it was read. Read it again, then decide.",
    ),
    of(
        "TOO_LARGE",
        413,
        "Request is too large",
        "The body, an event or a batch is larger than this server takes. Send less at once.",
    ),
    of(
        "UNSUPPORTED_MEDIA_TYPE",
        415,
        "Content type is not supported",
        "The detail says which content types this path takes.",
    ),
    of(
        "IDEMPOTENCY_MISMATCH",
        422,
        "Idempotency-Key was used before",
        "The key was sent with another request. Use a new key for a new request.",
    ),
    of(
        "HANDSHAKE_REFUSED",
        422,
        "Receiver did not agree",
        "The receiver was asked (CloudEvents web hooks, OPTIONS) and did not allow this server to send. The target was not stored.",
    ),
    of(
        "RATE_LIMITED",
        429,
        "Too many requests",
        "The key's requests per second are used up. Wait as long as `Retry-After` says.",
    ),
    of(
        "BUSY",
        429,
        "Too many events are waiting",
        "Events come faster than they can be stored. Nothing of the request was stored; send it again after `Retry-After`.",
    ),
    of(
        "TOO_MANY_STREAMS",
        429,
        "Too many live streams",
        "As many live streams are open as the server allows.",
    ),
    of(
        "INTERNAL",
        500,
        "Internal error",
        "A mistake of the server's. Its log holds the cause under the request's id.",
    ),
    of(
        "UNAVAILABLE",
        503,
        "Temporarily unavailable",
        "The database does not answer, or not in time. Send it again after `Retry-After`: events with the same ids, everything else with the same `Idempotency-Key`, for it may have been stored all the same.",
    ),
    of(
        "DISK_FULL",
        503,
        "Disk is full",
        "The server's disk is full or nearly so. Nothing was stored. Its operator must make room.",
    ),
    of(
        "SHUTTING_DOWN",
        503,
        "Server is shutting down",
        "Nothing was stored; send it again after `Retry-After`.",
    ),
];
