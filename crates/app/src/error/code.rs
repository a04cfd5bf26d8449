//! The catalogue of what can go wrong, by what the caller can do about it.

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Send something else.
    Invalid,
    /// Say who it is.
    Unauthenticated,
    /// Ask for more rights.
    Forbidden,
    /// Look elsewhere.
    NotFound,
    /// Change something else first.
    Conflict,
    /// Read again, then decide.
    PreconditionFailed,
    /// Send something else: it can be read, but cannot be done.
    Unprocessable,
    /// Forget about it.
    Gone,
    /// Send less.
    TooLarge,
    /// Send more slowly.
    RateLimited,
    /// Try later.
    Unavailable,
    /// Nothing; the mistake is ours.
    Internal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal : $kind:ident,)*) => {
        /// Why a use-case failed; stable, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word that clients see.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What the caller can do about it.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }
        }
    };
}

codes! {
    /// Something in the request is wrong.
    InvalidRequest = "INVALID_REQUEST": Invalid,
    /// The body is no JSON that means the same to everybody.
    InvalidJson = "INVALID_JSON": Invalid,
    /// The pattern is no pattern.
    InvalidPattern = "INVALID_PATTERN": Invalid,
    /// The cursor is none that a list gave out.
    InvalidCursor = "INVALID_CURSOR": Invalid,
    /// The body cannot be read in the source's format.
    UnreadableBody = "UNREADABLE_BODY": Invalid,
    /// The signature is missing or wrong.
    BadSignature = "BAD_SIGNATURE": Unauthenticated,
    /// No key, or none that is known.
    Unauthenticated = "UNAUTHENTICATED": Unauthenticated,
    /// The key has stopped working by time.
    KeyExpired = "KEY_EXPIRED": Unauthenticated,
    /// The key was revoked.
    KeyRevoked = "KEY_REVOKED": Unauthenticated,
    /// The key lacks the scope.
    Forbidden = "FORBIDDEN": Forbidden,
    /// The bus is Belfry's own.
    ReservedBus = "RESERVED_BUS": Forbidden,
    /// There is no such thing.
    NotFound = "NOT_FOUND": NotFound,
    /// The bus still has rules.
    BusNotEmpty = "BUS_NOT_EMPTY": Conflict,
    /// The bus is named as a dead-letter bus.
    BusInUse = "BUS_IN_USE": Conflict,
    /// A rule's target runs the function.
    FunctionInUse = "FUNCTION_IN_USE": Conflict,
    /// This server runs no functions.
    FunctionsDisabled = "FUNCTIONS_DISABLED": Conflict,
    /// There are as many as the server allows.
    LimitReached = "LIMIT_REACHED": Conflict,
    /// Somebody else changed it at the same time.
    Conflict = "CONFLICT": Conflict,
    /// The delivery has not ended.
    DeliveryNotFinal = "DELIVERY_NOT_FINAL": Conflict,
    /// Things are not in the state in which this can be done.
    WrongState = "WRONG_STATE": Conflict,
    /// The key does not work any more, so it cannot be rotated.
    KeyNotActive = "KEY_NOT_ACTIVE": Conflict,
    /// Without this key nobody could administer the server.
    LastAdminKey = "LAST_ADMIN_KEY": Conflict,
    /// A request with this `Idempotency-Key` is under way.
    IdempotencyInProgress = "IDEMPOTENCY_IN_PROGRESS": Conflict,
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed = "PRECONDITION_FAILED": PreconditionFailed,
    /// The `Idempotency-Key` was used for another request.
    IdempotencyMismatch = "IDEMPOTENCY_MISMATCH": Unprocessable,
    /// The receiver did not agree to get events.
    HandshakeRefused = "HANDSHAKE_REFUSED": Unprocessable,
    /// More than is taken at once.
    TooLarge = "TOO_LARGE": TooLarge,
    /// The key's requests per second are used up.
    RateLimited = "RATE_LIMITED": RateLimited,
    /// Too much waits to be stored.
    Busy = "BUSY": RateLimited,
    /// The disk is full.
    DiskFull = "DISK_FULL": Unavailable,
    /// The database does not answer.
    Unavailable = "UNAVAILABLE": Unavailable,
    /// The server is going down.
    ShuttingDown = "SHUTTING_DOWN": Unavailable,
    /// A mistake of ours.
    Internal = "INTERNAL": Internal,
}
