//! A future that was `Send` stays so: with arguments that are not `Sync`, and with errors that are not `Send`.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io;
use std::rc::Rc;

use bindu_cb::{CircuitBreakerOpenError, retry_with_breaker, with_circuit_breaker};

async fn elsewhere() {
    tokio::task::yield_now().await;
}

#[retry_with_breaker(op = "send", attempts = 2)]
async fn generic<T: Display + Send>(value: T) -> io::Result<String> {
    elsewhere().await;
    Ok(value.to_string())
}

#[retry_with_breaker(op = "send", timeout = 5)]
async fn cell(value: Cell<u32>, callback: Box<dyn Fn() -> u32 + Send>) -> io::Result<u32> {
    elsewhere().await;
    Ok(value.get() + callback())
}

#[retry_with_breaker(op = "send")]
async fn in_format_string(value: impl Display + Send) -> io::Result<String> {
    elsewhere().await;
    Ok(format!("{value}"))
}

#[retry_with_breaker(op = "send")]
async fn in_tuple((a, b): (Cell<u32>, Cell<u32>)) -> io::Result<u32> {
    elsewhere().await;
    Ok(a.get() + b.get())
}

#[retry_with_breaker(op = "send")]
async fn behind_mut(value: &mut Cell<u32>) -> io::Result<u32> {
    elsewhere().await;
    Ok(value.get())
}

#[retry_with_breaker(op = "send", clone(value))]
async fn cloned(mut value: RefCell<u32>) -> io::Result<u32> {
    elsewhere().await;
    *value.get_mut() += 1;
    Ok(value.into_inner())
}

#[with_circuit_breaker]
async fn once(mut value: Cell<u32>, other: Cell<u32>) -> io::Result<u32> {
    elsewhere().await;
    *value.get_mut() += other.get();
    Ok(value.get())
}

struct Pair {
    first: Cell<u32>,
    second: Cell<u32>,
}

#[retry_with_breaker(op = "send")]
async fn in_a_struct(Pair { first, second }: Pair) -> io::Result<u32> {
    first.set(second.get());
    tokio::task::yield_now().await;
    Ok(first.get())
}

type Borrowed<'a> = &'a Pair;

// The pattern binds by reference, which only the type's alias says.
#[retry_with_breaker(op = "send")]
async fn in_a_borrowed_struct(Pair { first, .. }: Borrowed<'_>) -> io::Result<u32> {
    Ok(first.get())
}

#[retry_with_breaker(op = "send")]
async fn beside_what_is_returned<'a>(name: &'a str, count: &mut Cell<u32>) -> io::Result<&'a str> {
    count.set(count.get() + 1);
    tokio::task::yield_now().await;
    Ok(name)
}

#[retry_with_breaker(op = "send")]
async fn with_an_underscore(_count: Cell<u32>) -> io::Result<u32> {
    tokio::task::yield_now().await;
    Ok(_count.get())
}

struct Local(Cell<u32>);

impl Local {
    #[retry_with_breaker(op = "send")]
    async fn by_mut(&mut self) -> io::Result<u32> {
        elsewhere().await;
        Ok(self.0.get())
    }

    #[retry_with_breaker(op = "send")]
    async fn by_value(self) -> io::Result<u32> {
        elsewhere().await;
        Ok(self.0.get())
    }

    #[with_circuit_breaker]
    async fn once(self: Box<Self>) -> io::Result<u32> {
        elsewhere().await;
        Ok(self.0.get())
    }
}

struct NotSend(#[allow(dead_code)] Rc<str>);

impl From<CircuitBreakerOpenError> for NotSend {
    fn from(open: CircuitBreakerOpenError) -> Self {
        Self(open.to_string().into())
    }
}

#[retry_with_breaker(op = "send", attempts = 2, retry_if = |_| true)]
async fn error_not_send(n: u32) -> Result<u32, NotSend> {
    elsewhere().await;
    if n == 0 { Err(NotSend("zero".into())) } else { Ok(n) }
}

#[retry_with_breaker(op = "send", timeout = 1, on_timeout = |_| NotSend("slow".into()))]
async fn value_not_send(n: u32) -> Result<Rc<u32>, NotSend> {
    elsewhere().await;
    Ok(Rc::new(n))
}

#[with_circuit_breaker]
async fn once_not_send() -> Result<Rc<u32>, NotSend> {
    elsewhere().await;
    Ok(Rc::new(1))
}

fn is_send<T: Send>(_: T) {}

fn main() {
    is_send(generic(Cell::new(1).get()));
    is_send(cell(Cell::new(1), Box::new(|| 1)));
    is_send(in_format_string(1));
    is_send(in_tuple((Cell::new(1), Cell::new(2))));
    is_send(behind_mut(&mut Cell::new(1)));
    is_send(cloned(RefCell::new(1)));
    is_send(once(Cell::new(1), Cell::new(2)));
    is_send(in_a_struct(Pair { first: Cell::new(1), second: Cell::new(2) }));
    is_send(beside_what_is_returned("", &mut Cell::new(1)));
    is_send(with_an_underscore(Cell::new(1)));
    drop(in_a_borrowed_struct(&Pair { first: Cell::new(1), second: Cell::new(2) }));
    is_send(Local(Cell::new(1)).by_mut());
    is_send(Local(Cell::new(1)).by_value());
    is_send(Box::new(Local(Cell::new(1))).once());
    is_send(error_not_send(1));
    is_send(value_not_send(1));
    is_send(once_not_send());
    fn caller<T: Display + Send + 'static>(value: T) {
        is_send(generic(value));
    }
    caller(1);
}
