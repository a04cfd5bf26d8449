//! Turns an event into what a target receives: paths, templates, bounded output. Pure.
