//! Checks an I-Regexp (RFC 9485, with `~` as the escape) and writes it in the syntax of the regex
//! library. Every character is written by its number, so nothing of the library's own syntax can
//! slip through.

use std::{fmt::Write, iter::Peekable, str::Chars};

use crate::{
    error::ErrorCode,
    limits::{MAX_REGEXP_CHARS, MAX_REGEXP_GROUPS, MAX_REGEXP_SIZE},
};

/// Unicode general categories, as RFC 9485 lists them.
const CATEGORIES: &[&str] = &[
    "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc",
    "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Z", "Zl", "Zp", "Zs", "S", "Sc", "Sk", "Sm", "So", "C",
    "Cc", "Cf", "Cn", "Co",
];

/// Highest count in `{n,m}`.
const MAX_COUNT: u32 = 99;

/// Why an expression is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RegexpError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

impl RegexpError {
    pub(crate) fn bad(message: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self {
            code: ErrorCode::BadRegexp,
            message: message.into(),
            hint,
        }
    }

    pub(crate) fn too_complex(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::TooComplex,
            message: message.into(),
            hint: None,
        }
    }
}

fn bad<T>(message: impl Into<String>) -> Result<T, RegexpError> {
    Err(RegexpError::bad(message, None))
}

/// The expression for the regex library, anchored at both ends.
pub(crate) fn translate(text: &str) -> Result<String, RegexpError> {
    if text.chars().nth(MAX_REGEXP_CHARS).is_some() {
        return Err(RegexpError {
            code: ErrorCode::TooLarge,
            message: format!("a regexp has at most {MAX_REGEXP_CHARS} characters"),
            hint: None,
        });
    }
    let mut translator = Translator {
        size: Size::default(),
        chars: text.chars().peekable(),
        out: String::from(r"\A(?:"),
    };
    translator.expression()?;
    translator.out.push_str(r")\z");
    Ok(translator.out)
}

struct Translator<'a> {
    size: Size,
    chars: Peekable<Chars<'a>>,
    out: String,
}

/// How many characters and classes the expression has once its counts are written out. Each may have
/// to be kept in mind at each character of a value.
#[derive(Default)]
struct Size {
    /// Of each open group, and around it; then of the innermost.
    outer: Vec<usize>,
    inner: usize,
    /// Of what a quantifier would repeat.
    last: usize,
}

impl Size {
    fn atom(&mut self) {
        self.inner += 1;
        self.last = 1;
    }

    fn open(&mut self) {
        self.outer.push(std::mem::take(&mut self.inner));
    }

    fn close(&mut self) {
        self.last = self.inner;
        self.inner += self.outer.pop().unwrap_or_default();
    }

    fn repeat(&mut self, times: u32) -> Result<(), RegexpError> {
        let more = self.last.saturating_mul(times.saturating_sub(1) as usize);
        self.inner = self.inner.saturating_add(more);
        self.last = self.last.saturating_add(more);
        if self.inner > MAX_REGEXP_SIZE {
            return Err(RegexpError::too_complex(format!(
                "the counts multiply the expression to more than {MAX_REGEXP_SIZE} characters and \
                 classes"
            )));
        }
        Ok(())
    }
}

impl Translator<'_> {
    fn expression(&mut self) -> Result<(), RegexpError> {
        let mut groups = 0_u32;
        // Whether a quantifier may follow: behind an atom, but not behind another quantifier.
        let mut atom = false;
        while let Some(c) = self.chars.next() {
            match c {
                '(' => {
                    groups += 1;
                    if groups > MAX_REGEXP_GROUPS {
                        return Err(RegexpError::too_complex(format!(
                            "groups are nested deeper than {MAX_REGEXP_GROUPS}"
                        )));
                    }
                    if self.chars.peek() == Some(&'?') {
                        return bad("`(?` is not supported");
                    }
                    self.out.push_str("(?:");
                    self.size.open();
                    atom = false;
                }
                ')' => {
                    let Some(outer) = groups.checked_sub(1) else {
                        return bad("`)` without `(`");
                    };
                    groups = outer;
                    self.size.close();
                    self.out.push(')');
                    atom = true;
                }
                '|' => {
                    self.out.push('|');
                    atom = false;
                }
                '?' | '*' | '+' | '{' => {
                    if !atom {
                        return bad(format!("`{c}` has nothing before it to repeat"));
                    }
                    if c == '{' {
                        self.count()?;
                    } else {
                        self.out.push(c);
                    }
                    atom = false;
                }
                '[' => {
                    self.class()?;
                    self.size.atom();
                    atom = true;
                }
                ']' => return bad("`]` without `[`"),
                '.' => {
                    self.out.push_str("(?s:.)");
                    self.size.atom();
                    atom = true;
                }
                '~' => {
                    if !self.category()? {
                        let c = self.escaped()?;
                        self.literal(c);
                    }
                    self.size.atom();
                    atom = true;
                }
                c => {
                    self.literal(c);
                    self.size.atom();
                    atom = true;
                }
            }
        }
        if groups > 0 {
            bad("`(` without `)`")
        } else {
            Ok(())
        }
    }

    fn literal(&mut self, c: char) {
        // Writing to a string does not fail.
        let _ignored = write!(self.out, r"\x{{{:X}}}", u32::from(c));
    }

    /// The rest of `{n}`, `{n,}` or `{n,m}`.
    fn count(&mut self) -> Result<(), RegexpError> {
        let Some(min) = self.digits()? else {
            return bad("`{` must be followed by a number, as in `{2}`, `{2,}` or `{2,5}`");
        };
        let mut open_end = false;
        let mut max = None;
        if self.chars.next_if_eq(&',').is_some() {
            max = self.digits()?;
            open_end = max.is_none();
        }
        if self.chars.next_if_eq(&'}').is_none() {
            return bad("`{` without `}`");
        }
        if max.is_some_and(|max| max < min) {
            return bad("the second number in `{n,m}` is below the first");
        }
        self.size.repeat(max.unwrap_or(min))?;
        let _ignored = match (open_end, max) {
            (true, _) => write!(self.out, "{{{min},}}"),
            (false, Some(max)) => write!(self.out, "{{{min},{max}}}"),
            (false, None) => write!(self.out, "{{{min}}}"),
        };
        Ok(())
    }

    fn digits(&mut self) -> Result<Option<u32>, RegexpError> {
        let mut number = None;
        while let Some(c) = self.chars.next_if(char::is_ascii_digit) {
            let digit = c.to_digit(10).unwrap_or_default();
            let value = number.unwrap_or(0) * 10 + digit;
            if value > MAX_COUNT {
                return bad(format!("a count in `{{n,m}}` is at most {MAX_COUNT}"));
            }
            number = Some(value);
        }
        Ok(number)
    }

    /// Behind a `~`: takes `p{X}` or `P{X}`, and says whether it was one.
    fn category(&mut self) -> Result<bool, RegexpError> {
        let Some(p) = self.chars.next_if(|&c| c == 'p' || c == 'P') else {
            return Ok(false);
        };
        if self.chars.next_if_eq(&'{').is_none() {
            return bad(format!(
                "`~{p}` must be followed by a category, as in `~{p}{{Lu}}`"
            ));
        }
        let mut name = String::new();
        while let Some(c) = self.chars.next_if(|&c| c != '}') {
            name.push(c);
        }
        if self.chars.next().is_none() {
            return bad(format!("`~{p}{{` without `}}`"));
        }
        if !CATEGORIES.contains(&name.as_str()) {
            return bad(format!("`{name}` is no Unicode general category"));
        }
        let _ignored = write!(self.out, r"\{p}{{{name}}}");
        Ok(true)
    }

    /// Behind a `~`: the character that the escape stands for.
    fn escaped(&mut self) -> Result<char, RegexpError> {
        match self.chars.next() {
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some(
                c @ ('(' | ')' | '*' | '+' | '-' | '.' | '?' | '[' | '\\' | ']' | '^' | '{' | '|'
                | '}' | '~'),
            ) => Ok(c),
            Some('d') => Err(RegexpError::bad(
                "`~d` is no escape",
                Some("write `[0-9]` or `~p{Nd}`"),
            )),
            Some(c) => bad(format!("`~{c}` is no escape")),
            None => bad("the expression ends in `~`"),
        }
    }

    /// The rest of a class in brackets. A `-` that is no range stands first or last.
    fn class(&mut self) -> Result<(), RegexpError> {
        self.out.push('[');
        if self.chars.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut empty = true;
        if self.chars.next_if_eq(&'-').is_some() {
            self.literal('-');
            empty = false;
        }
        loop {
            match self.chars.next() {
                None => return bad("`[` without `]`"),
                Some(']') if empty => return bad("a class in brackets is empty"),
                Some(']') => break,
                Some('[') => return bad("`[` within brackets must be written `~[`"),
                Some('-') if self.chars.peek() == Some(&']') => self.literal('-'),
                Some('-') => return bad("`-` within brackets must be written `~-`"),
                Some('~') => {
                    if !self.category()? {
                        let from = self.escaped()?;
                        self.class_range(from)?;
                    }
                }
                Some(from) => self.class_range(from)?,
            }
            empty = false;
        }
        self.out.push(']');
        Ok(())
    }

    /// A character of a class, or the range that starts with it.
    fn class_range(&mut self, from: char) -> Result<(), RegexpError> {
        let mut ahead = self.chars.clone();
        let is_range = ahead.next() == Some('-') && ahead.next() != Some(']');
        self.literal(from);
        if !is_range {
            return Ok(());
        }
        self.chars.next();
        let to = match self.chars.next() {
            None => return bad("`[` without `]`"),
            Some('~') => self.escaped()?,
            Some('[') => return bad("class subtraction is not supported"),
            Some('-') => return bad("`-` within brackets must be written `~-`"),
            Some(to) => to,
        };
        if to < from {
            return bad(format!("the range `{from}-{to}` is reversed"));
        }
        self.out.push('-');
        self.literal(to);
        Ok(())
    }
}
