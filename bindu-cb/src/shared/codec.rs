//! The commands to the server, and what it says: as bytes.
//!
//! Knows no client. A message is the same whether it is pushed or answered: fields in order, each as
//! its length, `:` and its bytes, or `-` for none. The first is the version.

use std::fmt;

use super::key::{key_part, namespace_part, operation_in};
use super::protocol::{Action, Answer, By, Command, Content, LAST, Millis, Phase, Stamp};
use super::replica::News;

/// Changes a circuit, and reads some.
pub const PROTOCOL: &str = include_str!("protocol.lua");
/// Tells which have changed.
pub const CHANGES: &str = include_str!("changes.lua");

const VERSION: &[u8] = b"1";
/// Names and reasons are cut to so many characters.
const LONGEST_TEXT: usize = 200;
/// No span of time is longer, so that the server adds exactly: 35,000 years.
const LONGEST_SPAN: Millis = 1 << 50;

/// The script to run, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub script: &'static str,
    pub keys: Vec<Vec<u8>>,
    pub args: Vec<Vec<u8>>,
}

/// What a script returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Nil,
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
}

/// What the server says is not what this version understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError {
    what: &'static str,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server's {} is not understood", self.what)
    }
}

impl std::error::Error for CodecError {}

fn unknown<T>(what: &'static str) -> Result<T, CodecError> {
    Err(CodecError { what })
}

/// An entry of a namespace's changes. Later ones are greater, within one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    pub time: u64,
    pub number: u64,
}

/// How far the changes of a namespace have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub mark: Mark,
    /// Its number since the changes began; 0 where there is none yet.
    pub count: u64,
}

/// A record, pushed or answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub op: String,
    /// The change that made it so; `None` where it has only been read.
    pub mark: Option<Mark>,
    pub news: News,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The server's clock: what deadlines are counted from.
    pub now: Millis,
    pub answer: Answer,
    /// `None`: it has no record, or, with [`Answer::Schema`], none that can be read.
    pub message: Option<Message>,
}

/// One of the records that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Record(Message),
    /// It was written by a later version of this crate, or is damaged.
    Unreadable,
}

/// What has happened since a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    Nothing,
    /// These circuits have changed, each last by this change: it may be known from its message.
    Some {
        cursor: Cursor,
        ops: Vec<(String, Mark)>,
    },
    /// There was no cursor: everything is to be read.
    Start {
        cursor: Cursor,
    },
    /// More than is kept: everything is to be read.
    Behind {
        cursor: Cursor,
    },
    /// The server has lost data: everything is to be read, and what it has lost restored.
    Lost {
        cursor: Cursor,
    },
}

/// Where the changes of a namespace are pushed.
pub fn channel(namespace: &str) -> Vec<u8> {
    format!("bindu-cb:1:{}:news", namespace_part(namespace)).into_bytes()
}

fn changes_key(namespace: &str) -> Vec<u8> {
    format!("bindu-cb:1:{}:changes", namespace_part(namespace)).into_bytes()
}

fn key(namespace: &str, op: &str, of: &str) -> Vec<u8> {
    format!("bindu-cb:1:{}:{of}", key_part(namespace, op)).into_bytes()
}

/// What the keys of a namespace's records match, as `SCAN` understands it. Others may match, too.
pub fn state_pattern(namespace: &str) -> Vec<u8> {
    let mut pattern = String::new();
    for c in format!("bindu-cb:1:{}", namespace_part(namespace)).chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.pop();
    pattern.push_str("/*}:state");
    pattern.into_bytes()
}

/// The operation whose record has this key; `None` if it is something else.
pub fn operation_of(namespace: &str, key: &[u8]) -> Option<String> {
    let key = std::str::from_utf8(key).ok()?;
    operation_in(namespace, key.strip_prefix("bindu-cb:1:")?.strip_suffix(":state")?)
}

/// What `SCAN` answers: the cursor to go on from, `0` at the end, and keys.
pub fn decode_keys(value: Value) -> Result<(Vec<u8>, Vec<Vec<u8>>), CodecError> {
    let Value::List(items) = value else { return unknown("answer") };
    let Ok([Value::Bytes(cursor), Value::List(keys)]) = <[Value; 2]>::try_from(items) else {
        return unknown("answer");
    };
    let keys = keys.into_iter().map(|key| match key {
        Value::Bytes(key) => Ok(key),
        _ => unknown("list of keys"),
    });
    Ok((cursor, keys.collect::<Result<_, _>>()?))
}

/// Applies a command to the record of a circuit. Answered by [`decode_reply`].
pub fn encode(namespace: &str, op: &str, command: &Command) -> Call {
    let Command { seen, deadline, keep, action } = command;
    let keys =
        vec![key(namespace, op, "state"), key(namespace, op, "votes"), changes_key(namespace)];
    let mut args = vec![
        verb(action).into(),
        op.into(),
        channel(namespace),
        number(seen.epoch.min(LAST)),
        number(seen.generation.min(LAST)),
        number((*deadline).min(LAST)),
        span(*keep),
    ];
    match action {
        Action::Vote { voter, wait, reopens, quorum } => {
            args.extend([cut(voter), span(*wait), number(*reopens), number(*quorum)]);
        }
        Action::Lease { owner, ttl, lead } => {
            args.extend([cut(owner), span(*ttl), span(*lead)]);
        }
        Action::GiveBack { owner } => args.push(cut(owner)),
        Action::Outcome { owner, success, wait } => {
            args.extend([cut(owner), number(u8::from(*success)), span(*wait)]);
        }
        Action::Manual { phase, by } => {
            args.extend([phase_name(*phase).into(), cut(&by.who), cut(&by.why)]);
        }
        Action::Restore { content: Content { phase, until, wait, reopens, by } } => {
            args.push(phase_name(*phase).into());
            args.extend([span(*until), span(*wait), number(*reopens)]);
            args.extend(by.iter().flat_map(|by| [cut(&by.who), cut(&by.why)]));
        }
    }
    Call { script: PROTOCOL, keys, args }
}

/// Reads the records of some circuits, in order. Answered by [`decode_found`].
pub fn encode_read(namespace: &str, ops: &[&str]) -> Call {
    let keys = ops.iter().map(|op| key(namespace, op, "state")).collect();
    let args = std::iter::once(&"read").chain(ops).map(|text| (*text).into()).collect();
    Call { script: PROTOCOL, keys, args }
}

/// Asks what has changed since; everything if there is no cursor. Answered by [`decode_changes`].
pub fn encode_changes(namespace: &str, since: Option<Cursor>) -> Call {
    let args = since.map_or_else(Vec::new, |Cursor { mark, count }| {
        vec![format!("{}-{}", mark.time, mark.number).into_bytes(), number(count)]
    });
    Call { script: CHANGES, keys: vec![changes_key(namespace)], args }
}

fn verb(action: &Action) -> &'static str {
    match action {
        Action::Vote { .. } => "vote",
        Action::Lease { .. } => "lease",
        Action::GiveBack { .. } => "give_back",
        Action::Outcome { .. } => "outcome",
        Action::Manual { .. } => "manual",
        Action::Restore { .. } => "restore",
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Closed => "closed",
        Phase::Open => "open",
        Phase::ForcedOpen => "forced_open",
        Phase::ForcedClosed => "forced_closed",
    }
}

fn number(value: impl Into<u64>) -> Vec<u8> {
    value.into().to_string().into_bytes()
}

fn span(millis: Millis) -> Vec<u8> {
    number(millis.min(LONGEST_SPAN))
}

fn cut(text: &str) -> Vec<u8> {
    text.chars().take(LONGEST_TEXT).collect::<String>().into_bytes()
}

pub fn decode_reply(value: &Value) -> Result<Reply, CodecError> {
    let Value::List(items) = value else { return unknown("answer") };
    let [now, Value::Bytes(answer), message] = &items[..] else { return unknown("answer") };
    let answer = match &answer[..] {
        b"done" => Answer::Done,
        b"late" => Answer::Late,
        b"stale" => Answer::Stale,
        b"held" => Answer::Held,
        b"early" => Answer::Early,
        b"schema" => Answer::Schema,
        _ => return unknown("answer"),
    };
    let message = match message {
        Value::Nil => None,
        Value::Bytes(bytes) => Some(decode_message(bytes)?),
        _ => return unknown("record"),
    };
    Ok(Reply { now: moment(now)?, answer, message })
}

/// The server's clock, and what it has for each circuit that was asked for.
pub fn decode_found(value: &Value) -> Result<(Millis, Vec<Found>), CodecError> {
    let Value::List(items) = value else { return unknown("answer") };
    let [now, Value::List(records)] = &items[..] else { return unknown("answer") };
    let found = records.iter().map(|record| match record {
        Value::Nil => Ok(Found::Nothing),
        Value::Int(_) => Ok(Found::Unreadable),
        // One that is damaged must not keep the others from being read.
        Value::Bytes(bytes) => Ok(decode_message(bytes).map_or(Found::Unreadable, Found::Record)),
        Value::List(_) => unknown("record"),
    });
    Ok((moment(now)?, found.collect::<Result<_, _>>()?))
}

/// The server's clock, and what has changed.
pub fn decode_changes(value: &Value) -> Result<(Millis, Changes), CodecError> {
    let Value::List(items) = value else { return unknown("answer") };
    let [now, Value::Bytes(status), rest @ ..] = &items[..] else { return unknown("answer") };
    let changes = match (&status[..], rest) {
        (b"same", []) => Changes::Nothing,
        (status, [Value::Bytes(mark), count, rest @ ..]) => {
            let cursor = Cursor { mark: decode_mark(mark)?, count: moment(count)? };
            match (status, rest) {
                (b"changed", [Value::List(ops)]) => Changes::Some { cursor, ops: decode_ops(ops)? },
                (b"start", []) => Changes::Start { cursor },
                (b"behind", []) => Changes::Behind { cursor },
                (b"lost", []) => Changes::Lost { cursor },
                _ => return unknown("list of changes"),
            }
        }
        _ => return unknown("list of changes"),
    };
    Ok((moment(now)?, changes))
}

fn decode_ops(ops: &[Value]) -> Result<Vec<(String, Mark)>, CodecError> {
    let (pairs, []) = ops.as_chunks() else { return unknown("list of changes") };
    let decode = |pair: &[Value; 2]| match pair {
        [Value::Bytes(op), Value::Bytes(mark)] => Ok((lossy(op), decode_mark(mark)?)),
        _ => unknown("list of changes"),
    };
    pairs.iter().map(decode).collect()
}

fn moment(value: &Value) -> Result<u64, CodecError> {
    match value {
        Value::Int(number) => u64::try_from(*number).or_else(|_| unknown("time")),
        _ => unknown("time"),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn decode_number(bytes: &[u8]) -> Result<u64, CodecError> {
    // Not `parse` alone: it takes a sign.
    let digits = bytes.iter().all(u8::is_ascii_digit).then_some(bytes);
    let text = digits.and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).map_or_else(|| unknown("number"), Ok)
}

fn decode_mark(bytes: &[u8]) -> Result<Mark, CodecError> {
    let Some(dash) = bytes.iter().position(|byte| *byte == b'-') else { return unknown("change") };
    let (time, number) = (&bytes[..dash], &bytes[dash + 1..]);
    Ok(Mark { time: decode_number(time)?, number: decode_number(number)? })
}

/// Takes the fields of a message off its front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn optional(&mut self) -> Result<Option<&'a [u8]>, CodecError> {
        if let Some(rest) = self.0.strip_prefix(b"-") {
            self.0 = rest;
            return Ok(None);
        }
        let Some(colon) = self.0.iter().position(|byte| *byte == b':') else {
            return unknown("message");
        };
        let length = usize::try_from(decode_number(&self.0[..colon])?);
        let rest = &self.0[colon + 1..];
        match length.ok().and_then(|length| rest.split_at_checked(length)) {
            Some((field, rest)) => {
                self.0 = rest;
                Ok(Some(field))
            }
            None => unknown("message"),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        self.optional()?.map_or_else(|| unknown("message"), Ok)
    }

    fn number(&mut self) -> Result<u64, CodecError> {
        match decode_number(self.bytes()?)? {
            number @ ..=LAST => Ok(number),
            _ => unknown("number"),
        }
    }
}

/// What was pushed.
pub fn decode_message(bytes: &[u8]) -> Result<Message, CodecError> {
    let mut fields = Fields(bytes);
    if fields.bytes()? != VERSION {
        return unknown("version");
    }
    let op = lossy(fields.bytes()?);
    let mark = fields.optional()?.map(decode_mark).transpose()?;
    let stamp = Stamp { epoch: fields.number()?, generation: fields.number()? };
    let revision = fields.number()?;
    let phase = match fields.bytes()? {
        b"closed" => Phase::Closed,
        b"open" => Phase::Open,
        b"forced_open" => Phase::ForcedOpen,
        b"forced_closed" => Phase::ForcedClosed,
        _ => return unknown("state"),
    };
    let (left, wait) = (fields.number()?, fields.number()?);
    let Ok(reopens) = u8::try_from(fields.number()?) else { return unknown("number") };
    let by = match (fields.optional()?, fields.optional()?) {
        (None, None) => None,
        (who, why) => {
            Some(By { who: lossy(who.unwrap_or_default()), why: lossy(why.unwrap_or_default()) })
        }
    };
    let lease = match (fields.optional()?, fields.optional()?) {
        (None, None) => None,
        (Some(owner), Some(left)) => Some((lossy(owner), decode_number(left)?.min(LAST))),
        _ => return unknown("lease"),
    };
    if !fields.0.is_empty() {
        return unknown("message");
    }
    let news = News { stamp, revision, phase, left, wait, reopens, by, lease };
    Ok(Message { op, mark, news })
}

/// As the script would say it: for servers of the tests' own.
#[cfg(any(test, feature = "test-util"))]
pub fn encode_message(message: &Message) -> Vec<u8> {
    let Message { op, mark, news } = message;
    let mark = mark.map(|mark| format!("{}-{}", mark.time, mark.number).into_bytes());
    let by = news.by.as_ref();
    let lease = news.lease.as_ref();
    let fields = [
        Some(VERSION.to_vec()),
        Some(op.clone().into_bytes()),
        mark,
        Some(number(news.stamp.epoch)),
        Some(number(news.stamp.generation)),
        Some(number(news.revision)),
        Some(phase_name(news.phase).into()),
        Some(number(news.left)),
        Some(number(news.wait)),
        Some(number(news.reopens)),
        by.map(|by| by.who.clone().into_bytes()),
        by.map(|by| by.why.clone().into_bytes()),
        lease.map(|(owner, _)| owner.clone().into_bytes()),
        lease.map(|(_, left)| number(*left)),
    ];
    let mut bytes = Vec::new();
    for field in fields {
        match field {
            Some(field) => {
                bytes.extend(field.len().to_string().bytes().chain([b':']));
                bytes.extend(field);
            }
            None => bytes.push(b'-'),
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
