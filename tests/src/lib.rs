//! Black-box tests: they start the built binary and talk to it as its users do.
