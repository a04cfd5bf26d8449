//! Reads a JSON text into a [`Tree`]: RFC 8259 to the letter, without recursion.
//!
//! Half a surrogate pair (`"\ud800"`) is an error: it is no character, and replacing it would make
//! two different texts equal.

use super::{Kind, Node, NodeId, Text, Tree, scan::plain_run};

/// Why a text was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    /// Byte of the text.
    pub(crate) offset: usize,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    Syntax,
    TooDeep,
    TooLarge,
}

fn syntax(offset: usize, message: impl Into<String>) -> Problem {
    Problem {
        kind: ProblemKind::Syntax,
        offset,
        message: message.into(),
    }
}

/// Reads `source` into `tree`, which is emptied first, and gives the text back as a string.
pub(crate) fn read<'s>(
    source: &'s [u8],
    max_depth: usize,
    max_bytes: usize,
    tree: &mut Tree,
) -> Result<&'s str, Problem> {
    tree.nodes.clear();
    tree.decoded.clear();
    let text = as_text(source, max_bytes)?;
    Reader::<true>::new(text, max_depth, tree).document()?;
    Ok(text)
}

/// Checks `source` as [`read()`] does, and keeps nothing. Depths over [`MAX_DEPTH`] are refused.
pub(crate) fn check(source: &[u8], max_depth: usize, max_bytes: usize) -> Result<&str, Problem> {
    let text = as_text(source, max_bytes)?;
    Reader::<false>::new(text, max_depth, &mut Tree::default()).document()?;
    Ok(text)
}

fn as_text(source: &[u8], max_bytes: usize) -> Result<&str, Problem> {
    if source.len() > max_bytes || u32::try_from(source.len()).is_err() {
        let message = format!(
            "the text has {} bytes, more than the {max_bytes} allowed",
            source.len()
        );
        return Err(Problem {
            kind: ProblemKind::TooLarge,
            offset: 0,
            message,
        });
    }
    let text = std::str::from_utf8(source)
        .map_err(|e| syntax(e.valid_up_to(), "the text is not valid UTF-8"))?;
    if text.starts_with('\u{feff}') {
        return Err(syntax(0, "the text starts with a byte-order mark"));
    }
    Ok(text)
}

/// Deepest nesting that can be read at all: one bit each says what is open.
const MAX_DEPTH: usize = 128;

/// Reads a text; `KEEP` says whether into the tree.
struct Reader<'s, 't, const KEEP: bool> {
    text: &'s str,
    bytes: &'s [u8],
    at: usize,
    max_depth: usize,
    /// Containers whose end is not yet read, and for each whether it is an object: the innermost
    /// is the lowest bit.
    depth: usize,
    objects: u128,
    /// Their nodes, if they are kept.
    open: Vec<NodeId>,
    tree: &'t mut Tree,
}

/// The member name that the next value belongs to.
type Name = (Text, usize);

impl<'s, 't, const KEEP: bool> Reader<'s, 't, KEEP> {
    fn new(text: &'s str, max_depth: usize, tree: &'t mut Tree) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            max_depth: max_depth.min(MAX_DEPTH),
            depth: 0,
            objects: 0,
            open: Vec::new(),
            tree,
        }
    }

    fn document(&mut self) -> Result<(), Problem> {
        let mut name = None;
        loop {
            if self.value(name)? {
                // A container was opened and is not empty: its first member or element is next.
                name = self.member_name()?;
            } else if self.close_finished()? {
                break;
            } else {
                name = self.member_name()?;
            }
        }
        self.blanks();
        if self.at < self.bytes.len() {
            return Err(syntax(
                self.at,
                "there is text after the end of the JSON value",
            ));
        }
        Ok(())
    }

    /// Reads a scalar, an empty container or the start of another; `true` means the last.
    fn value(&mut self, name: Option<Name>) -> Result<bool, Problem> {
        self.blanks();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => return self.container(name, Kind::Object, b'}'),
            Some(b'[') => return self.container(name, Kind::Array, b']'),
            Some(b'"') => Kind::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Kind::Number
            }
            Some(b't') => self.literal("true", Kind::Bool(true))?,
            Some(b'f') => self.literal("false", Kind::Bool(false))?,
            Some(b'n') => self.literal("null", Kind::Null)?,
            Some(b'/') => return Err(syntax(start, "JSON has no comments")),
            Some(b'\'') => return Err(syntax(start, "strings are written in double quotes")),
            Some(_) => return Err(syntax(start, "a JSON value is expected here")),
            None => {
                return Err(syntax(
                    start,
                    "the text ends where a JSON value is expected",
                ));
            }
        };
        self.push(name, kind, start);
        Ok(false)
    }

    fn container(&mut self, name: Option<Name>, kind: Kind, end: u8) -> Result<bool, Problem> {
        let start = self.at;
        if self.depth >= self.max_depth {
            let message = format!("nested deeper than {} levels", self.max_depth);
            return Err(Problem {
                kind: ProblemKind::TooDeep,
                offset: start,
                message,
            });
        }
        self.at += 1;
        let node = self.push(name, kind, start);
        self.blanks();
        if self.peek() == Some(end) {
            self.at += 1;
            self.finish(node);
            return Ok(false);
        }
        if KEEP {
            self.open.push(node);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(end == b'}');
        Ok(true)
    }

    /// After a value: closes every container that ends here. `true` when the top value is
    /// complete, `false` when a comma announces another member or element.
    fn close_finished(&mut self) -> Result<bool, Problem> {
        loop {
            if self.depth == 0 {
                return Ok(true);
            }
            let is_object = self.objects & 1 == 1;
            self.blanks();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    return Ok(false);
                }
                Some(b'}') if is_object => {}
                Some(b']') if !is_object => {}
                Some(_) if is_object => return Err(syntax(self.at, "`,` or `}` is expected here")),
                Some(_) => return Err(syntax(self.at, "`,` or `]` is expected here")),
                None => return Err(syntax(self.at, "the text ends within an object or list")),
            }
            self.at += 1;
            self.depth -= 1;
            self.objects >>= 1;
            if let Some(node) = self.open.pop() {
                self.finish(node);
            }
        }
    }

    /// Reads `"name":` if the innermost container is an object.
    fn member_name(&mut self) -> Result<Option<Name>, Problem> {
        if self.depth == 0 || self.objects & 1 == 0 {
            return Ok(None);
        }
        self.blanks();
        let start = self.at;
        match self.peek() {
            Some(b'"') => {}
            Some(b'}') => return Err(syntax(start, "a comma before `}` is not allowed")),
            Some(b'/') => return Err(syntax(start, "JSON has no comments")),
            Some(_) => {
                return Err(syntax(
                    start,
                    "a member name in double quotes is expected here",
                ));
            }
            None => return Err(syntax(start, "the text ends within an object")),
        }
        let name = self.string()?;
        self.blanks();
        if self.peek() != Some(b':') {
            return Err(syntax(self.at, "`:` is expected after a member name"));
        }
        self.at += 1;
        Ok(Some((name, start)))
    }

    fn push(&mut self, name: Option<Name>, kind: Kind, start: usize) -> NodeId {
        if !KEEP {
            return 0;
        }
        let id = offset32(self.tree.nodes.len());
        let (name, name_at) = name.unwrap_or((Text::None, start));
        self.tree.nodes.push(Node {
            name,
            name_at: offset32(name_at),
            kind,
            end: id.saturating_add(1),
            from: offset32(start),
            to: offset32(self.at),
        });
        id
    }

    fn finish(&mut self, id: NodeId) {
        if !KEEP {
            return;
        }
        let end = offset32(self.tree.nodes.len());
        if let Some(node) = self.tree.nodes.get_mut(id as usize) {
            node.end = end;
            node.to = offset32(self.at);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &str, kind: Kind) -> Result<Kind, Problem> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(syntax(self.at, "a JSON value is expected here"));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn number(&mut self) -> Result<(), Problem> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => {
                self.at += 1;
                if matches!(self.peek(), Some(b'0'..=b'9')) {
                    return Err(syntax(start, "a number may not have leading zeros"));
                }
            }
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Problem> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(syntax(start, "a digit is expected here"));
        }
        Ok(())
    }

    /// Reads a string from its opening quote to behind the closing one.
    fn string(&mut self) -> Result<Text, Problem> {
        let quote = self.at;
        self.at += 1;
        let mut run = self.at;
        // Where the decoded text starts, once there was an escape.
        let mut decoded: Option<usize> = None;
        loop {
            self.at = plain_run(self.bytes, self.at);
            match self.peek() {
                None => return Err(syntax(quote, "this string has no closing quote")),
                Some(b'"') => break,
                Some(b'\\') => {
                    decoded.get_or_insert(self.tree.decoded.len());
                    self.copy_run(run);
                    let c = self.escape()?;
                    if KEEP {
                        self.tree.decoded.push(c);
                    }
                    run = self.at;
                }
                Some(0..=0x1f) => {
                    let message = "a control character in a string must be escaped";
                    return Err(syntax(self.at, message));
                }
                Some(_) => self.at += 1,
            }
        }
        let text = match decoded {
            None => Text::Source(offset32(run), offset32(self.at)),
            Some(start) => {
                self.copy_run(run);
                Text::Decoded(offset32(start), offset32(self.tree.decoded.len()))
            }
        };
        self.at += 1;
        Ok(text)
    }

    fn copy_run(&mut self, run: usize) {
        if !KEEP {
            return;
        }
        self.tree
            .decoded
            .push_str(self.text.get(run..self.at).unwrap_or_default());
    }

    fn escape(&mut self) -> Result<char, Problem> {
        let start = self.at;
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape(start);
            }
            _ => return Err(syntax(start, "JSON has no such escape")),
        };
        self.at += 1;
        Ok(c)
    }

    /// The rest of `\uXXXX`, with a second one where the first is half a pair.
    fn unicode_escape(&mut self, start: usize) -> Result<char, Problem> {
        let first = self.hex4(start)?;
        let lone = || syntax(start, "half a surrogate pair is no character");
        let code = match first {
            0xd800..=0xdbff => {
                if self.bytes.get(self.at..self.at.saturating_add(2)) != Some(b"\\u") {
                    return Err(lone());
                }
                self.at += 2;
                let second = self.hex4(start)?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(lone());
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(lone)
    }

    fn hex4(&mut self, start: usize) -> Result<u32, Problem> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            let digit =
                digit.ok_or_else(|| syntax(start, "`\\u` needs four hexadecimal digits"))?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

/// Appends the characters of a string that was read before: what stands between its quotes.
/// Escapes that are none are left out.
pub(crate) fn unescape(raw: &str, into: &mut String) {
    let tree = &mut Tree::default();
    let mut reader = Reader::<false>::new(raw, 0, tree);
    while let Some(plain) = raw.get(reader.at..).and_then(|rest| rest.find('\\')) {
        let escape = reader.at + plain;
        into.push_str(raw.get(reader.at..escape).unwrap_or_default());
        reader.at = escape;
        into.extend(reader.escape());
        reader.at = reader.at.max(escape + 1);
    }
    into.push_str(raw.get(reader.at..).unwrap_or_default());
}

/// Positions fit, as longer texts are refused at the start; decoding never makes text longer.
fn offset32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
