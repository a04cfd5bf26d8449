//! Runs every example of the user's page, so that it cannot lie.
//!
//! What is checked, by the mark behind the language of a block or by the head of a table:
//!
//! | block or table | meaning |
//! |---|---|
//! | `json pattern`, then `text events` | lines `match EVENT` and `no match EVENT` |
//! | `json error CODE`, then maybe `text message` | is refused with this code (and this text) |
//! | `json event`, then tables `pattern`, `verdict` | these patterns on that event |
//! | table with `match`, `no match` | `{"k":[ALTERNATIVE]}` on `{"k":VALUE}`; the head of the first column may be an operator |
//! | table `refused`, `code` | `{"k":[ALTERNATIVE]}` is refused with this code |
//! | table `list` | the truth table |
//! | tables `code`, `event code`, `limit` | all codes and limits, with examples |
//!
//! Everything else in code spans that starts like JSON has to be legal at least.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use belfry_pattern::{
    ErrorCode, EventErrorCode, EventText, Pattern, RuleList, RuleSet, Scratch, limits,
};

const OPERATORS: [&str; 14] = [
    "exactly",
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "shellstyle",
    "regexp",
    "contain",
    "contains",
    "numeric",
    "cidr",
    "exists",
    "anything-but",
    "array",
];

const CODES: [ErrorCode; 18] = [
    ErrorCode::NotJson,
    ErrorCode::NotObject,
    ErrorCode::EmptyObject,
    ErrorCode::EmptyList,
    ErrorCode::NestedList,
    ErrorCode::UnknownOperator,
    ErrorCode::OneOperator,
    ErrorCode::BadArgument,
    ErrorCode::BadRange,
    ErrorCode::BadNumber,
    ErrorCode::MixedList,
    ErrorCode::BadWildcard,
    ErrorCode::BadRegexp,
    ErrorCode::BadCidr,
    ErrorCode::BareOperator,
    ErrorCode::ReservedName,
    ErrorCode::TooLarge,
    ErrorCode::TooComplex,
];

const EVENT_CODES: [EventErrorCode; 4] = [
    EventErrorCode::NotJson,
    EventErrorCode::NotObject,
    EventErrorCode::TooDeep,
    EventErrorCode::TooLarge,
];

/// Every constant of `limits`; the list is held against its source below.
const LIMITS: [(&str, usize); 19] = [
    ("MAX_PATTERN_BYTES", limits::MAX_PATTERN_BYTES),
    ("MAX_PATTERN_DEPTH", limits::MAX_PATTERN_DEPTH),
    ("MAX_FIELDS", limits::MAX_FIELDS),
    ("MAX_ALTERNATIVES", limits::MAX_ALTERNATIVES),
    ("MAX_BRANCHES", limits::MAX_BRANCHES),
    ("MAX_EXPANDED_BYTES", limits::MAX_EXPANDED_BYTES),
    ("MAX_STARS", limits::MAX_STARS),
    ("MAX_REGEXP_CHARS", limits::MAX_REGEXP_CHARS),
    ("MAX_REGEXP_GROUPS", limits::MAX_REGEXP_GROUPS as usize),
    ("MAX_REGEXP_SIZE", limits::MAX_REGEXP_SIZE),
    ("MAX_REGEXP_BYTES", limits::MAX_REGEXP_BYTES),
    ("MAX_EVENT_DEPTH", limits::MAX_EVENT_DEPTH),
    ("MAX_EVENT_BYTES", limits::MAX_EVENT_BYTES),
    ("MAX_COMBINATIONS", limits::MAX_COMBINATIONS),
    ("MAX_ERRORS", limits::MAX_ERRORS),
    ("MAX_EXPLAINED_LEAVES", limits::MAX_EXPLAINED_LEAVES),
    ("MAX_FOUND_VALUES", limits::MAX_FOUND_VALUES),
    ("MAX_FOUND_CHARS", limits::MAX_FOUND_CHARS),
    ("MAX_EXPECTED_CHARS", limits::MAX_EXPECTED_CHARS),
];

fn file(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// One thing that the page says.
enum Claim {
    /// The pattern matches the event, or does not.
    Verdict {
        pattern: String,
        event: String,
        expected: bool,
    },
    /// The pattern is refused, with this code and maybe with this text.
    Refused {
        pattern: String,
        code: String,
        message: Option<String>,
    },
    /// The event is refused with this code.
    RefusedEvent { event: String, code: String },
    /// A piece of JSON in the running text.
    Mentioned(String),
}

/// The page, taken apart. Lines count from 1.
#[derive(Default)]
struct Page {
    claims: Vec<(usize, Claim)>,
    /// Value and constant of each row of the table of limits.
    limits: Vec<(usize, String, String)>,
    codes: Vec<String>,
    event_codes: Vec<String>,
    /// What is wrong with the page itself.
    faults: Vec<String>,
}

struct Table<'a> {
    head: Vec<&'a str>,
    /// Operator to wrap each alternative in.
    operator: Option<&'a str>,
}

#[derive(Default)]
struct Reader<'a> {
    page: Page,
    pattern: Option<(usize, String)>,
    event: Option<String>,
    table: Option<Table<'a>>,
}

impl<'a> Reader<'a> {
    fn read(text: &'a str) -> Page {
        let mut reader = Self::default();
        let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
        while let Some((at, line)) = lines.next() {
            if let Some(info) = line.trim_start().strip_prefix("```") {
                let mut block = Vec::new();
                let closed = lines.by_ref().find(|(_, line)| {
                    let ends = line.trim() == "```";
                    if !ends {
                        block.push(*line);
                    }
                    ends
                });
                if closed.is_none() {
                    reader.fault(at, "the block is not closed");
                }
                reader.table = None;
                reader.block(at, info, &block);
            } else {
                reader.line(at, line);
            }
        }
        if let Some((at, _)) = reader.pattern.take() {
            reader.fault(at, "no events follow the pattern");
        }
        reader.page
    }

    fn fault(&mut self, at: usize, message: &str) {
        self.page.faults.push(format!("line {at}: {message}"));
    }

    fn claim(&mut self, at: usize, claim: Claim) {
        self.page.claims.push((at, claim));
    }

    fn block(&mut self, at: usize, info: &str, lines: &[&str]) {
        let text = lines.join("\n");
        let words: Vec<&str> = info.split_whitespace().collect();
        if let Some((at, _)) = self
            .pattern
            .as_ref()
            .filter(|_| words != ["text", "events"])
        {
            let at = *at;
            self.fault(at, "no events follow the pattern");
        }
        match *words.as_slice() {
            ["json", "pattern"] => self.pattern = Some((at, text)),
            ["text", "events"] => match self.pattern.take() {
                Some((_, pattern)) => self.events(at, &pattern, lines),
                None => self.fault(at, "events without a pattern"),
            },
            ["json" | "text", "error", code] => {
                let claim = Claim::Refused {
                    pattern: text,
                    code: code.to_owned(),
                    message: None,
                };
                self.claim(at, claim);
            }
            ["text", "message"] => match self.page.claims.last_mut() {
                Some((_, Claim::Refused { message, .. })) if message.is_none() => {
                    *message = Some(text);
                }
                _ => self.fault(at, "a message without an error"),
            },
            ["json", "event"] => self.event = Some(text),
            // Shell commands and the like may be added; JSON may not escape.
            _ if info.contains("json") || text.contains('{') || words.is_empty() => {
                self.fault(at, "a block that nothing checks");
            }
            _ => {}
        }
    }

    fn events(&mut self, at: usize, pattern: &str, lines: &[&str]) {
        let mut verdicts = BTreeSet::new();
        for (at, line) in (at + 1..).zip(lines) {
            let (expected, event) = if let Some(event) = line.strip_prefix("match ") {
                (true, event)
            } else if let Some(event) = line.strip_prefix("no match ") {
                (false, event)
            } else {
                self.fault(at, "neither `match` nor `no match`");
                continue;
            };
            verdicts.insert(expected);
            let claim = Claim::Verdict {
                pattern: pattern.to_owned(),
                event: event.trim().to_owned(),
                expected,
            };
            self.claim(at, claim);
        }
        if !verdicts.contains(&true) {
            self.fault(at, "an example that matches nothing shows little");
        }
    }

    fn line(&mut self, at: usize, line: &'a str) {
        let Some(row) = line.strip_prefix('|') else {
            self.table = None;
            self.mentions(at, line);
            return;
        };
        let cells = cells(row);
        match self.table.take() {
            None => {
                let head: Vec<&str> = row.split('|').map(str::trim).collect();
                let operator = head
                    .first()
                    .and_then(|first| OPERATORS.iter().find(|operator| *operator == first))
                    .copied();
                self.table = Some(Table { head, operator });
            }
            Some(table) => {
                if !row.trim_matches(['|', '-', ' ']).is_empty() {
                    self.row(at, line, &table, &cells);
                }
                self.table = Some(table);
            }
        }
    }

    fn row(&mut self, at: usize, line: &str, table: &Table<'_>, cells: &[String]) {
        let column = |name: &str| {
            let column = table.head.iter().position(|head| *head == name);
            column.and_then(|column| cells.get(column))
        };
        let first = cells.first().map(String::as_str).unwrap_or_default();
        let before = self.page.claims.len();
        if let (Some(yes), Some(no)) = (column("match"), column("no match")) {
            // The alternative stands in the last column before the values.
            let place = table.head.iter().position(|head| *head == "match");
            let alternative = place.and_then(|place| cells.get(place.checked_sub(1)?));
            let alternatives = alternative.map(|cell| spans(cell)).unwrap_or_default();
            let [alternative] = alternatives.as_slice() else {
                return self.fault(at, "not exactly one alternative in a row");
            };
            let alternative = match table.operator {
                Some(operator) => format!("{{\"{operator}\":{alternative}}}"),
                None => alternative.clone(),
            };
            self.values(at, &alternative, yes, true);
            self.values(at, &alternative, no, false);
        } else if let (Some(refused), Some(code)) = (column("refused"), column("code")) {
            let code = spans(code).concat();
            for alternative in spans(refused) {
                let claim = Claim::Refused {
                    pattern: format!("{{\"k\":[{alternative}]}}"),
                    code: code.clone(),
                    message: None,
                };
                self.claim(at, claim);
            }
        } else if let (Some(pattern), Some(verdict)) = (column("pattern"), column("verdict")) {
            let Some(event) = self.event.clone() else {
                return self.fault(at, "a verdict without an event");
            };
            if !["match", "no match"].contains(&verdict.as_str()) {
                return self.fault(at, "neither `match` nor `no match`");
            }
            let expected = verdict == "match";
            for pattern in spans(pattern) {
                let event = event.clone();
                let claim = Claim::Verdict {
                    pattern,
                    event,
                    expected,
                };
                self.claim(at, claim);
            }
        } else if table.head.first() == Some(&"list") {
            self.truth(at, table, cells);
        } else if let (Some(code), Some(examples)) = (column("code"), column("for example")) {
            let code = spans(code).concat();
            for example in spans(examples) {
                let claim = Claim::Refused {
                    pattern: repeated(&example),
                    code: code.clone(),
                    message: None,
                };
                self.claim(at, claim);
            }
            self.page.codes.push(code);
            self.legal_mentions(at, cells.get(1));
        } else if let (Some(code), Some(examples)) = (column("event code"), column("for example")) {
            let code = spans(code).concat();
            for example in spans(examples) {
                let claim = Claim::RefusedEvent {
                    event: repeated(&example),
                    code: code.clone(),
                };
                self.claim(at, claim);
            }
            return self.page.event_codes.push(code);
        } else if let (Some(value), Some(constant)) = (column("value"), column("constant")) {
            let (value, constant) = (value.clone(), spans(constant).concat());
            return self.page.limits.push((at, value, constant));
        } else {
            return self.mentions(at, line);
        }
        if self.page.claims.len() == before {
            let message = format!("nothing to check in the row of `{first}`");
            self.fault(at, &message);
        }
    }

    /// One claim for each value in the cell; `absent` is the missing field.
    fn values(&mut self, at: usize, alternative: &str, cell: &str, expected: bool) {
        let mut events: Vec<String> = spans(cell)
            .iter()
            .map(|value| format!("{{\"k\":{value}}}"))
            .collect();
        let rest = outside(cell);
        if rest.contains("absent") {
            events.push(r#"{"other":1}"#.to_owned());
        }
        if events.is_empty()
            || !rest
                .replace("absent", "")
                .trim_matches([',', ' '])
                .is_empty()
        {
            self.fault(at, "the values are not a list of code spans and `absent`");
        }
        for event in events {
            let claim = Claim::Verdict {
                pattern: format!("{{\"k\":[{alternative}]}}"),
                event,
                expected,
            };
            self.claim(at, claim);
        }
    }

    /// A row of the truth table.
    fn truth(&mut self, at: usize, table: &Table<'_>, cells: &[String]) {
        let list = spans(cells.first().map_or("", String::as_str)).concat();
        let pattern = format!("{{\"k\":{list}}}");
        let values = table.head.iter().skip(1).filter(|head| !head.is_empty());
        let verdicts: Vec<&String> = cells.iter().skip(1).collect();
        if values.clone().count() != verdicts.len() {
            self.fault(at, "as many cells as values are expected");
        }
        for (value, cell) in values.zip(verdicts) {
            let event = match *value {
                "absent" => r#"{"other":1}"#.to_owned(),
                value => format!("{{\"k\":{}}}", value.trim_matches('`')),
            };
            match cell.as_str() {
                "yes" | "-" => {
                    let claim = Claim::Verdict {
                        pattern: pattern.clone(),
                        event,
                        expected: cell == "yes",
                    };
                    self.claim(at, claim);
                }
                _ => self.fault(at, "neither `yes` nor `-`"),
            }
        }
    }

    fn mentions(&mut self, at: usize, text: &str) {
        for span in spans(text) {
            if span.starts_with(['{', '[']) && span.contains('"') {
                self.claim(at, Claim::Mentioned(span));
            }
        }
    }

    fn legal_mentions(&mut self, at: usize, cell: Option<&String>) {
        self.mentions(at, cell.map_or("", String::as_str));
    }
}

/// The cells of a row behind its first `|`. Within a table a `|` is written `\|`.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{1}");
    let row = row.trim_end().trim_end_matches('|');
    let cell = |cell: &str| cell.trim().replace('\u{1}', "|");
    row.split('|').map(cell).collect()
}

/// The code spans of a piece of text.
fn spans(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2);
    spans.map(str::to_owned).collect()
}

/// The text without its code spans.
fn outside(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

/// Writes `x…×3` as `xxx`.
fn repeated(text: &str) -> String {
    let Some((before, after)) = text.split_once("…×") else {
        return text.to_owned();
    };
    let digits = after.find(|c: char| !c.is_ascii_digit());
    let (count, rest) = after.split_at(digits.unwrap_or(after.len()));
    let last = before.chars().next_back().unwrap();
    let more = count.parse::<usize>().unwrap() - 1;
    let more: String = std::iter::repeat_n(last, more).collect();
    format!("{before}{more}{rest}")
}

fn page() -> Page {
    let page = Reader::read(&file("../../docs/reference/patterns.md"));
    assert!(page.faults.is_empty(), "{}", page.faults.join("\n"));
    page
}

/// What the library says to one verdict of the page, in every way it can be asked.
fn verdict(pattern: &Pattern, event: &str, expected: bool) -> Result<(), String> {
    let bytes = event.as_bytes();
    let explained = pattern.explain(bytes).map_err(|e| format!("event: {e}"))?;
    let mut rules = RuleSet::new();
    rules.add(7, pattern);
    let mut scratch = Scratch::default();
    let found = rules.matches(bytes, &mut scratch).map(<[u32]>::to_vec);
    let trusted = rules.matches_text(EventText::trusted(event), &mut scratch);
    let answers = [
        ("Pattern::matches", pattern.matches(bytes)),
        ("Pattern::explain", Ok(explained.matched)),
        ("RuleSet::matches", found.map(|found| found == [7])),
        ("RuleSet::matches_text", Ok(trusted == [7])),
    ];
    let wrong = |(_, answer): &&(&str, _)| *answer != Ok(expected);
    match answers.iter().find(wrong) {
        None => Ok(()),
        Some((who, answer)) => Err(format!("{who} says {answer:?}; {explained:#?}")),
    }
}

fn parsed(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text.as_bytes()).map_err(|e| format!("refused: {e}"))
}

fn refused(pattern: &str, code: &str, message: Option<&str>) -> Result<(), String> {
    let Err(errors) = Pattern::parse(pattern.as_bytes()) else {
        return Err("is accepted".to_owned());
    };
    let found = errors.as_slice().first().map(|error| error.code.as_str());
    if found != Some(code) || errors.as_slice().len() != 1 {
        return Err(format!("is refused otherwise: {errors}"));
    }
    match message {
        Some(message) if message != errors.to_string() => Err(format!("says: {errors}")),
        _ => Ok(()),
    }
}

fn code_of(error: EventErrorCode) -> String {
    let json = serde_json::to_value(error).unwrap();
    json.as_str().unwrap().to_owned()
}

fn refused_event(event: &str, code: &str) -> Result<(), String> {
    let pattern = parsed(r#"{"a":[1]}"#)?;
    for found in [
        pattern.matches(event.as_bytes()).err(),
        pattern.explain(event.as_bytes()).err(),
        EventText::check(event.as_bytes()).err(),
    ] {
        if found.as_ref().map(|error| code_of(error.code)).as_deref() != Some(code) {
            return Err(format!("gives {found:?}"));
        }
    }
    Ok(())
}

#[test]
fn the_examples_of_the_page_are_true() {
    let page = page();
    let mut failures = String::new();
    for (at, claim) in &page.claims {
        let (subject, outcome) = match claim {
            Claim::Verdict {
                pattern,
                event,
                expected,
            } => {
                let outcome = parsed(pattern).and_then(|p| verdict(&p, event, *expected));
                (format!("{pattern} on {event}"), outcome)
            }
            Claim::Refused {
                pattern,
                code,
                message,
            } => {
                let outcome = refused(pattern, code, message.as_deref());
                (format!("{pattern}, {code}"), outcome)
            }
            Claim::RefusedEvent { event, code } => {
                (format!("{event}, {code}"), refused_event(event, code))
            }
            Claim::Mentioned(text) => {
                let as_alternative = || parsed(&format!("{{\"k\":[{text}]}}"));
                let outcome = parsed(text).or_else(|_| as_alternative()).map(|_| ());
                (text.clone(), outcome)
            }
        };
        if let Err(e) = outcome {
            let subject: String = subject.chars().take(500).collect();
            writeln!(failures, "line {at}: {subject}: {e}").unwrap();
        }
    }
    assert!(
        failures.is_empty(),
        "docs/reference/patterns.md\n{failures}"
    );
}

#[test]
fn nothing_of_the_page_is_left_out() {
    let page = page();
    let (mut yes, mut no, mut refused) = (0, 0, 0);
    let mut wanted = BTreeSet::new();
    let mut excluded = BTreeSet::new();
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, claim) in &page.claims {
        match claim {
            Claim::Verdict {
                pattern, expected, ..
            } => {
                let count = if *expected { &mut yes } else { &mut no };
                *count += 1;
                let used = OPERATORS.into_iter().filter(|operator| {
                    let start = format!("{{\"{operator}\":");
                    pattern
                        .replace("{ ", "{")
                        .replace("\": ", "\":")
                        .contains(&start)
                });
                let seen = if *expected {
                    &mut wanted
                } else {
                    &mut excluded
                };
                seen.extend(used);
            }
            Claim::Refused { code, .. } => {
                refused += 1;
                *codes.entry(code).or_default() += 1;
            }
            Claim::RefusedEvent { .. } | Claim::Mentioned(_) => {}
        }
    }
    assert!(yes >= 350, "only {yes} matches found");
    assert!(no >= 500, "only {no} others found");
    assert!(refused >= 70, "only {refused} errors found");
    for operator in OPERATORS {
        assert!(wanted.contains(operator), "`{operator}` never matches");
        assert!(excluded.contains(operator), "`{operator}` always matches");
    }
    for code in CODES {
        assert!(codes.contains_key(code.as_str()), "`{code}` has no example");
    }
}

/// All rules of the page at once, and all events of the page: a rule is found wherever its pattern
/// matches, and nowhere else.
#[test]
fn all_patterns_of_the_page_together() {
    let page = page();
    let mut patterns = BTreeSet::new();
    let mut events = BTreeSet::new();
    for (_, claim) in &page.claims {
        if let Claim::Verdict { pattern, event, .. } = claim {
            patterns.insert(pattern);
            events.insert(event);
        }
    }
    let patterns: Vec<Pattern> = patterns
        .into_iter()
        .map(|text| parsed(text).unwrap())
        .collect();
    let mut rules = RuleSet::new();
    let mut list = RuleList::default();
    for (id, pattern) in (0..).zip(&patterns) {
        rules.add(id, pattern);
        list.add(id, pattern);
    }
    let mut scratch = Scratch::default();
    let mut each_event = |rules: &RuleSet, list: &RuleList| {
        for event in &events {
            let expected = list.matches(event.as_bytes()).unwrap();
            let found = rules.matches(event.as_bytes(), &mut scratch).unwrap();
            assert_eq!(found, expected, "{event}");
            let text = EventText::check(event.as_bytes()).unwrap();
            assert_eq!(rules.matches_text(text, &mut scratch), expected, "{event}");
        }
    };
    each_event(&rules, &list);
    // Again without every third rule, and with those back.
    let thirds = || (0..).zip(&patterns).filter(|(id, _)| id % 3 == 0);
    for (id, _) in thirds() {
        assert!(rules.remove(id) && list.remove(id));
    }
    each_event(&rules, &list);
    for (id, pattern) in thirds() {
        rules.add(id, pattern);
        list.add(id, pattern);
    }
    each_event(&rules, &list);
}

#[test]
fn the_table_of_codes_is_complete() {
    let page = page();
    assert_eq!(page.codes, CODES.map(ErrorCode::as_str));
    let event_codes = EVENT_CODES.map(code_of);
    assert_eq!(page.event_codes, event_codes);
    // The lists above cannot know of a variant that is added: the source does.
    let source = file("src/error.rs");
    let written: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.strip_suffix("\","))
        .filter_map(|line| line.split_once(" => \""))
        .map(|(_, code)| code)
        .collect();
    assert_eq!(written, page.codes);
}

#[test]
fn the_table_of_limits_is_right() {
    let page = page();
    let source = file("src/limits.rs");
    let written: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .collect();
    assert_eq!(written, LIMITS.map(|(name, _)| name));
    let shown: Vec<&str> = page
        .limits
        .iter()
        .map(|(_, _, name)| name.as_str())
        .collect();
    assert_eq!(shown, written);
    for ((at, shown, name), (_, value)) in page.limits.iter().zip(LIMITS) {
        assert_eq!(*shown, with_commas(value), "line {at}: {name}");
    }
}

#[test]
fn the_categories_of_the_page_are_known() {
    let text = file("../../docs/reference/patterns.md");
    let (_, rest) = text.split_once("The categories are").unwrap();
    let (list, _) = rest.split_once("\n\n").unwrap();
    let categories = spans(list);
    for category in &categories {
        for expression in [format!("~p{{{category}}}"), format!("[~P{{{category}}}]")] {
            let pattern = format!("{{\"k\":[{{\"regexp\":\"{expression}\"}}]}}");
            parsed(&pattern).unwrap_or_else(|e| panic!("{expression}: {e}"));
        }
    }
    let unique: BTreeSet<&String> = categories.iter().collect();
    assert_eq!((categories.len(), unique.len()), (36, 36));
}

/// 65536 as 65,536.
fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
