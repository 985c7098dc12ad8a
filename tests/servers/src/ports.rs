//! Ports that nobody else takes in the meantime.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below those that the kernel gives to clients: a client that keeps trying the port of a server
/// that is down would sooner or later be given that port, and be connected to itself.
const RANGE: Range<u16> = 12_000..32_000;

/// A port of loopback that is free now. Another process may come first, so be ready to try again.
pub fn free() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..1_000).map(|_| random()).find(is_free).expect("some port of loopback is free")
}

/// Tests run side by side in several processes: where each begins to look is left to chance.
fn random() -> u16 {
    let size = u64::from(RANGE.end - RANGE.start);
    let offset = RandomState::new().hash_one(std::process::id()) % size;
    RANGE.start + u16::try_from(offset).expect("less than the size of the range")
}
