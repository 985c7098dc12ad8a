//! Shared circuits while something is wrong: real servers, and replicas that are processes of their
//! own.
//!
//! Each test is a fault and what is special about it; what holds in all of them is in [`trial`].

mod clock;
mod data;
mod network;
mod replica;
mod replicas;
mod service;
mod settings;
mod trial;
