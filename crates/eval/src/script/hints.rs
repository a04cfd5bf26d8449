//! What Python has and Starlark has not, and how it is written instead.

/// Words and signs that cannot be read, as they stand at the place of the error.
const WRITTEN: [(&str, &str); 21] = [
    ("is", "write `x == None` or `x != None`"),
    (
        "while",
        "there is no while: `for _ in range(1000):` with `break`",
    ),
    (
        "try",
        "there is no try: look before, with `in`, `x.get('k', '-')` or `type(x)`",
    ),
    (
        "except",
        "there is no try: look before, with `in`, `x.get('k', '-')` or `type(x)`",
    ),
    (
        "finally",
        "there is no try: look before, with `in`, `x.get('k', '-')` or `type(x)`",
    ),
    ("class", "there are no classes: `struct(a = 1)` or a dict"),
    (
        "import",
        "nothing is imported: json, time, math, base64, hashlib, hmac, re and random are there",
    ),
    (
        "from",
        "nothing is imported: json, time, math, base64, hashlib, hmac, re and random are there",
    ),
    (
        "load",
        "nothing is loaded: json, time, math, base64, hashlib, hmac, re and random are there",
    ),
    (
        "global",
        "functions do not change what stands outside of them: return the value",
    ),
    (
        "nonlocal",
        "functions do not change what stands outside of them: return the value",
    ),
    ("raise", "write `fail(\"text\")`"),
    ("assert", "write `if not x: fail(\"text\")`"),
    ("yield", "make a list and return it"),
    ("with", "there are no files or locks to hold"),
    ("del", "write `x.pop('k')`"),
    ("async", "there is nothing to wait for"),
    ("await", "there is nothing to wait for"),
    ("**", "write `pow(a, b)`"),
    ("<", "comparisons do not chain: `a < b and b < c`"),
    (">", "comparisons do not chain: `a > b and b > c`"),
];

/// Names that are not there.
const NAMES: [(&str, &str); 8] = [
    (
        "isinstance",
        "write `type(x) == \"dict\"`; types are \"string\", \"int\", \"float\", \"bool\", \"list\", \"dict\", \"NoneType\"",
    ),
    ("set", "use the keys of a dict: `{x: True for x in list}`"),
    (
        "datetime",
        "write `time.strftime(\"%Y-%m-%d %H:%M:%S\", msg.payload[\"time\"], \"Asia/Shanghai\")`",
    ),
    ("true", "write `True`"),
    ("false", "write `False`"),
    ("null", "write `None`"),
    ("event", "the event is `msg.payload`"),
    ("open", "a script reads no files; a function can"),
];

/// Parts of messages of errors while a script runs.
const MESSAGES: [(&str, &str); 9] = [
    (
        "`NoneType` has no attribute",
        "a value is missing on the way there: `x.get('k', {})` says what stands for it",
    ),
    (
        "`NoneType`",
        "a value is missing: `x.get('k', '-')` says what stands for it",
    ),
    (
        "Not a valid identifier",
        "in an f-string only names stand in braces; else `'{}'.format(msg.id)`",
    ),
    (
        "Key `",
        "`x.get('k', '-')` says what stands for a member that is not there",
    ),
    (
        "`hexdigest`",
        "hashlib and hmac give the hexadecimal text at once",
    ),
    (
        "`encode`",
        "texts are taken as UTF-8; nothing needs to be encoded",
    ),
    (
        "`decode`",
        "texts are UTF-8 already; nothing needs to be decoded",
    ),
    (
        "Immutable",
        "what stands outside of functions does not change; make the value inside",
    ),
    ("`(iter)`", "the characters of a text are `s.elems()`"),
];

/// What may help with an error whose place is `written`.
pub(super) fn find(message: &str, written: &str) -> Option<String> {
    let word = written
        .trim_start()
        .split(|c: char| c.is_whitespace() || c == '(' || c == ':')
        .next()
        .unwrap_or_default();
    let (quoted, missing) = match message
        .split_once('`')
        .and_then(|(_, rest)| rest.split_once('`'))
    {
        Some((name, rest)) => (name, rest.contains("not found")),
        None => ("", false),
    };
    let known = if missing {
        NAMES.iter().find(|(name, _)| *name == quoted)
    } else if message.starts_with("Parse error") {
        let named = |(sign, _): &&(&str, &str)| *sign == word || *sign == quoted;
        WRITTEN.iter().find(named)
    } else {
        None
    };
    known
        .or_else(|| MESSAGES.iter().find(|(part, _)| message.contains(part)))
        .map(|(_, hint)| (*hint).to_owned())
}
