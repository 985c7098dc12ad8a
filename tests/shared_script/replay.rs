//! The script does what the pure function does: random commands on both, and after each of them the
//! answer, the record and what was pushed are the same.

use std::fmt::Debug;

use bindu_cb::__shared::codec::{self, Call, PROTOCOL, decode_message, decode_reply};
use bindu_cb::__shared::protocol::{
    Action, Answer, By, Command, Content, Millis, Phase, Record, Stamp, apply,
};
use bindu_cb::__shared::replica::News;
use bindu_cb_test_servers::RedisServer;

use crate::server::Connection;

const SEQUENCES: u64 = 2_400;
const COMMANDS: u64 = 30;

/// `splitmix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % end
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        let at = usize::try_from(self.below(list.len() as u64)).unwrap();
        list[at].clone()
    }

    fn name(&mut self) -> String {
        self.of(&["a", "b", "c\0\r\n:-", "ü 9"]).to_owned()
    }

    fn by(&mut self) -> By {
        By { who: self.name(), why: self.of(&["", "a drill"]).to_owned() }
    }

    fn phase(&mut self) -> Phase {
        self.of(&[Phase::Closed, Phase::Open, Phase::ForcedOpen, Phase::ForcedClosed])
    }

    fn wait(&mut self) -> Millis {
        self.of(&[0, 1, 2, 50, 1_000, 60_000])
    }

    fn action(&mut self) -> Action {
        match self.below(20) {
            0..=6 => Action::Vote {
                voter: self.name(),
                wait: self.wait(),
                reopens: self.of(&[0, 1, 254]),
                quorum: self.of(&[0, 1, 2, 2, 3]),
            },
            7..=10 => Action::Lease {
                owner: self.name(),
                ttl: self.wait(),
                lead: self.of(&[0, 100, 100_000]),
            },
            11..=12 => Action::GiveBack { owner: self.name() },
            13..=16 => Action::Outcome {
                owner: self.name(),
                success: self.below(3) == 0,
                wait: self.wait(),
            },
            17 => Action::Manual {
                phase: self.of(&[Phase::Closed, Phase::ForcedOpen, Phase::ForcedClosed]),
                by: self.by(),
            },
            _ => Action::Restore {
                content: Content {
                    phase: self.phase(),
                    until: self.wait(),
                    wait: self.wait(),
                    reopens: 3,
                    by: (self.below(2) == 0).then(|| self.by()),
                },
            },
        }
    }

    fn seen(&mut self, stamp: Stamp) -> Stamp {
        match self.below(12) {
            // Of so many digits that they are rounded where they are not looked after.
            0 => self.of(&[Stamp::NONE, Stamp { epoch: (1 << 52) + 1, generation: 7 }]),
            1 => Stamp { generation: stamp.generation.saturating_sub(1), ..stamp },
            2 => Stamp { generation: stamp.generation + 1, ..stamp },
            3 => Stamp { epoch: stamp.epoch + 1_000, ..stamp },
            _ => stamp,
        }
    }
}

/// Moves every moment of a record, as if the time between had been longer or the clock were set.
fn moved(record: &mut Record, to: impl Fn(Millis) -> Millis) {
    let Record { content, lease, votes, expires, .. } = record;
    let lease = lease.iter_mut().map(|lease| &mut lease.until);
    for moment in lease.chain(votes.values_mut()).chain(expires).chain([&mut content.until]) {
        *moment = to(*moment);
    }
}

fn same<T: PartialEq + Debug>(what: &str, script: &T, function: &T) -> Result<(), String> {
    if script == function {
        return Ok(());
    }
    Err(format!("{what}: the script {script:?}, the function {function:?}"))
}

/// A circuit at the server, and what the function makes of it.
struct Pair<'a> {
    script: &'a str,
    server: &'a mut Connection,
    listener: &'a mut Connection,
    random: Random,
    record: Option<Record>,
    op: String,
    now: Millis,
}

impl Pair<'_> {
    fn step(&mut self) -> Result<Answer, String> {
        let stamp = self.record.as_ref().map_or(Stamp::NONE, |record| record.stamp);
        let command = Command {
            seen: self.random.seen(stamp),
            deadline: match self.random.below(10) {
                0 => self.now.saturating_sub(1),
                1..5 => self.now + 10_000,
                _ => 0,
            },
            keep: self.random.of(&[0, 1, 500, 100_000, 100_000]),
            action: self.random.action(),
        };
        let call = codec::encode("fleet", &self.op, &command);
        if self.record.is_some() && self.random.below(4) == 0 {
            self.time_passes(&call);
        }
        let before = self.record.clone();
        let in_context = |problem| format!("{before:?}\n{command:?}\n{problem}");
        self.compare(&call, &command).map_err(in_context)
    }

    fn time_passes(&mut self, call: &Call) {
        // Both keys have to wait for their new moments.
        for key in &call.keys[..2] {
            self.server.run(&[b"PERSIST", &key[..]]).unwrap();
        }
        if self.server.count(&[b"EXISTS", &call.keys[0][..]]) == 0 {
            self.record = None;
        }
        let Some(record) = &mut self.record else { return };
        let by = self.random.of(&[1, 49, 60, 900, 2_000, 70_000]);
        let is_back = self.random.below(8) == 0;
        let later = |at| if at == 0 { 0 } else { at + by };
        moved(record, |at| if is_back { later(at) } else { at.saturating_sub(by) });
        let mut set = vec![b"HSET".to_vec(), call.keys[0].clone()];
        let mut add = |name: &str, moment: Millis| {
            set.extend([name.into(), moment.to_string().into_bytes()]);
        };
        add("until", record.content.until);
        record.lease.iter().for_each(|lease| add("lease", lease.until));
        record.expires.iter().for_each(|expires| add("expires", *expires));
        self.server.run(&set).unwrap();
        for (voter, until) in &record.votes {
            let until = until.to_string();
            self.server
                .run(&[b"ZADD", &call.keys[1][..], until.as_bytes(), voter.as_bytes()])
                .unwrap();
        }
        let expires = record.expires.map(|_| (self.now + 1_000_000).to_string());
        for (key, at) in call.keys[..2].iter().filter_map(|key| Some((key, expires.as_ref()?))) {
            self.server.run(&[b"PEXPIREAT", &key[..], at.as_bytes()]).unwrap();
        }
    }

    fn compare(&mut self, call: &Call, command: &Command) -> Result<Answer, String> {
        let reply = self.server.call_instead(self.script, call)?;
        let reply = decode_reply(&reply).map_err(|error| error.to_string())?;
        let now = reply.now;
        self.now = now;
        let is_kept = |record: &Record| record.expires.is_none_or(|expires| now < expires);
        let before = self.record.take().filter(is_kept);
        let (after, answer) = apply(before.clone(), now, command);
        same("answer", &reply.answer, &answer)?;
        let news = after.as_ref().map(|record| News::of(record, now));
        same("reply", &reply.message.as_ref().map(|message| &message.news), &news.as_ref())?;
        let stored = self.server.record(call).filter(is_kept);
        // Not what may expire while it is read.
        let is_going = |record: &Record| record.expires.is_some_and(|at| at < now + 30_000);
        if !after.as_ref().is_some_and(is_going) {
            same("record", &stored, &after)?;
        }
        if let Some(record) = &stored {
            for key in &call.keys[..if record.votes.is_empty() { 1 } else { 2 }] {
                let expires = self.server.count(&[b"PEXPIRETIME", &key[..]]);
                same("expiry", &(expires == -1), &record.expires.is_none())?;
            }
        }
        // Of what was left alone, the function returns the same.
        let has_changed = answer != Answer::Late && after != before;
        let mark = reply.message.as_ref().and_then(|message| message.mark);
        same("change", &mark.is_some(), &has_changed)?;
        if has_changed {
            let pushed = decode_message(&self.listener.pushed());
            same("push", &pushed.ok(), &reply.message)?;
        }
        self.record = after;
        Ok(answer)
    }
}

/// Returns how many steps were answered `Done`, or where the two differ.
fn replay(script: &str, seeds: impl Iterator<Item = u64>) -> Result<u64, String> {
    let server = RedisServer::start();
    let (mut commands, mut listener) = (Connection::to(&server), Connection::to(&server));
    listener.run(&[&b"SUBSCRIBE"[..], &codec::channel("fleet")]).unwrap();
    let mut done = 0;
    for seed in seeds {
        let mut pair = Pair {
            script,
            server: &mut commands,
            listener: &mut listener,
            random: Random(seed),
            record: None,
            op: format!("op {{{seed}}}"),
            now: 0,
        };
        for step in 0..COMMANDS {
            let answer = pair.step();
            let answer = answer.map_err(|why| format!("seed {seed}, step {step}: {why}"))?;
            done += u64::from(answer == Answer::Done);
        }
        let Pair { server, listener, .. } = pair;
        server.run(&[&b"PUBLISH"[..], &codec::channel("fleet"), b"nothing more"]).unwrap();
        same("pushes", &listener.pushed(), &b"nothing more".to_vec())?;
    }
    Ok(done)
}

#[test]
fn the_script_is_the_function() {
    let halves = [(0, SEQUENCES / 2), (SEQUENCES / 2, SEQUENCES)];
    std::thread::scope(|scope| {
        let threads = halves.map(|(from, to)| scope.spawn(move || replay(PROTOCOL, from..to)));
        for thread in threads {
            let done = thread.join().unwrap().unwrap_or_else(|problem| panic!("{problem}"));
            // Not a test of refusals only.
            assert!(done > SEQUENCES / 2 * COMMANDS / 5, "{done}");
        }
    });
}

#[test]
fn a_script_that_is_wrong_is_noticed() {
    let wrongs = [
        ("fencing", "or record.owner ~= owner or record.lease <= now", "or record.lease <= now"),
        ("late outcome", "record.owner ~= owner or record.lease <= now", "record.owner ~= owner"),
        ("stale", "or record.generation ~= seen.generation", ""),
        ("epoch", "math.max(now, seen.epoch + 1)", "now"),
        ("quorum", "if count >= quorum", "if count > quorum"),
        ("early", "if now + lead < record", "if now + lead <= record"),
        ("votes that are over", "'(' .. text(now), '+inf'", "'-inf', '+inf'"),
        ("votes of another version", "redis.call('DEL', KEYS[2])", ""),
        ("deadline", "now > deadline", "now > deadline + 5"),
        ("rounding", "string.format('%.0f', number)", "tostring(number)"),
        ("expiry", "now >= stored.expires", "now > stored.expires + 1"),
        ("expiry of a vote", "math.max(record.expires, vote_until)", "record.expires"),
        ("expiry of before", "math.max(record.expires, rests_at + keep)", "rests_at + keep"),
        ("kept by hand", "record.expires == nil or record.who", "record.who"),
        ("held", "record.lease > now and record.owner", "record.owner"),
        ("clock set back", "  set_right(record)\nend", "end"),
    ];
    for (name, right, wrong) in wrongs {
        assert_eq!(PROTOCOL.matches(right).count(), 1, "{name}");
        let problem = replay(&PROTOCOL.replace(right, wrong), 0..SEQUENCES);
        let problem = problem.expect_err(name);
        println!("{name}: {}", problem.lines().next().unwrap_or_default());
    }
}
