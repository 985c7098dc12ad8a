//! What comes back from the server: connections, looks at the index of changes, records, answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Link, PAUSE, READS, Returned, SPREAD, Supervisor, Up};
use crate::random;
use crate::shared::codec::{Changes, Found, Mark, Reply};
use crate::shared::protocol::{Action, Answer, Millis};
use crate::shared::replica::Source;
use crate::shared::server::{Connector, Server, ServerError};

impl<C: Connector> Supervisor<C> {
    pub(super) fn returned(&mut self, returned: Returned<C::Server>) {
        match returned {
            Returned::Connected(Ok(server)) => self.go_up(server),
            Returned::Connected(Err(error)) => self.go_down(&error),
            Returned::Closed => {
                let reason = "the connection has ended".to_owned();
                self.go_down(&ServerError::Disconnected { reason });
            }
            // Whatever it was, it is still waited for.
            Returned::Nothing => {
                let reason = "the client has panicked".to_owned();
                self.go_down(&ServerError::Disconnected { reason });
            }
            Returned::Changes(result) => self.looked(result),
            Returned::Read(operations, result) => self.read(operations, result),
            Returned::Done(operation, action, result) => self.done(&operation, &action, *result),
        }
    }

    fn read(
        &mut self,
        operations: Vec<Arc<str>>,
        result: Result<(Millis, Vec<Found>), ServerError>,
    ) {
        let Link::Up(up) = &mut self.link else { return };
        up.is_reading = false;
        let found = match result {
            Ok((now, found)) => {
                self.set_clock(now);
                found
            }
            Err(error) => {
                // With the next beat, which finds out what that was.
                up.unread.extend(operations);
                return self.report.failed(&error);
            }
        };
        for (operation, found) in operations.iter().zip(found) {
            match found {
                Found::Nothing => self.learn(operation, None, Source::Answer),
                Found::Record(message) => self.heard(&message, Source::Answer),
                Found::Unreadable => self.unreadable(operation),
            }
        }
        self.read_on();
    }

    fn unreadable(&mut self, operation: &str) {
        self.report.unreadable(operation);
        #[cfg(feature = "otel")]
        self.hub.fleet.forget(operation);
    }

    pub(super) fn done(
        &mut self,
        operation: &Arc<str>,
        action: &Action,
        result: Result<Reply, ServerError>,
    ) {
        let now = self.now();
        if let Ok(reply) = &result {
            self.set_clock(reply.now);
            self.heard = self.heard.max(reply.message.as_ref().and_then(|message| message.mark));
        }
        let Some(member) = self.members.get_mut(operation) else { return };
        member.asking = None;
        match result {
            Ok(Reply { answer: answer @ Answer::Late, .. }) => {
                // By a clock that has jumped. The next one goes by what it is now; but should that
                // jump again, not at once.
                member.answered(action, answer, now);
                member.pause(now + 10);
            }
            Ok(Reply { answer: answer @ Answer::Schema, .. }) => {
                member.answered(action, answer, now);
                self.unreadable(operation);
            }
            Ok(Reply { answer, message, .. }) => {
                if let Some(message) = &message {
                    member.mark = message.mark.or(member.mark);
                }
                let news = message.as_ref().map(|message| &message.news);
                member.learn(news, Source::Answer, now);
                member.answered(action, answer, now);
                #[cfg(feature = "otel")]
                self.note_fleet(operation);
            }
            Err(error) => {
                member.unanswered(action);
                member.pause(now + PAUSE);
                self.report.failed(&error);
            }
        }
        self.step(operation);
    }

    fn looked(&mut self, result: Result<(Millis, Changes), ServerError>) {
        let Link::Up(up) = &mut self.link else { return };
        up.is_looking = false;
        let heard_before = up.heard_before;
        let (now, changes) = match result {
            Ok(answer) => answer,
            Err(error) => {
                up.misses += 1;
                if up.misses > 1 || matches!(error, ServerError::Disconnected { .. }) {
                    self.go_down(&error);
                } else {
                    // The one beat that is left to it is now.
                    up.next_beat = Instant::now();
                    self.report.disconnected(&error);
                }
                return;
            }
        };
        up.misses = 0;
        let is_first = !std::mem::replace(&mut up.is_ready, true);
        self.set_clock(now);
        self.report.connected();
        match changes {
            Changes::Nothing => {}
            Changes::Some { cursor, ops } => {
                self.cursor = Some(cursor);
                for (operation, mark) in ops {
                    self.has_changed(&operation, mark);
                }
                // No later look tells of these.
                self.heard_of_others.retain(|_, mark| *mark > cursor.mark);
            }
            Changes::Start { cursor } | Changes::Behind { cursor } => {
                self.cursor = Some(cursor);
                self.read_everything();
            }
            Changes::Lost { cursor } => {
                self.cursor = Some(cursor);
                return self.server_has_lost(is_first);
            }
        }
        let known = self.cursor.map(|cursor| cursor.mark);
        if heard_before > known {
            // A cursor that was taken before the first change of all cannot tell that one was lost.
            return self.server_has_lost(is_first);
        }
        if is_first {
            // What the last connection has refused this one may take.
            for member in self.members.values_mut() {
                member.pause(0);
            }
            // Changes are not all: a record may have expired.
            self.read_everything();
        }
        self.read_on();
    }

    /// What was known of before may be gone, and answers that are on their way may be of before.
    fn server_has_lost(&mut self, is_first_look: bool) {
        self.heard = self.cursor.map(|cursor| cursor.mark);
        for member in self.members.values_mut() {
            member.server_has_lost();
        }
        if is_first_look {
            self.read_everything();
        } else {
            let reason = "it has lost data".to_owned();
            self.go_down(&ServerError::Disconnected { reason });
        }
    }

    /// Unless the change itself has been heard of, the record is to be read.
    fn has_changed(&mut self, operation: &str, mark: Mark) {
        let Link::Up(up) = &mut self.link else { return };
        let heard = match self.members.get(operation) {
            Some(member) => member.mark,
            None => self.heard_of_others.get(operation).copied(),
        };
        if heard < Some(mark) {
            up.unread.insert(operation.into());
        }
    }

    /// Everything that this process has something to do with.
    pub(super) fn read_everything(&mut self) {
        // Of what follows a loss, an earlier change may be news.
        for member in self.members.values_mut() {
            member.mark = None;
        }
        self.heard_of_others.clear();
        if let Link::Up(up) = &mut self.link {
            up.unread.extend(self.members.keys().cloned());
            // What has become of them may have been said while nobody listened.
            up.unread.extend(self.hub.known());
        }
        self.read_on();
    }

    pub(super) fn read_on(&mut self) {
        let Link::Up(up) = &mut self.link else { return };
        if !up.is_ready || up.is_reading || up.unread.is_empty() {
            return;
        }
        up.is_reading = true;
        let operations: Vec<_> = up.unread.iter().take(READS).cloned().collect();
        for operation in &operations {
            up.unread.remove(operation);
        }
        let (server, hub) = (up.server.clone(), Arc::clone(&self.hub));
        self.tasks.spawn(async move {
            let result = hub.exchange(server.read(operations.clone())).await;
            Returned::Read(operations, result)
        });
    }

    fn go_up(&mut self, server: C::Server) {
        let watched = server.clone();
        self.tasks.spawn(async move {
            watched.closed().await;
            Returned::Closed
        });
        self.link = Link::Up(Up {
            server,
            next_beat: Instant::now(),
            is_looking: false,
            heard_before: None,
            misses: 0,
            is_ready: false,
            unread: HashSet::new(),
            is_reading: false,
        });
    }

    fn go_down(&mut self, error: &ServerError) {
        self.report.disconnected(error);
        #[cfg(feature = "otel")]
        self.hub.fleet.forget_all();
        // With what is on its way: the answers would be those of another connection.
        self.tasks = JoinSet::new();
        for member in self.members.values_mut() {
            if let Some(action) = member.asking.take() {
                member.unanswered(&action);
            }
        }
        let wait = random::duration_between(Duration::ZERO, SPREAD);
        self.link = Link::Down { next_try: Instant::now() + wait };
    }

    fn set_clock(&mut self, server: Millis) {
        self.ahead = i128::from(server) - i128::from(self.now());
    }
}
