//! Names of operators, and names that look like one.

/// Every operator.
const OPERATORS: &[&str] = &[
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "shellstyle",
    "regexp",
    "anything-but",
    "numeric",
    "exists",
    "cidr",
    "contain",
    "contains",
    "array",
    "exactly",
];

/// Further names that a member of an `$or` object may not have.
const RESERVED: &[&str] = &[
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-before",
    "date-on-or-after",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// What people of other languages write, and what it is called here.
const FOREIGN: &[(&str, &str)] = &[
    ("regex", "the operator is called `regexp`"),
    ("match", "the operator is called `regexp`"),
    ("matches", "the operator is called `regexp`"),
    (
        "eq",
        "equality is the plain value itself, without an operator",
    ),
    (
        "equals",
        "equality is the plain value itself, without an operator",
    ),
    (
        "is",
        "equality is the plain value itself, without an operator",
    ),
    (
        "=",
        "equality is the plain value itself, without an operator",
    ),
    (
        "in",
        "write the values themselves as alternatives of the list",
    ),
    ("not", "the operator is called `anything-but`"),
    ("ne", "the operator is called `anything-but`"),
    ("not-in", "the operator is called `anything-but`"),
    ("!=", "the operator is called `anything-but`"),
    (
        "not-wildcard",
        "write {\"anything-but\":{\"wildcard\":\"...\"}}",
    ),
    (
        "not-equals-ignore-case",
        "write {\"anything-but\":{\"equals-ignore-case\":\"...\"}}",
    ),
    ("starts-with", "the operator is called `prefix`"),
    ("ends-with", "the operator is called `suffix`"),
    ("like", "the operator is called `wildcard`"),
    ("glob", "the operator is called `wildcard`"),
    ("ip-address-in-range", "the operator is called `cidr`"),
    ("gt", "write {\"numeric\":[\">\",5]}"),
    ("gte", "write {\"numeric\":[\">=\",5]}"),
    ("lt", "write {\"numeric\":[\"<\",5]}"),
    ("lte", "write {\"numeric\":[\"<=\",5]}"),
    (">", "write {\"numeric\":[\">\",5]}"),
    (">=", "write {\"numeric\":[\">=\",5]}"),
    ("<", "write {\"numeric\":[\"<\",5]}"),
    ("<=", "write {\"numeric\":[\"<=\",5]}"),
    ("between", "write {\"numeric\":[\">=\",1,\"<=\",5]}"),
    (
        "$or",
        "`$or` stands beside the fields, not among the alternatives",
    ),
];

pub(super) fn is_operator(name: &str) -> bool {
    OPERATORS.contains(&name)
}

pub(super) fn is_reserved(name: &str) -> bool {
    is_operator(name) || RESERVED.contains(&name)
}

/// What the writer of an unknown operator may have meant.
pub(super) fn suggestion(name: &str) -> Option<String> {
    // Names are as long as the pattern; the comparison below is quadratic.
    if name.len() > 40 {
        return None;
    }
    let lower = name.to_lowercase().replace('_', "-");
    if let Some((_, hint)) = FOREIGN.iter().find(|(foreign, _)| *foreign == lower) {
        return Some((*hint).to_owned());
    }
    let (distance, nearest) = OPERATORS
        .iter()
        .map(|operator| (strsim::damerau_levenshtein(&lower, operator), operator))
        .min()?;
    (distance <= nearest.len() / 3).then(|| format!("did you mean `{nearest}`?"))
}
