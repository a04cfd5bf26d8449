//! The server and the command line: settings, telemetry, wiring.
