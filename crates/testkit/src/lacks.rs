//! What a machine may lack, so that some cases cannot be tried on it: never left out in silence, only by who says so.

/// Set by who knows that this machine cannot make namespaces (a container that forbids them): their cases are left out, loudly.
pub const WITHOUT_NAMESPACES: &str = "BELFRY_TEST_WITHOUT_NAMESPACES";

/// Whether cases in namespaces are tried. `why_not`: what this machine says against it; nothing if it can.
///
/// # Panics
/// It cannot, and nobody has said that it need not: the test fails.
#[expect(
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be run must not pass, and one that leaves something out must say so"
)]
pub fn tries_namespaces(why_not: &[String]) -> bool {
    let why_not: Vec<&str> = why_not
        .iter()
        .map(String::as_str)
        .filter(|why| why.starts_with("namespaces"))
        .collect();
    if why_not.is_empty() {
        return true;
    }
    let why_not = why_not.join("; ");
    if std::env::var_os(WITHOUT_NAMESPACES).is_some() {
        eprintln!(
            "NOT TESTED, because {WITHOUT_NAMESPACES} is set: what runs in namespaces ({why_not})"
        );
        return false;
    }
    panic!(
        "this machine cannot make namespaces ({why_not}): install bubblewrap and allow user namespaces, or set \
         {WITHOUT_NAMESPACES}=1 to leave their cases out"
    );
}
