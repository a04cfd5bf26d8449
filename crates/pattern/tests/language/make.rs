//! Patterns and events from choices, over a small vocabulary in which much meets. The fuzz targets
//! take their choices from the bytes they are given, the property tests from random ones.

use std::{collections::BTreeSet, fmt::Write};

/// Names of members. There are more than a node of the index looks at one by one, some are longer
/// than what it compares at once, and some are steps of others.
const NAMES: &[&str] = &[
    "a",
    "b",
    "c",
    "a.b",
    "b.c",
    "a.b.c",
    "",
    ".",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "k",
    "l",
    "longer-name-1",
    "longer-name-2",
    "longer-n",
    "c.",
    "é",
    "$or",
    "array",
];
/// How many of them are chosen most of the time.
const COMMON: u8 = 3;

/// Pieces that strings are made of.
const PIECES: &[&str] = &[
    "a",
    "b",
    "ab",
    "abc",
    "c",
    "é",
    "É",
    "x",
    "ß",
    "σ",
    "ς",
    "Σ",
    "k",
    "\u{212a}",
    "K",
    "ⱥ",
    "Ⱥ",
    "中文",
    "\"",
    "\\",
    "*",
    "\n",
    "😀",
    "0123456789",
    "i",
    "İ",
    ".",
    ":",
    "1",
    "aaaa",
];

/// Whole strings.
const STRINGS: &[&str] = &[
    "10.0.0.1",
    "10.0.0.2",
    "10.1.0.1",
    "10.0.0.01",
    "192.168.1.1",
    "255.255.255.255",
    "0.0.0.0",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::",
    "fe80::1",
    "FE80::1",
    "fe80::1:0",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::ffff:a00:1",
    "1::2::3",
    "true",
    "null",
    "12",
    "-",
    "a",
];

const BLOCKS: &[&str] = &[
    "10.0.0.0/8",
    "10.0.0.0/16",
    "10.0.0.1/32",
    "10.0.0.77/24",
    "0.0.0.0/0",
    "10.0.0.0/31",
    "::/0",
    "::1/128",
    "fe80::/10",
    "fe80::/64",
    "2001:db8::/29",
    "::/1",
    "::/3",
    "::/4",
    "::/127",
    "::ffff:0:0/96",
    "128.0.0.0/1",
];

const NUMBERS: &[&str] = &[
    "0",
    "-0.0",
    "1",
    "1.0",
    "10e-1",
    "2",
    "3",
    "5",
    "12",
    "-1",
    "-2.5",
    "300",
    "3e2",
    "1e400",
    "1E400",
    "-1e400",
    "1e-400",
    "5e-324",
    "1.7976931348623157e308",
    "-1.7976931348623157e308",
    "9007199254740993",
    "9007199254740992",
    "12345678901234567890",
    "12345678901234567891",
    "1234567890123456789012345",
    "1234567890123456789012346",
    "0.1",
    "0.10",
    "1e-7",
    "100000",
    "1.000000000000000001",
    "1.0000000000000000001",
    "0.3e1",
    "1e22",
    "10000000000000000000000",
    "-12345678901234567890.5",
    "4.9e-324",
    "2e-323",
];

const REGEXPS: &[&str] = &[
    "a*",
    "(a|aa)+",
    "ab?c|x",
    "[^a]*",
    "~p{L}+",
    "a{2,3}b*",
    ".",
    "",
    "|a",
    "(abc|abd)x*",
    ".*abc",
    "10~.0~..*",
    "[a-c]{1,99}",
    "(((a)))",
    "~P{Lu}é",
    "x.*y",
    "a.*(b|c)",
    "σ|ς",
    "(ab)+c?",
];

/// Of three bytes and more, so that they are looked up inside of strings; some within others.
const GRAMS: &[&str] = &[
    "abc",
    "bcd",
    "abcd",
    "aaa",
    "aaaa",
    "0123",
    "1234567",
    "中文",
    "文中文",
    "éab",
    "bcdabc",
    "xyz",
];

/// Fields that many rules have alike.
const SHARED: &[&str] = &[
    "",
    r#""a":["ab"],"#,
    r#""a":["ab",1],"#,
    r#""a":["ab"],"c":[1,2],"#,
    r#""c":[{"prefix":"ab"}],"#,
    r#""a":[{"equals-ignore-case":"AB"}],"c":[{"exists":false}],"#,
    r#""a":[{"anything-but":"x"}],"#,
    r#""c":{"a":["a"],"b":["b"]},"#,
    r#""a":["ab"],"c":{"a":["a",{"exists":false}]},"#,
];

/// Reads choices from bytes. When they are over, every choice is the first.
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn are_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn below(&mut self, n: u8) -> u8 {
        match self.0 {
            [] => 0,
            [first, rest @ ..] => {
                self.0 = rest;
                first % n
            }
        }
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::from(self.below(u8::try_from(list.len()).unwrap()))]
    }

    fn name(&mut self) -> &'static str {
        if self.below(4) > 0 {
            self.of(&NAMES[..usize::from(COMMON)])
        } else {
            self.of(NAMES)
        }
    }

    fn string(&mut self) -> String {
        match self.below(16) {
            0..3 => self.of(STRINGS).to_owned(),
            3 => {
                // Around the lengths where writing down a length, or looking up an end, changes.
                let lengths = [
                    7, 8, 12, 13, 24, 25, 40, 41, 63, 64, 65, 250, 253, 254, 255, 256, 300,
                ];
                let length: usize = self.of(&lengths);
                let piece = self.of(&["x", "ab", "é"]);
                let (start, end) = (self.of(PIECES), self.of(PIECES));
                format!("{start}{}{end}", piece.repeat(length / piece.len()))
            }
            4..7 => self.of(&PIECES[..6]).to_owned(),
            7 => {
                let grams = [self.of(GRAMS), self.of(PIECES), self.of(GRAMS)];
                grams.concat()
            }
            _ => {
                let count = self.below(5);
                (0..count).map(|_| self.of(PIECES)).collect()
            }
        }
    }

    fn some_string(&mut self) -> String {
        let string = self.string();
        if string.is_empty() {
            "a".to_owned()
        } else {
            string
        }
    }

    fn scalar(&mut self) -> String {
        match self.below(8) {
            0 => "null".to_owned(),
            1 => "true".to_owned(),
            2 => "false".to_owned(),
            3..5 => self.of(NUMBERS).to_owned(),
            _ => quoted(&self.string()),
        }
    }

    fn list(&mut self, most: u8, mut each: impl FnMut(&mut Self) -> String) -> String {
        let count = 1 + self.below(most);
        let all: Vec<String> = (0..count).map(|_| each(self)).collect();
        format!("[{}]", all.join(","))
    }

    fn wildcard(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..=self.below(4) {
            if self.below(3) > 0 && !text.ends_with('*') {
                text.push('*');
            }
            let piece = self.string();
            text.push_str(&piece.replace('\\', "\\\\").replace('*', "\\*"));
        }
        if self.below(2) == 0 && !text.ends_with('*') {
            text.push('*');
        }
        quoted(&text)
    }

    fn range(&mut self) -> String {
        if self.below(2) == 0 {
            let op = self.of(&["=", "<", "<=", ">", ">="]);
            return format!("[\"{op}\",{}]", self.of(NUMBERS));
        }
        let mut ends = [self.of(NUMBERS), self.of(NUMBERS)];
        if number(ends[0]) > number(ends[1]) {
            ends.swap(0, 1);
        }
        let (low, high) = (self.of(&[">", ">="]), self.of(&["<", "<="]));
        format!("[\"{low}\",{},\"{high}\",{}]", ends[0], ends[1])
    }

    fn excluded(&mut self) -> String {
        match self.below(7) {
            0 => quoted(&self.string()),
            1 => self.of(NUMBERS).to_owned(),
            2 => self.list(4, |choices| quoted(&choices.string())),
            3 => self.list(4, |choices| choices.of(NUMBERS).to_owned()),
            4 => {
                let op = self.of(&["prefix", "suffix", "equals-ignore-case", "contain"]);
                format!("{{\"{op}\":{}}}", quoted(&self.some_string()))
            }
            5 => format!("{{\"wildcard\":{}}}", self.wildcard()),
            _ => format!("{{\"wildcard\":{}}}", self.list(3, Self::wildcard)),
        }
    }

    /// What the operator `array` looks for, or the value of a member of it.
    fn wanted(&mut self, depth: u8) -> String {
        match self.below(6) {
            0 if depth < 2 => self.list(2, |choices| choices.wanted(depth + 1)),
            1 if depth < 2 => self.wanted_object(depth + 1),
            _ => self.scalar(),
        }
    }

    fn wanted_object(&mut self, depth: u8) -> String {
        let count = 1 + self.below(2);
        let members: Vec<String> = (0..count)
            .map(|_| format!("{}:{}", quoted(self.name()), self.wanted(depth)))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    fn alternative(&mut self) -> String {
        let string = |choices: &mut Self| quoted(&choices.string());
        match self.below(24) {
            0..6 => self.scalar(),
            6 => "{\"exists\":true}".to_owned(),
            7 => "{\"exists\":false}".to_owned(),
            8 => format!("{{\"prefix\":{}}}", string(self)),
            9 => format!("{{\"suffix\":{}}}", string(self)),
            10 => format!("{{\"prefix\":{{\"equals-ignore-case\":{}}}}}", string(self)),
            11 => format!("{{\"suffix\":{{\"equals-ignore-case\":{}}}}}", string(self)),
            12 => format!("{{\"equals-ignore-case\":{}}}", string(self)),
            13 | 14 => format!("{{\"wildcard\":{}}}", self.wildcard()),
            15 => format!("{{\"regexp\":{}}}", quoted(self.of(REGEXPS))),
            16 => format!("{{\"contain\":{}}}", quoted(&self.some_string())),
            17 => {
                let all = self.list(3, |choices| quoted(&choices.some_string()));
                format!("{{\"contains\":{all}}}")
            }
            18 | 19 => format!("{{\"numeric\":{}}}", self.range()),
            20 => format!("{{\"cidr\":\"{}\"}}", self.of(BLOCKS)),
            21 | 22 => format!("{{\"anything-but\":{}}}", self.excluded()),
            _ => format!("{{\"array\":{}}}", self.wanted_object(0)),
        }
    }

    fn field(&mut self, depth: u8) -> String {
        match self.below(10) {
            0..3 if depth < 3 => self.fields(depth + 1),
            3 => self.scalar(),
            4 => self.list(20, Self::scalar),
            _ => self.list(3, Self::alternative),
        }
    }

    fn fields(&mut self, depth: u8) -> String {
        let mut members = Vec::new();
        for _ in 0..=self.below(4) {
            let name = self.name();
            members.push(format!("{}:{}", quoted(name), self.field(depth)));
        }
        if depth < 2 && self.below(8) == 0 {
            let mut branches = vec![self.fields(depth + 2)];
            for _ in 0..=self.below(3) {
                branches.push(self.fields(depth + 2));
            }
            members.push(format!("\"$or\":[{}]", branches.join(",")));
        }
        format!("{{{}}}", members.join(","))
    }

    pub(crate) fn pattern(&mut self) -> String {
        self.fields(0)
    }

    /// Many patterns that ask for much the same.
    pub(crate) fn crowd(&mut self) -> Vec<String> {
        let count = self.of(&[5, 8, 20, 40, 66, 80]);
        let shared = self.of(SHARED);
        let kind = self.below(12);
        let path = self.of(&["b", "b", "c.b", "d.e"]);
        let (first, step) = (self.below(40), self.below(8));
        let one = |number: u8| {
            let n = first.wrapping_add(number.wrapping_mul(step));
            let of = |list: &[&'static str]| list[usize::from(n) % list.len()];
            let (x, gram) = (f64::from(n % 64) / 4.0 - 2.0, of(GRAMS));
            let alternative = match kind {
                0 => format!("{{\"contain\":\"{gram}\"}}"),
                1 => format!(
                    "{{\"wildcard\":\"*{gram}*\"}},{{\"contains\":[\"a\",\"{}\"]}}",
                    of(&GRAMS[2..])
                ),
                2 => format!(
                    "{{\"numeric\":[\"{}\",{x}]}}",
                    of(&["<", "<=", ">", ">=", "="])
                ),
                3 => format!(
                    "{{\"numeric\":[\"{}\",{x},\"{}\",{}]}}",
                    of(&[">", ">="]),
                    of(&["<", "<="]),
                    x + f64::from(number % 5) + 0.25
                ),
                4 => format!("{{\"cidr\":\"{}\"}}", of(BLOCKS)),
                5 => format!(
                    "{{\"prefix\":{{\"equals-ignore-case\":\"{gram}\"}}}},{{\"suffix\":\"{gram}\"}}"
                ),
                6 => format!("{{\"anything-but\":\"{gram}\"}}"),
                7 => format!("{{\"array\":{{\"a\":\"{gram}\"}}}}"),
                8 => format!("\"{gram}\",{x}"),
                9 => format!("{{\"numeric\":[\">\",{x}]}},\"{gram}\""),
                10 => format!("{{\"wildcard\":\"{gram}*{}*\"}}", of(&GRAMS[1..])),
                _ => format!("{},{}", of(NUMBERS), n),
            };
            format!("{{{shared}\"{path}\":[{alternative}]}}")
        };
        (0..count).map(one).collect()
    }

    /// An event, and whether nothing in it is spelled two ways.
    pub(crate) fn event(&mut self) -> (String, bool) {
        let is_unique = self.below(2) == 0;
        (self.event_object(0, is_unique), is_unique)
    }

    fn event_object(&mut self, depth: u8, is_unique: bool) -> String {
        let mut used = BTreeSet::new();
        let mut text = String::from("{");
        let most = if self.below(8) == 0 { 20 } else { 5 };
        for _ in 0..self.below(most) {
            let name = self.name();
            if is_unique && (name.contains('.') || !used.insert(name)) {
                continue;
            }
            if text.len() > 1 {
                text.push(',');
            }
            self.blanks(&mut text);
            text.push_str(&self.spelled(name, is_unique));
            self.blanks(&mut text);
            text.push(':');
            self.blanks(&mut text);
            text.push_str(&self.event_value(depth + 1, is_unique));
        }
        self.blanks(&mut text);
        text.push('}');
        text
    }

    fn blanks(&mut self, text: &mut String) {
        if self.below(16) == 1 {
            text.push_str(self.of(&[" ", "\n", "\t", "\r\n  ", "                    "]));
        }
    }

    fn event_value(&mut self, depth: u8, is_unique: bool) -> String {
        match self.below(12) {
            0..3 if depth < 6 => self.event_object(depth, is_unique),
            3..6 if depth < 6 => {
                let most = self.of(&[3, 4, 5, 40]);
                let mut text = String::from("[");
                for number in 0..self.below(most) {
                    if number > 0 {
                        text.push(',');
                    }
                    text.push_str(&self.event_value(depth + 1, is_unique));
                }
                self.blanks(&mut text);
                text.push(']');
                text
            }
            6 => self.of(&["null", "true", "false"]).to_owned(),
            7 if depth < 6 => self.table(),
            7 | 8 => self.of(NUMBERS).to_owned(),
            _ => {
                let string = self.string();
                self.spelled(&string, false)
            }
        }
    }

    /// An array of objects that are much alike.
    fn table(&mut self) -> String {
        let count = self.below(30);
        let (first, step) = (self.below(16), 1 + self.below(6));
        let word = |n: u8| {
            [
                "\"a\"",
                "\"ab\"",
                "1",
                "\"abcd\"",
                "2.5",
                "[]",
                "[1,\"b\"]",
                "null",
            ][usize::from(n % 8)]
        };
        let row = |number: u8| {
            let n = first.wrapping_add(number.wrapping_mul(step));
            match n % 5 {
                0 => format!("{{\"a\":{},\"b\":{}}}", word(n), word(n / 2)),
                1 => format!("{{\"b\":{},\"c\":{}}}", word(n / 2), word(n / 4)),
                2 => format!("{{\"a\":{}}}", word(n / 8)),
                3 => format!(
                    "[{{\"a\":{},\"b\":{},\"c\":{}}}]",
                    word(n),
                    word(n / 3),
                    word(n / 2)
                ),
                _ => word(n).to_owned(),
            }
        };
        let rows: Vec<String> = (0..count).map(row).collect();
        format!("[{}]", rows.join(","))
    }

    /// A string as an event may spell it: one of its characters may be written by its number.
    fn spelled(&mut self, string: &str, plainly: bool) -> String {
        let escaped = if plainly { 0 } else { self.below(6) };
        let mut text = String::from("\"");
        for (number, c) in string.chars().enumerate() {
            if escaped > 0 && number == usize::from(escaped - 1) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(text, "\\u{unit:04x}").unwrap();
                }
            } else {
                let quoted = quoted(&c.to_string());
                text.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        text.push('"');
        text
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// About the value, to put the ends of a range in order.
fn number(text: &str) -> f64 {
    text.parse().unwrap()
}
