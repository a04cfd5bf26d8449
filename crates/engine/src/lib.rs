//! The data plane: accept, match, fan out, deliver, retry, dead-letter, recover, expire.
