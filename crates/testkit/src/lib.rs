//! Fakes and fixtures for tests: clock, webhook sink, server process.
