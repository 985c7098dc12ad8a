//! The page that shows the circuits: over HTTP, and in a real browser.

mod answers;
mod circuits;
mod events;
mod page;
mod page_access;
mod page_hostile;
mod page_many;
mod page_stream;
mod site;
mod tab;
