//! The bounds of the language. All are checked at save except the sizes of values and outputs.

/// Bytes of one template text, or of a JSON template when serialised.
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Placeholders in one transform; also entries of a vendor's list of outputs.
pub const PLACEHOLDERS_MAX: usize = 1000;
/// Segments of one path.
pub const PATH_SEGMENTS_MAX: usize = 32;
/// Filters behind one placeholder.
pub const FILTERS_MAX: usize = 8;
/// Nesting of a JSON template.
pub const DEPTH_MAX: usize = 64;
/// Bytes of a rendered body, unless [`Transform::with_output_limit`] sets another bound.
///
/// [`Transform::with_output_limit`]: crate::Transform::with_output_limit
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Names in an AWS `InputPathsMap`.
pub const AWS_PATHS_MAX: usize = 100;
/// Characters of a Tencent extraction's `Regex`.
pub const TENCENT_REGEX_CHARS_MAX: usize = 128;
/// Bytes of text a Tencent extraction's `Regex` is run over: bounds the time of the worst regex.
pub const TENCENT_REGEX_INPUT_MAX: usize = 64 * 1024;
/// Errors reported for one spec.
pub const ERRORS_MAX: usize = 20;
/// Values that the wildcards of one transform may select from one event.
pub const MATCHES_MAX: usize = 600_000;
/// How often one transform may read the event over; ordinary paths read each value once per
/// segment, so only crossing wildcards come near it.
pub const PASSES_MAX: usize = 128;

/// Longest script with its variables, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 64 * 1024;
/// Variables of a script.
pub const SCRIPT_VARS_MAX: usize = 50;
/// Longest Jinja template, in bytes.
pub const JINJA_BYTES_MAX: usize = 16 * 1024;
