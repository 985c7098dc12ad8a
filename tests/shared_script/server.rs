//! A real server, as the scripts' own types see it.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use bindu_cb::__shared::codec::{Call, Value};
use bindu_cb::__shared::protocol::{By, Content, Lease, Phase, Record, Stamp};
use bindu_cb_test_servers::RedisServer;

/// One connection. An error of the server's is an `Err`.
pub struct Connection {
    stream: BufReader<TcpStream>,
    loaded: HashMap<String, Vec<u8>>,
}

impl Connection {
    pub fn to(server: &RedisServer) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        Self { stream: BufReader::new(stream), loaded: HashMap::new() }
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            let argument = argument.as_ref();
            bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
            bytes.extend(argument);
            bytes.extend(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes).unwrap();
    }

    pub fn receive(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let (kind, rest) = line.trim_end().split_at(1);
        match kind {
            "+" => Ok(Value::Bytes(rest.into())),
            "-" => Err(rest.to_owned()),
            ":" => Ok(Value::Int(rest.parse().unwrap())),
            "$" if rest == "-1" => Ok(Value::Nil),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Ok(Value::Bytes(bytes))
            }
            "*" => {
                let count: usize = rest.parse().unwrap();
                (0..count).map(|_| self.receive()).collect::<Result<_, _>>().map(Value::List)
            }
            _ => panic!("{line}"),
        }
    }

    pub fn run<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Result<Value, String> {
        self.send(arguments);
        self.receive()
    }

    /// A script, with the text that takes its place where it is to be wrong.
    pub fn call_instead(&mut self, script: &str, call: &Call) -> Result<Value, String> {
        if !self.loaded.contains_key(script) {
            let Value::Bytes(sha1) = self.run(&["SCRIPT", "LOAD", script])? else { panic!() };
            self.loaded.insert(script.to_owned(), sha1);
        }
        let count = call.keys.len().to_string().into_bytes();
        let mut arguments = vec![b"EVALSHA".to_vec(), self.loaded[script].clone(), count];
        arguments.extend(call.keys.iter().chain(&call.args).cloned());
        self.run(&arguments)
    }

    pub fn call(&mut self, call: &Call) -> Result<Value, String> {
        self.call_instead(call.script, call)
    }

    /// What is pushed next to one that has subscribed.
    pub fn pushed(&mut self) -> Vec<u8> {
        match self.receive() {
            Ok(Value::List(mut items)) => match items.pop() {
                Some(Value::Bytes(bytes)) if items.len() == 2 => bytes,
                other => panic!("{items:?} {other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    pub fn strings<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Vec<String> {
        let Value::List(items) = self.run(arguments).unwrap() else { panic!("a list") };
        items.into_iter().map(string).collect()
    }

    pub fn count<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> i64 {
        match self.run(arguments).unwrap() {
            Value::Int(number) => number,
            other => panic!("{other:?}"),
        }
    }

    /// The record of a circuit as it is stored.
    pub fn record(&mut self, call: &Call) -> Option<Record> {
        let fields = self.strings(&[b"HGETALL", &call.keys[0][..]]);
        let (pairs, []) = fields.as_chunks() else { panic!() };
        let fields: BTreeMap<_, _> =
            pairs.iter().map(|[name, value]| (name.as_str(), value.as_str())).collect();
        let text = |name: &str| fields.get(name).map(|text| (*text).to_owned());
        let number = |name: &str| fields.get(name).map(|text| text.parse::<u64>().unwrap());
        let votes = self.strings(&[b"ZRANGE", &call.keys[1][..], b"0", b"-1", b"WITHSCORES"]);
        let (votes, []) = votes.as_chunks() else { panic!() };
        if fields.is_empty() {
            return None;
        }
        assert_eq!(fields["schema"], "1");
        let phase = match fields["state"] {
            "closed" => Phase::Closed,
            "open" => Phase::Open,
            "forced_open" => Phase::ForcedOpen,
            "forced_closed" => Phase::ForcedClosed,
            other => panic!("{other}"),
        };
        Some(Record {
            stamp: Stamp {
                epoch: number("epoch").unwrap(),
                generation: number("generation").unwrap(),
            },
            revision: number("revision").unwrap(),
            content: Content {
                phase,
                until: number("until").unwrap(),
                wait: number("wait").unwrap(),
                reopens: number("reopens").unwrap().try_into().unwrap(),
                by: text("who").map(|who| By { who, why: text("why").unwrap() }),
            },
            lease: text("owner").map(|owner| Lease {
                owner,
                until: number("lease").unwrap(),
                ttl: number("ttl").unwrap(),
            }),
            votes: votes
                .iter()
                .map(|[voter, until]| (voter.clone(), until.parse::<u64>().unwrap()))
                .collect(),
            expires: number("expires"),
        })
    }
}

pub fn string(value: Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        Value::Int(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}
