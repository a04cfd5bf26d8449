//! Use-cases of the control plane: configuration, history, keys, secrets, audit. Each takes an actor.
