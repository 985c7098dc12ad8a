//! An allocator that knows how much is held.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);

/// Bytes that are held now, by all threads.
pub(crate) fn live() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

fn add(layout: Layout) {
    // No layout is larger than `isize::MAX`.
    LIVE.fetch_add(i64::try_from(layout.size()).unwrap_or(i64::MAX), Ordering::Relaxed);
}

fn take(layout: Layout) {
    LIVE.fetch_sub(i64::try_from(layout.size()).unwrap_or(i64::MAX), Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it came; what is not written here is
// made of these two.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout);
        // SAFETY: the caller's promises are those that are asked of us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        take(layout);
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}
